"""Settings follow the content of the files they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.settings.file_digests import pin_files
from orchestrator.settings.settings import Settings, video_settings
from pipeline.contract import MattingSettings
from pipeline.errors import SettingsError
from pipeline.stages.matting.plate_facts import PlateOptions
from pipeline.stages.matting.rvm.facts import RvmOptions


def fingerprint(picture: Path) -> str:
    options = PlateOptions(image=str(picture))
    settings = Settings(matting=MattingSettings(model="plate", options=(options,)))
    return video_settings(pin_files(settings)).fingerprint()


def of_rvm(**options: Any) -> MattingSettings:
    return MattingSettings(options=(RvmOptions(**options),))


def test_a_changed_file_changes_the_fingerprint(tmp_path: Path) -> None:
    picture = tmp_path / "plate.png"
    picture.write_bytes(b"one")
    first = fingerprint(picture)
    assert fingerprint(picture) == first
    picture.write_bytes(b"two")
    assert fingerprint(picture) != first


def test_a_file_that_is_not_the_one_asked_for_is_refused(tmp_path: Path) -> None:
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"one")
    matting = of_rvm(weights=str(weights), weights_sha256="0" * 64)
    with pytest.raises(SettingsError, match="another sha256"):
        pin_files(Settings(matting=matting))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    matting = of_rvm(weights=str(tmp_path / "none.pth"))
    with pytest.raises(SettingsError, match=r"none\.pth cannot be read: No such file"):
        pin_files(Settings(matting=matting))


def test_what_is_fetched_is_left_to_the_fetch() -> None:
    settings = Settings(matting=of_rvm(weights="https://example.invalid/w.pth"))
    assert pin_files(settings) == settings
