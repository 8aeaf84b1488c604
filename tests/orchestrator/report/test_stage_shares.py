"""What took a video's time: segments put together, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fleet.segment_sums import added_up
from orchestrator.report.cards import cards
from orchestrator.report.rebuild import read_report
from orchestrator.report.report import write_report
from orchestrator.report.stage_shares import bottleneck, in_words, shares
from pipeline.contract import SegmentResult
from tests.orchestrator.pages import every_kind

SHARE = st.floats(0, 1)
NAMES = ("decode", "matting", "anything", "encode")
SEGMENT = st.tuples(st.floats(0.01, 1000), st.tuples(SHARE, SHARE, SHARE, SHARE))
UNMEASURED = SegmentResult((), 10)


def segment(wall_s: float, own: tuple[float, ...]) -> SegmentResult:
    seconds = {name: wall_s * share for name, share in zip(NAMES, own, strict=True)}
    return SegmentResult((), 10, stage_seconds=seconds, wall_s=wall_s)


@given(st.lists(SEGMENT, min_size=1, max_size=8), st.integers(0, 3))
def test_segments_together_have_the_mean_of_their_shares_weighted_by_their_time(
    segments: list[tuple[float, tuple[float, ...]]], unmeasured: int
) -> None:
    results = [segment(wall, own) for wall, own in segments]
    sums = added_up([*results, *[UNMEASURED] * unmeasured])
    found = shares(sums.stage_seconds, sums.wall_s)
    assert found is not None
    assert tuple(found) == NAMES, "in the order of the chain"
    whole = sum(wall for wall, _ in segments)
    for place, share in enumerate(found.values()):
        assert 0 <= share <= 1
        mean = sum(wall * own[place] for wall, own in segments) / whole
        assert share == pytest.approx(mean, abs=0.001)


def test_what_nobody_measured_is_not_told() -> None:
    sums = added_up([UNMEASURED, UNMEASURED])
    assert shares(sums.stage_seconds, sums.wall_s) is None
    assert shares({}, 0) is None
    # A device's clock may go faster than the host's.
    assert shares({"decode": 0, "matting": 10.01}, 10) == {"decode": 0, "matting": 1}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((0.12, 0.81, 0, 0.85), None),
        ((0.12, 0.86, 0.03, 0.34), "matting: the rest waits"),
        ((0, 0.4, 0.1, 0.99), "encode: the rest waits"),
        ((0.9, 0, 0, 0.9), "decode and encode: the rest waits"),
        ((0.1, 0.5, 0.4, 0.1), "matting and planes, which take turns: the rest waits"),
    ],
)
def test_the_bottleneck_is_named(found: tuple[float, ...], said: str | None) -> None:
    names = ("decode", "matting", "planes", "encode")
    assert bottleneck(dict(zip(names, found, strict=True))) == said


def test_stages_of_any_name_take_turns() -> None:
    found = {"decode": 0.3, "matting": 0.3, "upscale": 0.4, "planes": 0.2, "encode": 0.8}
    assert in_words(found) == "decode 30%, matting 30%, upscale 40%, planes 20%, encode 80%"
    assert bottleneck(found) == "matting, upscale and planes, which take turns: the rest waits"


def test_each_card_tells_them_and_older_reports_are_read(tmp_path: Path) -> None:
    state = every_kind(str(tmp_path))
    told = {card.name: dict(card.load) for card in cards(state)}
    figures = "decode 12%, matte 81%, planes 3%, encode 34%"
    assert told["talk_LR_180.mp4"]["Stages busy"] == figures
    assert "Bottleneck" not in told["talk_LR_180.mp4"]
    assert "matte and planes" in told["dance_LR_180.mp4"]["Bottleneck"]
    assert "Stages busy" not in told["bad.mp4"]

    path = tmp_path / "report.json"
    write_report(state.report, path)
    said = json.loads(path.read_text())
    said["schema_version"] = 2
    path.write_text(json.dumps(said))
    assert read_report(path) == replace(state.report, schema_version=2)
    for video in said["videos"]:
        del video["stages"]
    path.write_text(json.dumps(said))
    without = tuple(replace(video, stages=None) for video in state.report.videos)
    assert read_report(path) == replace(state.report, schema_version=2, videos=without)
