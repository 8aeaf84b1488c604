"""The mattes of a segment as findings, and the findings of a whole video put together again.

Pure: loads no torch and knows no files. Runs of neighbouring segments are joined here, so that the
flags of a video do not depend on where it is cut.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from pipeline.contract import Finding
from pipeline.judge.findings import Areas, BorderFrame, Judged, MatteFlag
from pipeline.judge.flags import (
    AREA_MEANS,
    RULES,
    FrameMeasures,
    area_means,
    border_frames,
    border_jumps,
    is_flag,
    joined,
    segment_flags,
    without_echoes,
    worst,
)
from pipeline.judge.sums import WHOLE, MatteSums

#: Flags of a video that are kept.
MOST_FLAGS = 100

#: Share of the picture: RVM leaves less where there is nobody, and nowhere opaque.
_TRACE = 0.01

#: Means of area over a whole video.
MOST_MEANS = 120


def matte_findings(measures: Sequence[FrameMeasures], frame_rate: float) -> tuple[Finding, ...]:
    """What is found of the mattes of one segment.

    Args:
        measures: of all frames of the segment, in order.
    """
    start, stop = measures[0].frame, measures[-1].frame + 1
    flags, dropped = segment_flags(measures, frame_rate)
    judged = Judged(
        flags=list(flags),
        dropped_flags=dropped,
        areas=[Areas(start, stop, area_means(measures))],
        border=list(border_frames(measures)),
        sums=MatteSums.of(map(_sums, measures)),
    )
    return judged.findings(start, stop)


def _sums(frame: FrameMeasures) -> MatteSums:
    """One frame's share of the sums, rounded before it is added to others."""
    if frame.shape is None:
        return MatteSums()
    disagreeing = frame.disagreement >= RULES["eyes_disagree"].high
    shape, area = frame.shape, max(frame.area)
    if 1 - area >= RULES["empty"].low or (area < _TRACE and not shape.opaque):
        return MatteSums(frames=1, empty=1)
    sky, scraps = min(shape.plain, shape.top), min(shape.gaps, shape.faint)
    shares = (area, sky, scraps, shape.zenith)
    return MatteSums(1, 0, int(disagreeing), *(round(WHOLE * share) for share in shares))


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


def summarised(
    findings: Iterable[Finding], segments: Sequence[tuple[int, int]], frame_rate: Fraction
) -> MatteSummary:
    """The flags and areas of a whole video, as far as its segments are there.

    The same frames give the same flags however they are cut, unless a segment left some out.

    Args:
        findings: of the segments that are there, in order.
        segments: half-open runs of frames, all of the video's, in order.
    """
    rate = float(frame_rate)
    judged = Judged.read(findings)
    jumps = border_jumps(_by_segment(judged.border, segments))
    runs = joined((*judged.flags, *jumps), rate)
    flags, dropped = worst(without_echoes([f for f in runs if is_flag(f, rate)]), MOST_FLAGS)
    return MatteSummary(flags, dropped + judged.dropped_flags, _areas(judged.areas, segments))


def _by_segment(
    border: Iterable[BorderFrame], segments: Sequence[tuple[int, int]]
) -> list[tuple[int, int, list[BorderFrame]]]:
    """Start, stop and border frames of each segment that has some."""
    kept: dict[int, list[BorderFrame]] = {}
    for frame in border:
        number = bisect_right(segments, frame.frame, key=lambda segment: segment[0]) - 1
        kept.setdefault(number, []).append(frame)
    return [(*segments[number], frames) for number, frames in sorted(kept.items())]


def _areas(areas: Sequence[Areas], segments: Sequence[tuple[int, int]]) -> tuple[float | None, ...]:
    if not areas:
        return ()
    begin, length = segments[0][0], segments[-1][1] - segments[0][0]
    count = min(MOST_MEANS, AREA_MEANS * len(segments), length)
    sums, weights = [0.0] * count, [0.0] * count
    for segment in areas:
        part = (segment.stop - segment.start) / max(1, len(segment.means))
        for place, area in enumerate(segment.means):
            first = (segment.start - begin + place * part) * count / length
            last = first + part * count / length
            for at in range(int(first), min(count, int(last) + 1)):
                overlap = min(last, at + 1) - max(first, at)
                sums[at] += area * max(0.0, overlap)
                weights[at] += max(0.0, overlap)
    return tuple(
        round(total / weight, 5) if weight > 1e-6 else None
        for total, weight in zip(sums, weights, strict=True)
    )
