"""`vrmatte bench`: its arithmetic on made-up figures, and once for real on a tiny clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.bench.bench import BenchRequest, _with_range, bench
from orchestrator.bench.compare import changes, differences
from orchestrator.bench.result import (
    Bench,
    Efficiency,
    Machine,
    Whole,
    efficiency,
    headline,
    read_json,
    write_json,
)
from orchestrator.cli import main
from orchestrator.estimate.trial import Stage, Stages
from orchestrator.settings.groups import InputSettings
from orchestrator.settings.settings import load_settings
from pipeline.errors import SettingsError, VrmatteError
from tests.clips import X264, ClipSpec
from tests.orchestrator.snapshots import video_info

# Per frame: decode 10 ms of one core, model 100 ms of two, encode 50 ms of one.
ALONE = Stages(
    device="cpu",
    decoder="CPU",
    chunk_frames=4,
    warmup_frames=20,
    import_s=3.0,
    load_s=1.0,
    prepare_s=0.0,
    stages=(
        Stage("decode", 10, 0.1, 0.1),
        Stage("matting", 20, 2.0, 4.0),
        Stage("encode webm", 40, 2.0, 2.0),
    ),
)
# 120 frames in two segments; the second recomputes 20: decode and model see 140.
WHOLE = Whole(
    workers=1,
    lanes=1,
    segments=((0, 60), (60, 120)),
    ready_s=4.0,
    first_frame_s=6.0,
    first_frames=4,
    last_segment_s=26.0,
    wall_s=28.0,
    cpu_s=42.0,
    parent_cpu_s=1.0,
    others_busy=0.01,
    peak_rss_bytes=2_000_000_000,
)
BENCH = Bench(
    schema_version=1,
    at="2026-01-02T03:04:05+00:00",
    machine=Machine("CPU", 2, 8 << 30, (), 0.1, "3.11", "0.1", "2.15", "0.17"),
    clip="clip.mp4",
    width=1920,
    height=960,
    eyes=2,
    codec="h264",
    model="rvm",
    formats=("webm",),
    settings="0123456789abcdef",
    intra_op_threads=2,
    decode_threads=2,
    alone=ALONE,
    whole=WHOLE,
    efficiency=efficiency(ALONE, WHOLE, 2, on_gpu=False),
)


def test_on_a_cpu_efficiency_is_work_over_cores_and_warm_up_is_work() -> None:
    found = efficiency(ALONE, WHOLE, 2, on_gpu=False)
    # In 20 s: 136 frames through decode (10 ms) and model (200 ms of CPU), 116 through encode (50)
    assert found.steady == pytest.approx((136 * 0.21 + 116 * 0.05) / 2 / 20)
    assert found.overall == pytest.approx((140 * 0.21 + 120 * 0.05) / 2 / 28)
    assert (found.kind, found.slowest) == ("all cores", "matting")
    assert found.cores_busy == pytest.approx(42 / 56)


def test_on_a_gpu_efficiency_is_nearness_to_the_slowest_stage() -> None:
    found = efficiency(ALONE, WHOLE, 2, on_gpu=True)
    assert found.steady == pytest.approx(136 * 0.1 / 20)
    assert found.overall == pytest.approx(140 * 0.1 / 28)
    slow_encoder = Stage("encode webm", 40, 8.0, 2.0)
    slower = replace(ALONE, stages=(*ALONE.stages[:2], slow_encoder))
    encoding = efficiency(slower, WHOLE, 2, on_gpu=True)
    assert encoding.slowest == "encode webm"
    assert encoding.steady == pytest.approx(116 * 0.2 / 20)


def test_segments_that_began_with_the_first_are_credited_no_warm_up() -> None:
    two_lanes = replace(WHOLE, lanes=2)
    found = efficiency(ALONE, two_lanes, 2, on_gpu=False)
    assert found.steady == pytest.approx(116 * 0.26 / 2 / 20)


def test_a_run_of_one_chunk_has_no_steady_part() -> None:
    short = replace(WHOLE, first_frames=120)
    assert efficiency(ALONE, short, 2, on_gpu=False).steady is None
    found = replace(BENCH, whole=short, efficiency=efficiency(ALONE, short, 2, on_gpu=False))
    assert "unknown" in "\n".join(headline(found))
    assert found.frames_per_second == pytest.approx(120 / 28)


def test_it_says_when_others_were_at_work() -> None:
    assert "other programs" not in "\n".join(headline(BENCH))
    disturbed = replace(BENCH, whole=replace(WHOLE, others_busy=0.3))
    assert "other programs took 30 % of the cores" in "\n".join(headline(disturbed))


def test_json_is_read_back_as_it_was(tmp_path: Path) -> None:
    write_json(BENCH, tmp_path / "a.json")
    assert read_json(tmp_path / "a.json") == BENCH


def test_against_itself_every_ratio_is_one_and_nothing_differs() -> None:
    assert {change.ratio for change in changes(BENCH, BENCH)} == {1.0}
    assert list(differences(BENCH, BENCH)) == []


def test_changes_are_new_over_old() -> None:
    doubled = tuple(replace(stage, wall_s=stage.wall_s / 2) for stage in ALONE.stages)
    new = replace(
        BENCH,
        alone=replace(ALONE, stages=(*doubled, Stage("encode matte", 40, 1.0, 1.0))),
        whole=replace(WHOLE, last_segment_s=16.0, peak_rss_bytes=1_000_000_000),
        efficiency=Efficiency("all cores", None, 0.5, "matting", 0.9),
        model="depth",
    )
    ratios = {change.name: change.ratio for change in changes(BENCH, new)}
    assert ratios["matting, frames/s"] == pytest.approx(2)
    assert ratios["whole, frames/s"] == pytest.approx(2)
    assert ratios["RSS, GB"] == pytest.approx(0.5)
    assert "encode matte, frames/s" not in ratios
    assert "efficiency" not in ratios  # one of the two does not know it
    assert list(differences(BENCH, new)) == ["not the same model: rvm, now depth"]


def _error(words: Sequence[str | Path], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return int(ended.value.code or 0), said.err.splitlines()[0]


def test_what_a_person_can_get_wrong_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing, text = tmp_path / "missing.json", tmp_path / "text.json"
    text.write_text("{}")
    cases: list[tuple[list[str | Path], int, str]] = [
        (["bench", "--compare", missing], 2, f"error: {missing} cannot be read"),
        (["bench", "--compare", text], 2, f"error: {text} was not written by `vrmatte bench"),
        (["bench", "--json", tmp_path / "no" / "a.json"], 2, "error: there is no folder for"),
        (["bench", "--size", "2k"], 2, "error: Invalid value for '--size'"),
        (["bench", "--frames", "1"], 2, "error: Invalid value for '--frames'"),
        (["bench", tmp_path / "none.mp4", "--gpus", "none"], 2, "error: cannot read"),
        (["bench", "--gpus", "77"], 3, "error: there is no GPU 77 here"),
    ]
    for words, status, begins in cases:
        found, line = _error(words, capsys)
        assert (found, line[: len(begins)]) == (status, begins)


def test_a_range_in_times_is_measured_from_its_start_at_the_full_rate() -> None:
    settings = load_settings(None, {"input": {"start": "1.001", "end": "2", "every": 3}})
    ranged = _with_range(BenchRequest(settings, frames=12), video_info(Path(__file__)), 1)
    assert ranged.input == InputSettings(start_frame=30, max_frames=12)


def test_more_frames_than_there_are(clip: Callable[[ClipSpec], Path]) -> None:
    settings = load_settings(None, {"workers": {"gpus": "none"}})
    request = BenchRequest(settings, clip(ClipSpec("short_LR_180.mp4", X264)), frames=51)
    with pytest.raises(SettingsError, match=r"50 frames of .* can be measured, and 51 would be"):
        bench(request)


@pytest.mark.slow
def test_a_tiny_clip_end_to_end(clip: Callable[[ClipSpec], Path]) -> None:
    settings = load_settings(
        None,
        {
            "matting": {"model": "chroma"},
            "output": {"formats": ["webm", "matte"]},
            "workers": {"gpus": "none"},
            "streaming": {"warmup_frames": 3, "lanes": 1, "chunk_frames": 2},
        },
    )
    said: list[str] = []
    path = clip(ClipSpec("tiny_LR_180.mp4", X264))
    found = bench(BenchRequest(settings, path, frames=12), said.append)
    assert said == ["the whole: 12 frames, 1 worker on the CPU", "each stage alone"]
    assert found.whole.segments == ((0, 6), (6, 12))
    assert sum(found.whole.recomputed(found.alone.warmup_frames)) == 3
    assert [(stage.name, stage.frames) for stage in found.alone.stages] == [
        *((name, 10) for name in ("decode", "matting", "stereo", "judge")),
        *((f"planes {name}", 10) for name in ("webm", "matte")),
        *((f"encode {name}", 12) for name in ("webm", "matte")),
    ]
    assert all(stage.cpu_s > 0 and stage.wall_s > 0 for stage in found.alone.stages)
    assert [(each.format, each.keyframes, each.others) for each in found.alone.coded] == [
        ("webm", 1, 11),
        ("matte", 1, 11),
    ]
    assert all(each.keyframe_bytes > each.other_bytes / 11 > 0 for each in found.alone.coded)
    whole = found.whole
    moments = (0, whole.ready_s, whole.first_frame_s, whole.last_segment_s, whole.wall_s)
    assert list(moments) == sorted(moments)
    assert whole.peak_rss_bytes > 100_000_000
    assert 0 < whole.parent_cpu_s < whole.cpu_s
    assert found.efficiency.slowest in {stage.name for stage in found.alone.stages}
    assert found.codec == "h264"
    assert (found.width, found.height, found.eyes) == (384, 96, 2)


def test_a_failure_of_the_run_is_one_line(tmp_path: Path, clip: Callable[[ClipSpec], Path]) -> None:
    weights = str(tmp_path / "none.pth")
    settings = load_settings(
        None,
        {
            "matting": {"rvm_weights": weights, "rvm_repo": str(tmp_path)},
            "workers": {"gpus": "none"},
        },
    )
    with pytest.raises(VrmatteError) as raised:
        bench(BenchRequest(settings, clip(ClipSpec("tiny_LR_180.mp4", X264)), frames=4))
    assert "\n" not in raised.value.message
    assert str(tmp_path) in raised.value.message
