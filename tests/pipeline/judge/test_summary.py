"""The flags of a video are those of its frames, wherever it is cut into segments.

Every summary here is read back from the findings that the segments' results carry.
"""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from itertools import chain, pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import Finding
from pipeline.judge.findings import Areas, BorderFrame, FlagKind, Judged, MatteFlag, Side
from pipeline.judge.flags import AREA_MEANS, RULES, FrameMeasures
from pipeline.judge.flags import MOST_FLAGS as MOST_OF_A_SEGMENT
from pipeline.judge.summary import (
    MOST_FLAGS,
    MOST_MEANS,
    MatteSummary,
    matte_findings,
    summarised,
)

RATE = 30
SIDES: st.SearchStrategy[Side] = st.sampled_from(get_args(Side))


def measures(
    frame: int,
    area: float = 0.1,
    other: float | None = None,
    side: Side = "left",
    **values: float,
) -> FrameMeasures:
    """Of one frame; what is not said is as it should be."""
    return FrameMeasures(
        frame=frame,
        area=(area, area if other is None else other),
        restless=(values.get("restless", 0.0), 0.0),
        edge=(0.0, values.get("edge", 0.0)),
        moved=values.get("moved", 0.0),
        disagreement=values.get("disagreement", 0.0),
        sides=(None, side),
    )


def summary(frames: list[FrameMeasures], *cuts: int, lacking: tuple[int, ...] = ()) -> MatteSummary:
    """Of frames that were made in segments between the cuts, some of which are not there yet."""
    first = frames[0].frame
    ends = sorted({0, len(frames), *cuts})
    segments = [(first + a, first + b) for a, b in pairwise(ends)]
    found = chain.from_iterable(
        matte_findings(frames[a - first : b - first], RATE)
        for number, (a, b) in enumerate(segments)
        if number not in lacking
    )
    return summarised(found, segments, Fraction(RATE))


def around(low: float, high: float) -> st.SearchStrategy[float]:
    return st.sampled_from([0.0, low / 2, low, (low + high) / 2, high, min(1.0, 2 * high)])


@st.composite
def videos(draw: st.DrawFn) -> list[FrameMeasures]:
    """Mostly good, with faults of random kinds, lengths and places, often near each other."""
    length = draw(st.integers(1, 90))
    first = draw(st.integers(0, 50))
    frames = [measures(first + n) for n in range(length)]
    for _ in range(draw(st.integers(0, 6))):
        begin = draw(st.integers(0, length - 1))
        end = min(length, begin + draw(st.integers(1, 12)))
        area = draw(st.sampled_from([0.0, 0.05, 0.1, 0.13]))
        values = {
            "restless": draw(around(RULES["flicker"].low, RULES["flicker"].high)),
            "edge": draw(around(RULES["touches_edge"].low, RULES["touches_edge"].high)),
            "disagreement": draw(around(RULES["eyes_disagree"].low, RULES["eyes_disagree"].high)),
            "moved": draw(st.sampled_from([0.0, 0.9])),
        }
        for n in range(begin, end):
            other, side = draw(st.sampled_from([area, 0.1])), draw(SIDES)
            frames[n] = measures(first + n, area, other, side, **values)
    return frames


@given(frames=videos(), cuts=st.sets(st.integers(1, 89), max_size=12))
def test_cuts_alter_nothing(frames: list[FrameMeasures], cuts: set[int]) -> None:
    whole = summary(frames)
    cut = summary(frames, *(at for at in cuts if at < len(frames)))
    assert (cut.flags, cut.dropped_flags) == (whole.flags, whole.dropped_flags)


@given(frames=videos())
def test_flags_lie_in_the_video_are_apart_and_bad_enough(frames: list[FrameMeasures]) -> None:
    last: dict[FlagKind, int] = {}
    for flag in summary(frames).flags:
        rule = RULES[flag.kind]
        assert frames[0].frame <= flag.first_frame <= flag.last_frame <= frames[-1].frame
        assert flag.value >= rule.high
        assert flag.last_frame - flag.first_frame + 1 >= round(rule.least_s * RATE)
        if flag.kind in last:
            assert flag.first_frame - last[flag.kind] - 1 > round(rule.gap_s * RATE)
        last[flag.kind] = flag.last_frame


def test_every_kind_has_its_rule() -> None:
    assert set(RULES) == set(get_args(FlagKind))


