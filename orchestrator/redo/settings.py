"""The settings of a redo: those that the video was made with, and over them what was typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.out.made_with import Groups, MadeWith
from orchestrator.settings.changed import value_text
from orchestrator.settings.keys import GROUPS, KEYS, unknown
from orchestrator.settings.overrides import laid_over
from orchestrator.settings.settings import Settings, load_settings
from pipeline.errors import SettingsError
from pipeline.foreign.files import Unreadable
from pipeline.foreign.yaml_text import Bounds, parse_yaml

_VALUE = Bounds(depth=6, values=10_000)

#: Settings that say which file is made, of which frames, and where: those of the video stay.
_FIXED_GROUPS = ("input", "output", "notify")
_FIXED_KEYS = (("streaming", "segment_frames"),)


def typed_values(model: str | None, assignments: Sequence[str]) -> Groups:
    """The values of ``--model`` and of each ``--set GROUP.KEY=VALUE``.

    Raises:
        SettingsError: one cannot be read, or is no setting of a redo.
    """
    found: Groups = {}
    given = [f"matting.model={model}"] if model is not None else []
    for text in (*given, *assignments):
        name, mark, value = text.partition("=")
        group, _, key = name.strip().partition(".")
        if not mark or not key:
            raise SettingsError(
                f"--set {text!r} is no setting", "write --set GROUP.KEY=VALUE: matting.choke=2"
            )
        if group not in GROUPS:
            raise unknown("--set: ", group)
        if key not in KEYS[group]:
            raise unknown("--set: ", f"{group}.{key}")
        if group in _FIXED_GROUPS or (group, key) in _FIXED_KEYS:
            raise SettingsError(
                f"--set {group}.{key}: it says which files are made, and those stay",
                "make the video again with it: vrmatte run",
            )
        if key in found.get(group, {}):
            raise SettingsError(f"{group}.{key} is given twice", "keep one of the two")
        found.setdefault(group, {})[key] = _value(text, value)
    return found


def require_same_form(typed: Groups) -> None:
    """Raises SettingsError: a part cannot be made with it, because the rest is coded otherwise."""
    whole = "redo the whole video: leave out --from and --to"
    for key in typed.get("encoding", {}):
        raise SettingsError(
            f"--set encoding.{key}: a part of a file is coded as the rest of it", whole
        )
    if "scale" in typed.get("enhance", {}):
        raise SettingsError(
            "--set enhance.scale: pictures of a part are as large as those of the rest", whole
        )


def redo_settings(made: MadeWith, typed: Groups, formats: Sequence[str] | None = None) -> Settings:
    """The settings of the video with what was typed over them, checked.

    With another model, what was settled for the former one is left open again, and so with another
    engine or other settings of `enhance`.

    Args:
        formats: of the files that there are; another run may have made the others since. None:
            those of the settings.

    Raises:
        SettingsError: they are wrong.
    """
    values = laid_over(made.made)
    if formats is not None:
        values["output"]["formats"] = [
            name
            for name in values["output"]["formats"]
            if any(each == name or each.startswith(f"{name}.") for each in formats)
        ]
    model = typed.get("matting", {}).get("model")
    if model is not None and model != values["matting"]["model"]:
        values = laid_over(values, {g: made.asked[g] for g in ("matting", "processing")})
        values["streaming"]["chunk_frames"] = made.asked["streaming"]["chunk_frames"]
    if "engine" in typed.get("processing", {}):
        values["processing"]["engine_file"] = None
    if "enhance" in typed:
        values["enhance"] = made.asked["enhance"]
    return load_settings(None, laid_over(values, typed))


def differences(made: MadeWith, typed: Groups, prompts_sha256: str | None) -> dict[str, str]:
    """What a redo has otherwise than the video, by ``group.key``, as text."""
    found = {
        f"{group}.{key}": value_text(value)
        for group, members in typed.items()
        for key, value in members.items()
        if made.made.get(group, {}).get(key) != value
    }
    if prompts_sha256 != made.prompts_sha256:
        found["prompts"] = "changed"
    return found


def _value(text: str, value: str) -> Any:
    try:
        return parse_yaml(value, _VALUE)
    except Unreadable as error:
        raise error.as_error(SettingsError, f"--set {text}", "quote the value") from None
