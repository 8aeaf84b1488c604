"""Brings the packets of a picture's stream into the order of its frames. Pure.

A file may hold more than one recording: transport streams that were glued together, chained
Matroska files. Each has a clock of its own, which begins before the last one ended, or long after.
They are shown one right after the other, as ffmpeg shows them. And a file may give several frames
the same time stamp: they are spread over the time until the next one. So a time stamp of the file
is no name of a frame; its place in the order is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

_BACK_S = 0.1  # a clock that goes back so far is another one, wherever that happens
_FORWARD_S = 1.0  # likewise forward, if the sound leaps along; less may be a lost frame
_SAME_LEAP_S = 2.0  # picture and sound of one moment lie no further apart in a file
_MOST_AT_ONE_TIME = 1000
_LARGEST = 1 << 62


class Packet(NamedTuple):
    """A packet of the picture, in ticks of its stream.

    Attributes:
        number: among all packets of the stream, in the order of the file.
        tick: when it is shown.
        decoded: when it is decoded; None where the file is silent.
        offset: its place in the file, bytes; -1 where that is not known.
    """

    number: int
    tick: int
    decoded: int | None
    keyframe: bool
    duration: int
    offset: int = -1


class Leap(NamedTuple):
    """Where the clock of a sound stream leaps, in seconds of the file's clock: from, to."""

    before_s: float
    after_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Frames in the order in which they play, all in `time_base`.

    Attributes:
        time_base: seconds per tick.
        pts: int64 ``[N]``, strictly ascending: when each plays, the recordings one after the other.
        clock: int64 ``[N]``: the file's own time stamps, where they differ from `pts`; else None.
        begins: int64 ``[S]``, positions in `pts` at which a recording begins; the first is 0.
        shifts: int64 ``[S]``: `pts` less `clock`, of the first frame of each recording.
        keyframes: int64 ``[K]``, positions in `pts` at which decoding can begin, ascending.
        seek_ticks: int64 ``[K]``, at which a demuxer finds each of them.
        key_numbers, key_offsets: int64 ``[K]``, `Packet.number` and `Packet.offset` of each.
        last_duration: ticks for which the last frame is shown; 0 where the file is silent.
    """

    time_base: Fraction
    pts: Int64
    clock: Int64 | None
    begins: Int64
    shifts: Int64
    keyframes: Int64
    seek_ticks: Int64
    key_numbers: Int64
    key_offsets: Int64
    last_duration: int

    @property
    def recordings_s(self) -> list[tuple[float, float]]:
        """Of each recording the time of its first and of its last frame, by the file's clock."""
        clock = self.pts if self.clock is None else self.clock
        ends = [*(self.begins[1:] - 1), len(clock) - 1]
        second = float(self.time_base)
        return [
            (float(clock[a]) * second, float(clock[b]) * second)
            for a, b in zip(self.begins, ends, strict=True)
        ]

    @property
    def shifts_s(self) -> list[float]:
        return [float(shift) * float(self.time_base) for shift in self.shifts]


def in_recordings(
    packets: Sequence[Packet],
    time_base: Fraction,
    *,
    resets: bool = False,
    sound_leaps: Sequence[Sequence[Leap]] = (),
) -> list[list[Packet]]:
    """The recordings of a file, each in the order in which it is shown.

    Args:
        packets: in the order of the file; at least one.
        resets: the container's clock may leap forward where another recording begins; elsewhere
            a gap is a gap.
        sound_leaps: of each sound stream. Where it goes on while the picture leaps, frames are
            missing, and nothing was glued.
    """
    starts = [0, *_splices(packets, float(time_base), resets, sound_leaps), len(packets)]
    return [sorted(packets[a:b], key=lambda p: (p.tick, p.number)) for a, b in pairwise(starts)]


def doubled(parts: Sequence[Sequence[Packet]]) -> tuple[Packet, Packet] | None:
    """The first two packets of a recording that have the same time stamp."""
    for part in parts:
        for one, other in pairwise(part):
            if one.tick == other.tick:
                return one, other
    return None


def without_doubles(parts: Sequence[Sequence[Packet]]) -> list[list[Packet]]:
    """One packet of each time stamp, the first: for streams whose frames take several."""
    return [
        [p for n, p in enumerate(part) if n == 0 or part[n - 1].tick != p.tick] for part in parts
    ]


