"""Laws of the frame rate: a grid decides it, whatever a header says on average."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.source.timing.frame_index import build_index
from pipeline.source.timing.frame_rate import STANDARD_RATES, constant_rate, missing_frames
from pipeline.source.timing.recordings import Packet, frames_in_order

TICKS = {"mp4": Fraction(1, 90_000), "mkv": Fraction(1, 1000)}


def stamps(rate: Fraction, numbers: list[int], ticks: Fraction) -> list[int]:
    return [round(n / rate / ticks) for n in numbers]


@given(
    rate=st.sampled_from(STANDARD_RATES),
    count=st.integers(100, 500),
    missing=st.sets(st.integers(1, 98), min_size=1, max_size=30),
    container=st.sampled_from(sorted(TICKS)),
)
def test_missing_frames_change_no_rate(
    rate: Fraction, count: int, missing: set[int], container: str
) -> None:
    ticks = TICKS[container]
    numbers = [n for n in range(count) if n not in missing]
    pts = stamps(rate, numbers, ticks)
    average = Fraction(len(pts) - 1) / (Fraction(pts[-1] - pts[0]) * ticks)
    packets = [Packet(n, tick, None, n == 0, 0) for n, tick in enumerate(pts)]
    index = build_index(frames_in_order([packets], ticks), [average, rate])
    assert index.frame_rate == rate
    assert index.num_frames == count
    shown = index.source_frames(0, count)
    assert shown[numbers].tolist() == list(range(len(numbers)))
    found = missing_frames(index.pts, ticks, rate)
    assert found is not None
    assert set(found.tolist()) == missing


@pytest.mark.parametrize("rate", [Fraction(30), Fraction(30_000, 1001), Fraction(60_000, 1001)])
@pytest.mark.parametrize("lost", [1, 2, 60, 111, 230, 238])
def test_one_frame_lost_anywhere(rate: Fraction, lost: int) -> None:
    """Without the true rate among those that the file names."""
    numbers = [n for n in range(241) if n != lost]
    for ticks in TICKS.values():
        pts = np.asarray(stamps(rate, numbers, ticks))
        average = Fraction(239) / (Fraction(int(pts[-1] - pts[0])) * ticks)
        assert constant_rate(pts, ticks, [average]) == rate


def test_fields_do_not_double_the_frames() -> None:
    """FFmpeg names the rate of fields, twice that of frames, for some H.264."""
    numbers = [n for n in range(100) if n not in (30, 31, 70)]
    pts = np.asarray(stamps(Fraction(25), numbers, TICKS["mp4"]))
    assert constant_rate(pts, TICKS["mp4"], [Fraction(50), Fraction(97, 4)]) == 25


def test_an_odd_rate_that_is_kept_stays() -> None:
    rate = Fraction(59, 2)
    pts = np.asarray(stamps(rate, list(range(200)), TICKS["mp4"]))
    assert constant_rate(pts, TICKS["mp4"], [rate]) == rate


def test_a_guess_from_milliseconds_is_a_standard_rate() -> None:
    rate = Fraction(60_000, 1001)
    pts = np.asarray(stamps(rate, list(range(300)), TICKS["mkv"]))
    assert constant_rate(pts, TICKS["mkv"], [Fraction(59_943_064, 1_000_000)]) == rate


def test_slides_are_no_grid() -> None:
    """A frame every two seconds lies on a grid of 30 a second, too."""
    pts = np.asarray([0, 60, 120, 190, 240]) * 3000
    assert constant_rate(pts, TICKS["mp4"], []) in (None, Fraction(1, 2))
