"""Settings: a file and options become checked values, or one line that says where and what."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import TypeAdapter

from orchestrator.settings.explained import default_text
from orchestrator.settings.keys import GROUPS, KEYS, descriptions
from orchestrator.settings.settings import (
    Settings,
    as_mapping,
    forced_layout,
    load_settings,
    spelled_out,
    video_settings,
)
from pipeline.contract import MattingSettings
from pipeline.contract.encoder_points import Quality
from pipeline.errors import SettingsError
from pipeline.stages.matting.rvm.facts import RvmOptions


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load_settings(written(folder, text), {})
    assert "\n" not in str(caught.value)
    return caught.value


def test_no_file_and_no_options_are_the_defaults() -> None:
    assert load_settings(None, {}) == Settings()
    assert video_settings(Settings()) == video_settings(load_settings(None, {}))
    assert forced_layout(Settings()) is None


def test_the_written_defaults_are_the_defaults_and_all_of_them(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, default_text()), {}) == Settings()
    values = yaml.safe_load(default_text())
    for group, default in as_mapping(Settings()).items():
        assert values[group] == default


def test_each_setting_is_explained_above_its_line() -> None:
    lines = default_text().splitlines()
    for line, above in zip(lines[1:], lines, strict=False):
        if line.startswith("  ") and not line.startswith("  #"):
            assert above.startswith("  # "), line


#: Numbers on a scale of the encoder's own, one between 0 and 1, and how many times as large.
WITHOUT_UNIT = {
    *("scale", "gamma", "vp9_crf", "vp9_cpu_used", "hevc_crf", "h264_crf", "av1_crf", "nvenc_cq"),
}
UNITS = re.compile(
    r"\b(frames?|seconds|GB|pixels|metres|kbit/s|share|0 to 1"
    r"|threads|segments|processes|attempts)\b"
)


def test_every_number_has_a_unit() -> None:
    for group, cls in GROUPS.items():
        schema = TypeAdapter(cls).json_schema()["properties"]
        for key in KEYS[group]:
            kinds = {part.get("type") for part in schema[key].get("anyOf", [schema[key]])}
            if kinds & {"integer", "number"} and key not in WITHOUT_UNIT:
                assert UNITS.search(descriptions(group)[key]), f"{group}.{key}"


def test_the_groups_are_those_of_the_settings() -> None:
    assert [*GROUPS, "overrides"] == [*Settings.model_fields][1:]
    in_use = {group: type(getattr(Settings(), group)) for group in GROUPS}
    assert in_use.pop("matting") is MattingSettings  # which is written as a `MattingGroup`
    assert in_use == {group: cls for group, cls in GROUPS.items() if group != "matting"}


def test_options_go_before_the_file_and_the_file_before_the_defaults(tmp_path: Path) -> None:
    path = written(
        tmp_path, "streaming: {segment_frames: 50, lanes: 3}\nmatting:\n  model: depth\n"
    )
    settings = load_settings(path, {"streaming": {"lanes": 5}, "input": {"layout": "tb"}})
    assert settings.streaming.segment_frames == 50
    assert settings.streaming.lanes == 5
    assert settings.matting.model == "depth"
    assert settings.matting.of(RvmOptions).variant == "mobilenetv3"
    assert forced_layout(settings) == "tb"


@pytest.mark.parametrize("quality", get_args(Quality))
def test_what_is_recorded_has_the_numbers_of_the_quality_and_gives_the_same(
    tmp_path: Path, quality: str
) -> None:
    path = written(tmp_path, f"encoding: {{quality: {quality}, vp9_crf: 20}}\n")
    asked = load_settings(path, {})
    recorded = as_mapping(spelled_out(asked))
    assert None not in recorded["encoding"].values()
    assert recorded["encoding"]["vp9_crf"] == 20
    typed = recorded | {"encoding": recorded["encoding"] | {"quality": "balanced"}}
    again = load_settings(written(tmp_path, yaml.safe_dump(typed)), {})
    assert video_settings(again).fingerprint() == video_settings(asked).fingerprint()


def test_where_segments_are_written_decides_nothing_that_comes_out(tmp_path: Path) -> None:
    path = written(tmp_path, "output: {local_folder: /nvme}\n")
    there, elsewhere = (
        load_settings(path, {}),
        load_settings(path, {"output": {"local_folder": "x"}}),
    )
    assert (there.output.local_folder, elsewhere.output.local_folder) == ("/nvme", "x")
    assert video_settings(there) == video_settings(elsewhere) == video_settings(Settings())


@pytest.mark.parametrize("text", ["", "# nothing\n", "streaming:\n", "---\n"])
def test_an_empty_file_or_group_changes_nothing(tmp_path: Path, text: str) -> None:
    assert load_settings(written(tmp_path, text), {}) == Settings()


@pytest.mark.parametrize(
    ("text", "line", "name", "nearest"),
    [
        (
            "streaming:\n  lanes: 2\n  segment_frame: 9\n",
            3,
            "streaming.segment_frame",
            "segment_frames",
        ),
        ("\nstreamin:\n  lanes: 2\n", 2, "streamin", "streaming"),
        ("processing:\n  lanes: 2\n", 2, "processing.lanes", "streaming.lanes"),
        ("lanes: 2\n", 1, "lanes", "streaming.lanes"),
        ("1: 2\n", 1, "1", ""),
        ("<<: {lanes: 1}\n", 1, "<<", ""),
    ],
)
def test_an_unknown_key_is_named_with_its_line_and_the_nearest(
    tmp_path: Path, text: str, line: int, name: str, nearest: str
) -> None:
    error = refusal(tmp_path, text)
    assert f"settings.yaml, line {line}: " in error.message
    assert repr(name) in error.message
    assert nearest in error.advice


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("streaming:\n  segment_frames: 0\n", 2, "greater than or equal to 1"),
        ("streaming:\n  segment_frames: '600'\n", 2, "a whole number"),
        ("streaming:\n  segment_frames: yes\n", 2, "a whole number"),
        ("processing:\n  scale_factor: .nan\n", 2, "scale_factor"),
        ("processing:\n  scale_factor: 1.5\n", 2, "less than or equal to 1"),
        ("matting:\n  rvm_variant: resnet\n", 2, "'mobilenetv3' or 'resnet50'"),
        ("matting:\n  chroma_color: red\n", 2, "auto, green, blue or #rrggbb"),
        ("matting:\n  model: 2026-01-02\n\n  model: rvm\n", 4, "already given in line 2"),
        ("input:\n  max_frames: [1, 2]\n", 2, "max_frames"),
        ("output:\n  formats: []\n", 2, "formats"),
        ("output:\n  formats: [gif]\n", 2, "webm"),
        ("workers:\n  gpus: some\n", 2, "all, none, or a list"),
        ("workers:\n  gpus: [-1]\n", 2, "gpus"),
        ("streaming: 4\n", 1, "key: value"),
        ("- a\n- b\n", 1, "key: value"),
        ("streaming:\n  lanes: [1\n", 3, "not YAML"),
        ("streaming:\n\tlanes: 1\n", 2, "not YAML: a tab (YAML takes no tabs: indent with spaces)"),
        ("a: &x 1\nb: *x\n", 2, "aliases"),
        ("output:\n  formats:\n    - webm\n    - gif\n", 4, "'gif'"),
        ("processing:\n  adaptive_scaling:\n    min_scale: 3\n", 3, "adaptive_scaling.min_scale"),
        ("processing:\n  adaptive_scaling:\n    min_scal: 3\n", 3, "did you mean 'min_scale'"),
        ("processing:\n  adaptive_scaling: {min_scale: 1,\n min_scale: 1}\n", 3, "line 2"),
        ("matting: {model: 2026-13-45}\n", 1, "put it in quotes"),
        ("? [a]\n: 3\n", 1, "key: value"),
        ("input: {layout: {a: {b: {c: {d: {e: {f: {g: 1}}}}}}}}\n", 1, "nested too deeply"),
        ("input:\n  layout: !!python/object/apply:os.getcwd []\n", 2, "not YAML"),
        ("matting:\n  choke: 51\n", 2, "choke = 51: it should be less than or equal to 50"),
        ("matting:\n  gamma: .nan\n", 2, "gamma = nan: it should be a finite number"),
        ("matting:\n  keep_out: [[1, 2]]\n", 2, "matting.keep_out"),
        ("matting:\n  keep_out: [{eye: ~}]\n", 2, "item 1, eye is empty: it should be 'left'"),
        ("output:\n  formats:\n  - ~\n", 3, "output.formats, item 1 is empty: it should be text"),
        (
            "matting:\n  keep_out:\n  - points: []\n",
            3,
            "keep_out, item 1, points: it should have at least 3 items, not 0",
        ),
        (
            "matting:\n  keep_out:\n  - points:\n    - [0, 0]\n    - [0, .nan]\n    - [1, 1]\n",
            5,
            "keep_out, item 1, points = nan: it should be a finite number",
        ),
        (
            'overrides:\n- match: "*"\n  matting:\n    keep_out:\n'
            "    - {points: [[0, 0], [1, 0], [1, 1]], eyes: left}\n",
            5,
            "no key 'matting.keep_out, item 1, eyes' (did you mean 'eye'?)",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_line(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    error = refusal(tmp_path, text)
    assert f"line {line}: " in error.message
    assert words in str(error)


@pytest.mark.parametrize("text", ["a\0b", "x: [\n" * 5000, "[" * 20000, "lone: '\\ud800"])
def test_rubbish_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    refusal(tmp_path, text)


def test_files_that_cannot_be_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load_settings(tmp_path / "none.yaml", {})
    binary = tmp_path / "video.mp4"
    binary.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(SettingsError, match="not a text file"):
        load_settings(binary, {})
    binary.write_bytes(b" " * (2 << 20))
    with pytest.raises(SettingsError, match="too long"):
        load_settings(binary, {})


def test_a_wrong_option_is_named_without_a_file() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, {"processing": {"scale_factor": 3.0}})
    assert caught.value.message.startswith("--scale: processing.scale_factor = 3.0: ")


def test_gpus_may_be_a_list(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, "workers:\n  gpus: [1, 0]\n"), {}).workers.gpus == (1, 0)


def test_a_format_named_twice_is_made_once() -> None:
    settings = load_settings(None, {"output": {"formats": ["webm", "webm"]}})
    assert video_settings(settings).deliverables == ("webm",)


def test_every_group_is_frozen() -> None:
    settings = Settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.input.start_frame = 3  # type: ignore[misc]