def test_a_moment_is_none_and_two_thresholds_hold_a_run_together() -> None:
    rule = RULES["eyes_disagree"]
    frames = [measures(n) for n in range(60)]
    frames[10] = measures(10, disagreement=1.0)
    assert summary(frames).flags == ()
    for n in range(20, 40):
        frames[n] = measures(n, disagreement=rule.low)
    assert summary(frames).flags == ()
    frames[30] = measures(30, disagreement=rule.high)
    assert summary(frames).flags == (MatteFlag("eyes_disagree", 20, 39, None, rule.high),)


def test_a_subject_of_a_few_pixels_jumps_by_nothing() -> None:
    frames = [measures(n, 0.0006 if n < 20 else 0.0009) for n in range(60)]
    assert summary(frames).flags == ()


def test_pictures_that_are_shown_twice_make_no_jumps() -> None:
    frames = [measures(n, 0.05 * 1.2 ** (n // 2)) for n in range(12)]
    assert [flag.kind for flag in summary(frames).flags] == []


def test_a_segment_keeps_the_worst_and_says_how_many_there_were() -> None:
    frames = [measures(n) for n in range(600)]
    for n in range(5, 600, 9):  # 67 jumps up and down, too far from each other to be one
        frames[n] = measures(n, 0.05 if n % 2 else 0.01)
    kept = Judged.read(matte_findings(frames, RATE))
    assert len(kept.flags) == MOST_OF_A_SEGMENT
    assert kept.dropped_flags > 0
    deep = [n for n in range(5, 600, 9) if n % 2 == 0]
    assert [flag.first_frame for flag in kept.flags if flag.value > 0.8] == deep
    assert summary(frames).dropped_flags == kept.dropped_flags


def test_a_video_keeps_the_worst_and_says_how_many_there_were() -> None:
    frames = [measures(n) for n in range(3000)]
    for n in range(5, 3000, 20):
        frames[n] = measures(n, 0.0)
    made = summary(frames, *range(200, 3000, 200))
    assert len(made.flags) == MOST_FLAGS
    assert made.dropped_flags == 150 - MOST_FLAGS


def test_areas_are_means_over_equal_parts_and_unknown_where_no_segment_is() -> None:
    frames = [measures(n, area=n / 1000, other=0.0) for n in range(100, 160)]
    assert summary(frames, 30, lacking=(0, 1)).area == ()
    half = summary(frames, 30, lacking=(0,)).area
    assert len(half) == 2 * AREA_MEANS
    assert set(half[:AREA_MEANS]) == {None}
    known = [area for area in half[AREA_MEANS:] if area is not None]
    assert len(known) == AREA_MEANS
    assert known == sorted(known)
    assert sum(known) / AREA_MEANS == pytest.approx((130 + 159) / 2 / 2000, rel=0.01)
    many = [measures(n) for n in range(300)]
    assert summary(many, *range(1, 300)).area == (0.1,) * MOST_MEANS


def test_segments_without_findings_have_no_flags() -> None:
    assert summarised([], [(0, 10), (10, 20)], Fraction(30)) == MatteSummary()
    of_others = [Finding("upscale", "empty", 0, 9, values=(1.0,))]
    assert summarised(of_others, [(0, 10), (10, 20)], Fraction(30)) == MatteSummary()


FRAME = st.integers(0, 10**6)
SHARE = st.floats(0, 1)


@given(
    flags=st.lists(
        st.builds(
            MatteFlag,
            st.sampled_from(get_args(FlagKind)),
            FRAME,
            FRAME,
            st.sampled_from([None, 0, 1]),
            SHARE,
            st.none() | SIDES,
        )
    ),
    dropped=st.integers(0, 10**6),
    means=st.lists(SHARE, max_size=3).map(tuple),
    border=st.lists(st.builds(BorderFrame, FRAME, st.tuples(SHARE, SHARE), st.booleans())),
)
def test_what_is_judged_comes_back_from_its_findings(
    flags: list[MatteFlag], dropped: int, means: tuple[float, ...], border: list[BorderFrame]
) -> None:
    judged = Judged(flags, dropped, [Areas(10, 20, means)], border)
    assert Judged.read(judged.findings(10, 20)) == judged


def test_findings_are_read_without_torch() -> None:
    code = (
        "import sys, orchestrator.report.findings, orchestrator.fleet.fleet;"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
