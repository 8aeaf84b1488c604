"""Put the sha256 of each file that the settings name (weights, plates, masks) into the settings.

The output depends on the content of these files. Where one has changed under the same path, the
fingerprint changes, and segments that were made with the old one are not used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.settings.checks import Problem
from orchestrator.settings.settings import Settings
from pipeline.contract import EdgeSettings, ModelOptions
from pipeline.errors import SettingsError
from pipeline.foreign.files import Unreadable, open_regular

_DIGEST = "_sha256"

_Named = TypeVar("_Named", ModelOptions, EdgeSettings)

#: A sparse file can seem to have terabytes, which take hours to read.
_LONGEST_BYTES = 256 << 30


def pin_files(settings: Settings, known: dict[str, str] | None = None) -> Settings:
    """The same settings with the sha256 of each file that `matting` names.

    Args:
        known: digests by name, looked up and added to, so that weights that many videos share are
            read once.

    Raises:
        SettingsError: a file cannot be read, or is not the one that its sha256 setting asks for.
    """
    known = {} if known is None else known
    pinned = tuple(_pinned(options, known) for options in settings.matting.options)
    edges = _pinned(settings.matting.edges, known)
    matting = replace(settings.matting, edges=edges, options=pinned)
    return settings.model_copy(update={"matting": matting})


def file_problems(settings: Settings) -> Iterator[Problem]:
    """The files that `matting` names and that cannot be read. None is read to its end."""
    matting = settings.matting
    named: tuple[ModelOptions | EdgeSettings, ...] = (*matting.options, matting.edges)
    for options in named:
        for key, name in _file_fields(options):
            file = getattr(options, name)
            if file is not None and not _is_address(file):
                try:
                    open_regular(Path(file).expanduser()).close()
                except Unreadable as error:
                    yield ("matting", key), _unreadable(error, key, file)
    for key, place in (("prompts", matting.prompts), ("dlc_csv", matting.dlc_csv)):
        if place is not None and not os.path.lexists(Path(place).expanduser()):
            what = f"matting.{key} {place} cannot be read: No such file or directory"
            yield ("matting", key), SettingsError(what, "check the path")


def _file_fields(options: ModelOptions | EdgeSettings) -> Iterator[tuple[str, str]]:
    """Keys and names of the fields that name files: NAME where NAME_sha256 is another field."""
    fields = options.fields_by_key()
    return ((key, name) for key, name in fields.items() if f"{name}{_DIGEST}" in fields.values())


def _is_address(name: str) -> bool:
    return name.startswith(("http://", "https://"))


def _unreadable(error: Unreadable, key: str, name: str) -> SettingsError:
    return error.as_error(SettingsError, f"matting.{key} {name}", "check the path")


def _pinned(options: _Named, known: dict[str, str]) -> _Named:
    """With the sha256 of each file."""
    digests: dict[str, Any] = {}
    for key, name in _file_fields(options):
        file, expected = getattr(options, name), getattr(options, f"{name}{_DIGEST}")
        digests[f"{name}{_DIGEST}"] = _digest(key, file, expected, known)
    return replace(options, **digests)


def _digest(key: str, name: str | None, expected: str | None, known: dict[str, str]) -> str | None:
    if name is None or _is_address(name):
        return expected
    if name not in known:
        try:
            with open_regular(Path(name).expanduser()) as file:
                if os.fstat(file.fileno()).st_size > _LONGEST_BYTES:
                    raise Unreadable("is too long", "is it the right file?")
                known[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except Unreadable as error:
            raise _unreadable(error, key, name) from None
        except OSError as error:
            raise SettingsError(
                f"matting.{key} {name} cannot be read: {error.strerror}", "check its disk"
            ) from error
    if expected is not None and expected.lower() != known[name]:
        raise SettingsError(
            f"matting.{key} {name} has another sha256 than matting.{key}_sha256 says",
            "check the file and the setting",
        )
    return known[name]
