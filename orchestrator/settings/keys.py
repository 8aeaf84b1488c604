"""The groups and keys of the settings, their descriptions, and the key nearest to a wrong one."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, get_type_hints

from pydantic.fields import FieldInfo

from orchestrator.settings.groups import (
    InputSettings,
    LimitSettings,
    LoggingSettings,
    NotifySettings,
    OutputSettings,
    RecoverySettings,
    WorkerSettings,
)
from orchestrator.settings.matting_group import MattingGroup
from pipeline.contract import (
    EncodingSettings,
    EnhanceSettings,
    ProcessingSettings,
    StereoSettings,
    StreamingSettings,
)
from pipeline.deliverables.formats import FORMATS
from pipeline.errors import SettingsError

#: Every group by its name in a settings file, in the order in which they are shown.
GROUPS: Mapping[str, type[Any]] = {
    "input": InputSettings,
    "output": OutputSettings,
    "streaming": StreamingSettings,
    "processing": ProcessingSettings,
    "matting": MattingGroup,
    "stereo": StereoSettings,
    "enhance": EnhanceSettings,
    "encoding": EncodingSettings,
    "recovery": RecoverySettings,
    "limits": LimitSettings,
    "workers": WorkerSettings,
    "logging": LoggingSettings,
    "notify": NotifySettings,
}

#: Keys of each group.
KEYS: Mapping[str, tuple[str, ...]] = {
    name: tuple(f.name for f in dataclasses.fields(group)) for name, group in GROUPS.items()
}


def descriptions(group: str) -> Mapping[str, str]:
    """The meaning of each key of a group, with its unit; `output.formats` with every format."""
    found = _descriptions(group)
    return {**found, "formats": f"{found['formats']}: {_formats()}"} if group == "output" else found


def _formats() -> str:
    rows = [(name, FORMATS.get(name)) for name in FORMATS.names()]
    said = [f"{name} ({row.description if row else 'cannot be loaded'})" for name, row in rows]
    return ", ".join(said)


@cache
def _descriptions(group: str) -> Mapping[str, str]:
    hints = get_type_hints(GROUPS[group], include_extras=True)
    return {key: _description(hints[key]) for key in KEYS[group]}


def _description(annotated: Any) -> str:
    [info] = [item for item in annotated.__metadata__ if isinstance(item, FieldInfo)]
    return info.description or ""


def unknown(where: str, name: str, extra: Iterable[str] = ()) -> SettingsError:
    """The error for an unknown group or key, naming the nearest one that exists.

    Args:
        where: the beginning of the message, "FILE, line N: ".
        name: as it was written: ``group`` or ``group.key``.
        extra: other names that are allowed in its place, beside the groups.
    """
    top = [*GROUPS, *extra] if "." not in name else []
    known = [f"{group}.{key}" for group, keys in KEYS.items() for key in keys]
    leaf = name.rpartition(".")[2]
    near = [*difflib.get_close_matches(name, top, 1)]
    near += [full for full in known if full.endswith(f".{leaf}")]
    near += difflib.get_close_matches(name, known, 1)
    what = "key" if "." in name or "match" in extra else "group"
    advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(top or known)}"
    return SettingsError(f"{where}there is no {what} {name!r}", advice)
