"""The settings of a run that differ from the defaults, and its command, fit for others to read."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from orchestrator.run.typed import typed
from orchestrator.settings.changed import changed_settings
from orchestrator.settings.settings import Settings, as_mapping, load_settings, spelled_out


def test_the_defaults_differ_in_nothing() -> None:
    assert changed_settings(as_mapping(Settings())) == {}
    assert changed_settings(as_mapping(spelled_out(Settings()))) == {}


def test_numbers_that_follow_from_the_quality_are_not_told(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("encoding: {quality: best, vp9_crf: 11}\noutput: {formats: [webm, tiff]}\n")
    settings = spelled_out(load_settings(file, {"matting": {"model": "depth"}}))
    assert changed_settings(as_mapping(settings)) == {
        "matting.model": "depth",
        "encoding.quality": "best",
        "encoding.vp9_crf": "11",
        "output.formats": '["webm", "tiff"]',
    }


def test_addresses_name_nobody() -> None:
    values = {"matting": {"rvm_registry": "https://me:secret@npm.example/x"}}
    assert changed_settings(values) == {"matting.rvm_registry": "https://npm.example/x"}


@pytest.mark.parametrize(
    "damaged",
    [{}, {"encoding": 3}, {"encoding": {"quality": []}}, {"x": {"y": 1}}, {"matting": {"z": []}}],
)
def test_what_is_damaged_is_left_out(damaged: dict[str, object]) -> None:
    assert changed_settings(damaged).keys() <= {"encoding.quality"}


def test_a_command_can_be_copied_and_holds_no_secret() -> None:
    said = typed(["/x/bin/vrmatte", "run", "my clips", "-o", "out", "--on-done", "curl KEY"])
    assert shlex.split(said) == ["vrmatte", "run", "my clips", "-o", "out", "--on-done", "..."]
    assert "KEY" not in typed(["vrmatte", "run", "--on-done=curl KEY"])
    assert "TOPIC" not in typed(["vrmatte", "run", "--notify", "ntfy:TOPIC", "--notify=ntfy:TOPIC"])
    told = load_settings(None, {"notify": {"to": ["ntfy:TOPIC"]}})
    assert "TOPIC" not in str(changed_settings(as_mapping(told)))
