"""Put the sha256 of each file that the settings name (weights, plates) into the settings.

The output depends on the content of these files. Where one has changed under the same path, the
fingerprint changes, and segments that were made with the old one are not used.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from orchestrator.settings.settings import Settings
from pipeline.contract import ModelOptions
from pipeline.errors import SettingsError
from pipeline.foreign.files import Unreadable, open_regular

_DIGEST = "_sha256"

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
    matting = replace(settings.matting, options=pinned)
    return settings.model_copy(update={"matting": matting})


def _pinned(options: ModelOptions, known: dict[str, str]) -> ModelOptions:
    """With the sha256 of each file: a field has a file's name where NAME_sha256 is another."""
    digests = {}
    for key, name in options.fields_by_key().items():
        if f"{name}{_DIGEST}" in options.fields_by_key().values():
            file, expected = getattr(options, name), getattr(options, f"{name}{_DIGEST}")
            digests[f"{name}{_DIGEST}"] = _digest(key, file, expected, known)
    return replace(options, **digests)


def _digest(key: str, name: str | None, expected: str | None, known: dict[str, str]) -> str | None:
    if name is None or name.startswith(("http://", "https://")):
        return expected
    if name not in known:
        try:
            with open_regular(Path(name).expanduser()) as file:
                if os.fstat(file.fileno()).st_size > _LONGEST_BYTES:
                    raise Unreadable("is too long", "is it the right file?")
                known[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except Unreadable as error:
            raise error.as_error(SettingsError, f"matting.{key} {name}", "check the path") from None
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
