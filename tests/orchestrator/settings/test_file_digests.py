"""Settings follow the content of the files they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.settings.file_digests import pin_files
from orchestrator.settings.settings import Settings, video_settings
from pipeline.contract import EdgeSettings, MattingSettings
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


def test_a_mask_counts_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    found = []
    for name, content in (("a.png", b"one"), ("b.png", b"one"), ("b.png", b"two")):
        (tmp_path / name).write_bytes(content)
        edges = EdgeSettings(keep_out_image=str(tmp_path / name))
        settings = Settings(matting=MattingSettings(model="chroma", edges=edges))
        found.append(video_settings(pin_files(settings)).fingerprint())
    assert found[0] == found[1] != found[2]
    missing = EdgeSettings(keep_out_image=str(tmp_path / "none.png"))
    with pytest.raises(SettingsError, match=r"matting\.keep_out_image \S+ cannot be read"):
        pin_files(Settings(matting=MattingSettings(edges=missing)))


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
