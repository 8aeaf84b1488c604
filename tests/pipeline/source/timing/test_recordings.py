"""Laws of the order of frames: several recordings in a file, several frames at one time."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.source.sound.clock import SoundClock
from pipeline.source.timing.frame_index import build_index
from pipeline.source.timing.positions import Positions
from pipeline.source.timing.recordings import (
    Leap,
    Packet,
    doubled,
    frames_in_order,
    in_recordings,
    without_doubles,
)

TICKS = Fraction(1, 90_000)
STEP = 3000  # of 30 frames/s

#: A recording: when its clock begins, in seconds, and how many groups of five frames it has.
recordings = st.lists(
    st.tuples(st.integers(0, 40).map(lambda n: n / 4), st.integers(1, 4)), min_size=1, max_size=5
)


def glued(parts: list[tuple[float, int]], ticks: Fraction = TICKS) -> list[Packet]:
    """Packets in the order of a file: keyframe, then P before two B, twice a group."""
    packets: list[Packet] = []
    step = round(Fraction(1, 30) / ticks)
    for begin_s, groups in parts:
        begin = round(Fraction(begin_s) / ticks)
        for place, shown in enumerate(5 * g + n for g in range(groups) for n in (0, 3, 1, 2, 4)):
            tick, decoded = begin + (shown + 2) * step, begin + place * step
            packets.append(Packet(len(packets), tick, decoded, shown % 5 == 0, step))
    return packets


@given(recordings)
def test_recordings_are_shown_one_after_the_other(parts: list[tuple[float, int]]) -> None:
    packets = glued(parts)
    found = in_recordings(packets, TICKS, resets=True)
    if any(_goes_on(a, b) for a, b in pairwise(parts)):
        return  # the clock leads on, or nearly: that is one recording
    frames = frames_in_order(found, TICKS)
    assert [len(part) for part in found] == [5 * groups for _, groups in parts]
    assert (np.diff(frames.pts) == STEP).all()
    index = build_index(frames, [])
    assert index.frame_rate == 30
    assert index.num_frames == len(packets)
    assert not index.variable_rate


def _goes_on(a: tuple[float, int], b: tuple[float, int]) -> bool:
    end_s = a[0] + (5 * a[1] - 1) / 30
    return bool(0 <= b[0] - end_s <= 1.0)


@given(recordings, st.data())
def test_a_picture_is_known_by_its_time_and_the_order(
    parts: list[tuple[float, int]], data: st.DataObject
) -> None:
    """From any keyframe on, with some pictures lost on the way."""
    frames = frames_in_order(in_recordings(glued(parts), TICKS, resets=True), TICKS)
    index = build_index(frames, [])
    clock = frames.pts if frames.clock is None else frames.clock
    key = data.draw(st.integers(0, len(index.keyframes) - 1))
    first = int(index.keyframes[key])
    lost = (
        data.draw(st.sets(st.integers(first + 1, len(clock) - 1), max_size=2))
        if (first + 1 < len(clock))
        else set()
    )
    begins = set(index.begins.tolist())
    shown = [n for n in range(first, len(clock)) if n not in lost or n in begins]
    positions = Positions(index, 0.0, first)
    assert [positions.of(float(clock[n] * TICKS)) for n in shown] == shown


@given(st.lists(st.integers(1, 4), min_size=2, max_size=40), st.integers(0, 10**6))
def test_frames_at_one_time_share_the_time_until_the_next(counts: list[int], begin: int) -> None:
    ticks = [begin + n * 33 for n, count in enumerate(counts) for _ in range(count)]
    packets = [Packet(n, tick, None, n == 0, 33) for n, tick in enumerate(ticks)]
    parts = in_recordings(packets, Fraction(1, 1000))
    frames = frames_in_order(parts, Fraction(1, 1000))
    seconds = frames.pts * float(frames.time_base)
    assert (np.diff(frames.pts) > 0).all()
    assert (seconds >= np.asarray(ticks) / 1000 - 1e-9).all()
    assert (seconds < np.asarray(ticks) / 1000 + 0.033).all()
    assert (doubled(parts) is None) == (max(counts) == 1)
    assert [len(part) for part in without_doubles(parts)] == [len(counts)]
    if max(counts) == 1:
        assert frames.clock is None
    elif frames.clock is not None:
        assert frames.clock * float(frames.time_base) == pytest.approx(np.asarray(ticks) / 1000)


def test_one_time_for_all_tells_nothing() -> None:
    packets = [Packet(n, 40, None, n == 0, 0) for n in range(2000)]
    with pytest.raises(ValueError, match="2000 frames have the same time stamp"):
        frames_in_order([packets], TICKS)


def test_a_gap_while_the_sound_goes_on_is_a_gap() -> None:
    packets = glued([(0.0, 2), (5.0, 2)])
    goes_on: list[Leap] = []
    leaps_along = [Leap(0.4, 5.0)]
    elsewhere = [Leap(30.0, 35.0)]
    for sound, count in ((goes_on, 1), (leaps_along, 2), (elsewhere, 1)):
        assert len(in_recordings(packets, TICKS, resets=True, sound_leaps=[sound])) == count
    assert len(in_recordings(packets, TICKS, resets=True)) == 2
    # Of a container whose time line is edited, a gap is meant.
    assert len(in_recordings(packets, TICKS, sound_leaps=[leaps_along])) == 1


def test_a_clock_that_goes_back_within_a_group_is_no_other_one() -> None:
    """FFmpeg guesses times of decoding in Matroska, and after a leap guesses them too late."""
    ticks = [0, 167, 67, 33, 100, 133]
    packets = [Packet(n, t, t, n == 0, 33) for n, t in enumerate(ticks)]
    assert len(in_recordings(packets, Fraction(1, 1000))) == 1


@pytest.mark.parametrize("offset_s", [0.0, 5.0, 0.5, 30.0])
def test_sound_goes_along_with_its_recording(offset_s: float) -> None:
    clock = SoundClock()
    for begin_s in (1.4, 1.4 + offset_s, 1.4):
        for k in range(50):
            clock.note(begin_s - 0.02 + k * 0.02, begin_s + k * 0.02)
    pictures = [(1.4, 2.4), (1.4 + offset_s, 2.4 + offset_s), (1.4, 2.4)]
    shifts = [0.0, 1.0 - offset_s, 2.0]
    assert clock.shifts(pictures, shifts) == shifts


def test_sound_with_a_hole_stays_with_its_picture() -> None:
    clock = SoundClock()
    for begin_s in (0.0, 3.0):
        for k in range(50):
            clock.note(begin_s + k * 0.02, begin_s + (k + 1) * 0.02)
    assert clock.shifts([(0.0, 4.0)], [0.0]) == [0.0, 0.0]