def frames_in_order(parts: Sequence[Sequence[Packet]], time_base: Fraction) -> Frames:
    """The frames of all recordings, one after the other.

    Raises:
        ValueError: so many frames have the same time stamp that it tells nothing.
    """
    clocks = [np.asarray([p.tick for p in part], dtype=np.int64) for part in parts]
    step = _usual_step(clocks, parts, time_base)
    most = max(int(np.unique(clock, return_counts=True)[1].max()) for clock in clocks)
    if most > _MOST_AT_ONE_TIME or max(abs(clocks[0][0]), abs(clocks[-1][-1])) > _LARGEST // most:
        raise ValueError(f"{most} frames have the same time stamp")
    spread = [_spread(clock, step, most) for clock in clocks]
    pts, shifts, due = [], [], int(spread[0][0])
    for own in spread:
        shifts.append(due - int(own[0]))
        pts.append(own + shifts[-1])
        due = int(pts[-1][-1]) + step * most
    ordered = [packet for part in parts for packet in part]
    keyframes = [i for i, packet in enumerate(ordered) if packet.keyframe]
    keys = [ordered[i] for i in keyframes]
    plain = len(parts) == 1 and most == 1
    sizes = np.cumsum([0, *(len(part) for part in parts[:-1])])
    return Frames(
        time_base=time_base / most,
        pts=np.concatenate(pts),
        clock=None if plain else np.concatenate(clocks) * most,
        begins=sizes.astype(np.int64),
        shifts=_int64(shifts),
        keyframes=_int64(keyframes),
        seek_ticks=_int64([most * _seek_tick(packet) for packet in keys]),
        key_numbers=_int64([packet.number for packet in keys]),
        key_offsets=_int64([packet.offset for packet in keys]),
        last_duration=ordered[-1].duration * most,
    )


def _splices(
    packets: Sequence[Packet],
    tick_s: float,
    resets: bool,
    sound_leaps: Sequence[Sequence[Leap]],
) -> Iterator[int]:
    """Places in `packets` at which another recording begins."""
    for place in range(1, len(packets)):
        before, packet = _decoded(packets[place - 1]), packets[place]
        step_s = (_decoded(packet) - before) * tick_s
        if step_s < 0:
            # Within a recording FFmpeg may guess the times of decoding, and guess them too late.
            if packet.keyframe or (resets and step_s < -_BACK_S):
                yield place
        elif resets and step_s > _FORWARD_S and packet.keyframe:
            leap = Leap(before * tick_s, _decoded(packet) * tick_s)
            if all(_leaps_along(leap, leaps) for leaps in sound_leaps):
                yield place


def _leaps_along(leap: Leap, sound: Sequence[Leap]) -> bool:
    return any(
        abs(other.before_s - leap.before_s) < _SAME_LEAP_S
        and abs(other.after_s - leap.after_s) < _SAME_LEAP_S
        for other in sound
    )


def _decoded(packet: Packet) -> int:
    return packet.tick if packet.decoded is None else packet.decoded


def _seek_tick(packet: Packet) -> int:
    return packet.tick if packet.decoded is None else min(packet.tick, packet.decoded)


def _usual_step(
    clocks: Sequence[Int64], parts: Sequence[Sequence[Packet]], time_base: Fraction
) -> int:
    """Ticks from one frame to the next, as most of them have it."""
    steps = np.concatenate([np.diff(clock) for clock in clocks])
    steps = steps[steps > 0]
    if len(steps):
        return max(1, int(np.median(steps)))
    durations = [packet.duration for part in parts for packet in part if packet.duration > 0]
    return durations[0] if durations else max(1, round(Fraction(1, 30) / time_base))


def _spread(clock: Int64, step: int, most: int) -> Int64:
    """Ascending, in ticks a `most`-th as long; frames of one time share that until the next."""
    times, first, counts = np.unique(clock, return_index=True, return_counts=True)
    until = np.append(times[1:], times[-1] + step)
    nth = np.arange(len(clock)) - np.repeat(first, counts)
    share = np.repeat((until - times) * most // counts, counts)
    spread: Int64 = np.repeat(times * most, counts) + nth * share
    return spread


def _int64(values: Sequence[Any]) -> Int64:
    return np.asarray(values, dtype=np.int64)
