"""The range of a video in times and in frames: how the two are written, laid over and refused."""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

import pytest
import yaml

from orchestrator.settings.explained import config_schema, default_text
from orchestrator.settings.groups import InputSettings
from orchestrator.settings.settings import as_mapping, load_settings, settings_for
from pipeline.errors import SettingsError


def loaded(folder: Path, text: str, typed: dict[str, Any] | None = None) -> InputSettings:
    path = folder / "s.yaml"
    path.write_text(text)
    read = load_settings(path, {"input": typed or {}})
    # What is recorded says the same.
    path.write_text(json.dumps(as_mapping(read)))
    assert load_settings(path, {}) == read
    return settings_for(read, PurePath("a.mp4")).input


def said(given: InputSettings) -> tuple[str | None, int, str | None, int | None]:
    return given.start, given.start_frame, given.end, given.max_frames


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("'1:02'", "1:02"),
        ("1:02", "62"),
        ("0:10", "0:10"),
        ("1:20.04", "80.04"),
        ("1:00:02", "3602"),
        ("12.5", "12.5"),
        ("90", "90"),
        ("0", "0"),
        ("null", None),
    ],
)
def test_times_need_no_quotes(written: str, text: str | None, tmp_path: Path) -> None:
    assert loaded(tmp_path, f"input: {{start: {written}}}\n").start == text


@pytest.mark.parametrize("written", ["soon", "-5", "true", "1:60:00", ".inf", "[1]"])
def test_what_is_no_time_is_refused_with_its_line(written: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        loaded(tmp_path, f"input:\n  end: {written}\n")
    assert "line 2: input.end" in raised.value.message
    assert "12.5, 1:02 or 1:00:02" in str(raised.value) or written in ("true", "[1]")


@pytest.mark.parametrize(
    ("text", "typed", "expected"),
    [
        ("input: {start_frame: 9, max_frames: 8}", {"start": "0:10"}, ("0:10", 0, None, 8)),
        ("input: {start: '0:10', end: '0:20'}", {"start_frame": 0}, (None, 0, "0:20", None)),
        ("input: {start: '0:10', end: '0:20'}", {"max_frames": 3}, ("0:10", 0, None, 3)),
        (
            "input: {start_frame: 9, max_frames: 8}\noverrides: [{match: '*', start: '5'}]",
            {},
            ("5", 0, None, 8),
        ),
        (
            "input: {end: '9'}\noverrides: [{match: '*', max-frames: 4}, {match: '*', end: '7'}]",
            {},
            (None, 0, "7", None),
        ),
        (
            "overrides: [{match: '*', start_frame: 4, every: 2}]",
            {"start": "1"},
            ("1", 0, None, None),
        ),
    ],
)
def test_the_last_way_to_say_an_end_is_taken(
    text: str, typed: dict[str, Any], expected: tuple[object, ...], tmp_path: Path
) -> None:
    assert said(loaded(tmp_path, text + "\n", typed)) == expected


def test_a_file_of_all_defaults_leaves_either_way_free(tmp_path: Path) -> None:
    assert said(loaded(tmp_path, default_text(), {"start": "1", "end": "2"})) == ("1", 0, "2", None)


@pytest.mark.parametrize(
    ("text", "typed", "told"),
    [
        ("input:\n  start_frame: 3\n  start: 5\n", {}, "line 3: input.start and input.start_frame"),
        ("", {"end": "5", "max_frames": 3}, "--end: input.end and input.max_frames are both given"),
        (
            "overrides:\n- match: '*'\n  end: 5\n  max_frames: 3\n",
            {},
            "line 3: input.end and input.max_frames are both given",
        ),
        ("", {"start": "1:00", "end": "0:60"}, "--end: "),
        ("", {"start": "1:00", "end": "59.9"}, "--end: the range ends at 59.9 and begins at 1:00"),
    ],
)
def test_both_ways_at_once_are_a_mistake(
    text: str, typed: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as raised:
        loaded(tmp_path, text, typed)
    assert told in raised.value.message
    assert "\n" not in str(raised.value)


def test_the_schema_takes_times_as_text_and_as_numbers() -> None:
    kinds = config_schema()["$defs"]["InputSettings"]["properties"]["start"]["anyOf"]
    assert {each["type"] for each in kinds} == {"string", "number", "null"}
    assert yaml.safe_load(default_text())["input"]["every"] == 1
