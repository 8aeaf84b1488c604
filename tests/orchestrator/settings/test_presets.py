"""Presets: small, right, and behind everything that somebody wrote or typed."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest
from click.testing import CliRunner

from orchestrator.cli import main
from orchestrator.settings.explained import default_text
from orchestrator.settings.presets import PRESETS
from orchestrator.settings.settings import Settings, as_mapping, load_settings, settings_for
from pipeline.errors import SettingsError


def loaded(folder: Path, text: str, preset: str | None = None) -> Settings:
    path = folder / "settings.yaml"
    path.write_text(text)
    return load_settings(path, {}, preset)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_its_settings_and_holds_no_figure(name: str) -> None:
    values = PRESETS[name].values
    found = load_settings(None, {}, name)
    assert found.model_copy(update={"preset": None}) == load_settings(None, values)
    for group, members in values.items():
        for key, value in members.items():
            assert as_mapping(found)[group][key] == value
            assert key == "scale" or not isinstance(value, int | float)  # 2 and 4 are names


def test_what_is_written_or_typed_goes_before_a_preset(tmp_path: Path) -> None:
    text = "preset: fast\nencoding: {quality: best}\n"
    found = loaded(tmp_path, text)
    assert (found.preset, found.encoding.quality, found.output.formats) == (
        "fast",
        "best",
        ("webm",),
    )
    typed = load_settings(None, {"encoding": {"quality": "best"}}, "fast")
    assert typed.encoding.quality == "best"


def test_a_typed_preset_takes_the_place_of_the_files(tmp_path: Path) -> None:
    text = "preset: fast\noverrides:\n- {match: '*', preset: apple, model: depth}\n"
    found = loaded(tmp_path, text, "editor")
    own = settings_for(found, PurePath("a.mp4"))
    assert (own.output.formats, own.encoding.quality) == (("prores",), "balanced")
    assert own.matting.model == "depth"


def test_an_override_may_take_a_preset(tmp_path: Path) -> None:
    text = "output: {formats: [webm]}\noverrides:\n- {match: '*', preset: fast, format: tiff}\n"
    own = settings_for(loaded(tmp_path, text), PurePath("a.mp4"))
    assert (own.output.formats, own.encoding.quality) == (("tiff",), "draft")


def test_a_preset_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"line \d+: output\.formats overrides the preset"):
        loaded(tmp_path, default_text().replace("preset: null", "preset: quest"))
    with pytest.raises(SettingsError, match="overrides the preset 'editor'"):
        loaded(tmp_path, default_text(), "editor")


@pytest.mark.parametrize("text", ["preset: qwest\n", "\npreset: [quest]\n", "preset: 3\n"])
def test_a_wrong_preset_has_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"settings\.yaml, line [12]: "):
        loaded(tmp_path, text)
    with pytest.raises(SettingsError, match=r"^there is no preset 'qwest'"):
        load_settings(None, {}, "qwest")


def test_the_list_shows_all_of_them() -> None:
    shown = CliRunner().invoke(main, ["config", "presets"], prog_name="vrmatte").output
    for name, preset in PRESETS.items():
        assert f"{name} " in shown
        assert preset.purpose in shown
