"""What the segments say of a video's matte, put together. Pure: knows no torch and no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from orchestrator.words import clock
from pipeline.contract import FlagKind, MatteFlag, SegmentResult, Side
from pipeline.judge.flags import (
    AREA_MEANS,
    border_jumps,
    is_flag,
    joined,
    without_echoes,
    worst,
)

#: Flags of a video that are kept, and those that are named in one line.
MOST_FLAGS, MOST_NAMED = 100, 4

#: Means of area over a whole video.
MOST_MEANS = 120

_WORDS: Mapping[FlagKind, str] = {
    "empty": "matte empty",
    "eyes_disagree": "eyes disagree",
    "jump": "matte jumps",
    "flicker": "matte flickers",
    "touches_edge": "subject cut off",
}


@dataclass(frozen=True, slots=True)
class MatteSummary:
    """What is known of a video's matte so far.

    Attributes:
        flags: by frame; the worst, if there are very many.
        dropped_flags: how many there are beside them.
        area: the matte's share of the picture, means over equal parts of the range; None where no
            segment has told yet. Empty where none has.
    """

    flags: tuple[MatteFlag, ...] = ()
    dropped_flags: int = 0
    area: tuple[float | None, ...] = ()


NO_MATTE = MatteSummary()


@dataclass(frozen=True, slots=True)
class TimedFlag:
    """A `MatteFlag` with its times.

    Attributes:
        start_s, end_s: of the source, in seconds from its first frame; the end is that of the last
            frame.
    """

    kind: FlagKind
    first_frame: int
    last_frame: int
    eye: int | None
    value: float
    start_s: float
    end_s: float
    side: Side | None = None


def timed(flag: MatteFlag, frame_rate: Fraction) -> TimedFlag:
    start, end = flag.first_frame / frame_rate, (flag.last_frame + 1) / frame_rate
    return TimedFlag(
        flag.kind,
        flag.first_frame,
        flag.last_frame,
        flag.eye,
        flag.value,
        round(float(start), 3),
        round(float(end), 3),
        flag.side,
    )


def summarised(
    segments: Sequence[tuple[int, int]], results: Mapping[int, SegmentResult], frame_rate: Fraction
) -> MatteSummary:
    """The flags and areas of a whole video, as far as its segments are there.

    The same frames give the same flags however they are cut, unless a segment left some out.

    Args:
        segments: half-open runs of frames.
        results: by number of the segment.
    """
    rate = float(frame_rate)
    borders = [(*segments[n], results[n].border) for n in sorted(results)]
    found = [flag for result in results.values() for flag in result.flags]
    runs = joined((*found, *border_jumps(borders)), rate)
    flags, dropped = worst(without_echoes([f for f in runs if is_flag(f, rate)]), MOST_FLAGS)
    dropped += sum(result.dropped_flags for result in results.values())
    return MatteSummary(flags, dropped, _areas(segments, results))


def _areas(
    segments: Sequence[tuple[int, int]], results: Mapping[int, SegmentResult]
) -> tuple[float | None, ...]:
    if not any(result.area for result in results.values()):
        return ()
    begin, length = segments[0][0], segments[-1][1] - segments[0][0]
    count = min(MOST_MEANS, AREA_MEANS * len(segments), length)
    sums, weights = [0.0] * count, [0.0] * count
    for number, result in results.items():
        start, stop = segments[number]
        part = (stop - start) / max(1, len(result.area))
        for place, area in enumerate(result.area):
            first = (start - begin + place * part) * count / length
            last = first + part * count / length
            for at in range(int(first), min(count, int(last) + 1)):
                overlap = min(last, at + 1) - max(first, at)
                sums[at] += area * max(0.0, overlap)
                weights[at] += max(0.0, overlap)
    return tuple(
        round(total / weight, 5) if weight > 1e-6 else None
        for total, weight in zip(sums, weights, strict=True)
    )


def in_words(flags: Sequence[TimedFlag], dropped: int = 0) -> str:
    """``0:12 matte empty, 0:40-0:52 eyes disagree and 3 more``: the worst, by time."""
    order = list(_WORDS)
    named = sorted(flags, key=lambda f: (order.index(f.kind), f.first_frame - f.last_frame))
    named = sorted(named[:MOST_NAMED], key=lambda f: f.first_frame)
    lines = dict.fromkeys(f"{_span(flag)} {_words(flag)}" for flag in named)
    more = len(flags) + dropped - len(named)
    return ", ".join(lines) + (f" and {more} more" if more else "")


def _words(flag: TimedFlag) -> str:
    return _WORDS[flag.kind] + at_the_edge(flag)


def at_the_edge(flag: TimedFlag) -> str:
    """`` at the left edge``, where it is known which; nothing for flags of other kinds."""
    if flag.kind != "touches_edge":
        return ""
    return f" at the {flag.side} edge" if flag.side else " at the edge"


def _span(flag: TimedFlag) -> str:
    first, last = clock(flag.start_s), clock(flag.end_s)
    return first if flag.end_s - flag.start_s < 2 else f"{first}-{last}"
