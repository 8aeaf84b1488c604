"""What took a video's time: segments put together, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fleet.stage_shares import StageShares, added, bottleneck, shares
from orchestrator.report.cards import cards
from orchestrator.report.rebuild import read_report
from orchestrator.report.report import write_report
from pipeline.contract import StageTimes
from tests.orchestrator.pages import every_kind

SHARE = st.floats(0, 1)
SEGMENT = st.tuples(st.floats(0.01, 1000), st.tuples(SHARE, SHARE, SHARE, SHARE))


@given(st.lists(SEGMENT, min_size=1, max_size=8), st.integers(0, 3))
def test_segments_together_have_the_mean_of_their_shares_weighted_by_their_time(
    segments: list[tuple[float, tuple[float, ...]]], unmeasured: int
) -> None:
    times = [StageTimes(wall, *(wall * share for share in own)) for wall, own in segments]
    found = shares(added([*times, *[None] * unmeasured]))
    assert found is not None
    whole = sum(wall for wall, _ in segments)
    for place, share in enumerate(astuple(found)):
        assert 0 <= share <= 1
        mean = sum(wall * own[place] for wall, own in segments) / whole
        assert share == pytest.approx(mean, abs=0.001)
    # However they are put together.
    halves = [added(times[: len(times) // 2]), added(times[len(times) // 2 :])]
    again = shares(added(halves))
    assert again is not None
    assert astuple(again) == pytest.approx(astuple(found), abs=0.0011)


def test_what_nobody_measured_is_not_told() -> None:
    assert added([None, None]) is None
    assert shares(None) is None
    assert shares(StageTimes(0, 0, 0, 0, 0)) is None
    # A device's clock may go faster than the host's.
    assert shares(StageTimes(10, 0, 10.01, 0, 0)) == StageShares(0, 1, 0, 0)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (StageShares(0.12, 0.81, 0, 0.85), None),
        (StageShares(0.12, 0.86, 0.03, 0.34), "matte: the rest waits"),
        (StageShares(0, 0.4, 0.1, 0.99), "encode: the rest waits"),
        (StageShares(0.9, 0, 0, 0.9), "decode and encode: the rest waits"),
        (StageShares(0.1, 0.5, 0.4, 0.1), "matte and planes, which take turns: the rest waits"),
    ],
)
def test_the_bottleneck_is_named(found: StageShares, said: str | None) -> None:
    assert bottleneck(found) == said


def test_each_card_tells_them_and_a_report_of_before_has_none(tmp_path: Path) -> None:
    state = every_kind()
    told = {card.name: dict(card.facts) for card in cards(state)}
    figures = "decode 12%, matte 81%, planes 3%, encode 34%"
    assert told["talk_LR_180.mp4"]["Stages busy"] == figures
    assert "Bottleneck" not in told["talk_LR_180.mp4"]
    assert "matte and planes" in told["dance_LR_180.mp4"]["Bottleneck"]
    assert "Stages busy" not in told["bad.mp4"]

    path = tmp_path / "report.json"
    write_report(state.report, path)
    said = json.loads(path.read_text())
    for video in said["videos"]:
        del video["stages"]
    path.write_text(json.dumps(said))
    without = tuple(replace(video, stages=None) for video in state.report.videos)
    assert read_report(path) == replace(state.report, videos=without)
