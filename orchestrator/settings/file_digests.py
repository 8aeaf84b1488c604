"""Put the sha256 of each file that the settings name (weights, plates) into the settings.

The output depends on the content of these files. Where one has changed under the same path, the
fingerprint changes, and segments that were made with the old one are not used.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from orchestrator.settings.settings import Settings
from pipeline.errors import SettingsError


def pin_files(settings: Settings, known: dict[str, str] | None = None) -> Settings:
    """The same settings with the sha256 of each file that `matting` names.

    Args:
        known: digests by name, looked up and added to, so that weights that many videos share are
            read once.

    Raises:
        SettingsError: a file cannot be read, or is not the one that its sha256 setting asks for.
    """
    old = settings.matting
    known = {} if known is None else known
    matting = replace(
        old,
        plate_image_sha256=_digest("plate_image", old.plate_image, old.plate_image_sha256, known),
        rvm_weights_sha256=_digest("rvm_weights", old.rvm_weights, old.rvm_weights_sha256, known),
        sam2_checkpoint_sha256=_digest(
            "sam2_checkpoint", old.sam2_checkpoint, old.sam2_checkpoint_sha256, known
        ),
    )
    return settings.model_copy(update={"matting": matting})


def _digest(key: str, name: str | None, expected: str | None, known: dict[str, str]) -> str | None:
    if name is None or name.startswith(("http://", "https://")):
        return expected
    if name not in known:
        try:
            with Path(name).expanduser().open("rb") as file:
                known[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise SettingsError(
                f"matting.{key} {name} cannot be read: {error.strerror}", "check the path"
            ) from error
    if expected is not None and expected.lower() != known[name]:
        raise SettingsError(
            f"matting.{key} {name} has another sha256 than matting.{key}_sha256 says",
            "check the file and the setting",
        )
    return known[name]
