"""Flags: runs of frames whose matte deserves a look, from a few numbers a frame. Pure.

Every kind has a measure, larger is worse, and one rule: frames at or above `low` make a run, runs
that are nearer than `gap_s` are one, and what lasts `least_s` and reaches `high` somewhere is a
flag (two thresholds, as Canny's edges have). Runs of neighbouring segments join by the same rule,
so that the flags of a video do not depend on where it is cut: a segment leaves out only what is
too far from its ends to be joined with anything (`pipeline/judge/summary.py` does the joining).

The measures of a frame:

- empty: share of the picture that is not matte, in the fuller eye.
- eyes_disagree: share of the subject that is not in both eyes, after mending; by the refiner, or,
  where it does not look, by how unequal the areas are, which is never more.
- jump: by how much the area changes at once, as a share of the larger: the change from the frame
  before less what changes around it on one side, so that whoever walks in or waves does not jump.
  None where the picture is cut.
- flicker: the alpha that came or went since the frame before where the picture stayed as it was, as
  a share of the subject. The truth does not change there; so this is dtSSD, the usual measure of
  temporal coherence (Erofeev et al., "Perceptually Motivated Benchmark for Video Matting", BMVC
  2015), where it needs no truth; absolute instead of squared, as flicker is in small parts.
- touches_edge: share of a side of the picture at which the subject is cut off.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.judge.findings import BorderFrame, FlagKind, MatteFlag, Side
from pipeline.judge.sums import Shape

#: Flags of a segment that are kept.
MOST_FLAGS = 40

#: Means of area in a segment's result.
AREA_MEANS = 16

#: Frames at each end of a segment that are kept for the jumps across it: a jump at n is seen in the
#: areas of n - 3 to n + 2.
_BEFORE, _AFTER = 3, 2
_KEPT = _BEFORE + _AFTER

#: Smaller subjects than this share of a picture count as so large: a few pixels jump by nothing.
LEAST_AREA = 0.005

#: Share of the picture that has changed from which on it is another one.
_CUT = 0.6


@dataclass(frozen=True, slots=True)
class Rule:
    """When a measure makes a flag; see above.

    Attributes:
        least_s, gap_s: rounded to frames, at least one and at least none.
    """

    low: float
    high: float
    least_s: float = 0.0
    gap_s: float = 0.0


#: The worst first: what is shown where there is no room for all. The largest that was measured of
#: good mattes of moving people (docs/decisions/012-quality-flags.md): eyes_disagree 0.014, jump
#: 0.075, flicker 0.006.
RULES: Mapping[FlagKind, Rule] = {
    # A fifth of a thousandth of an eye of 180 degrees is a person 20 m away.
    "empty": Rule(low=0.9998, high=0.9998, gap_s=0.1),
    "eyes_disagree": Rule(low=0.05, high=0.1, least_s=0.1, gap_s=0.25),
    "jump": Rule(low=0.15, high=0.15, gap_s=0.1),
    # At least twice: what comes and stays jumps.
    "flicker": Rule(low=0.015, high=0.03, least_s=0.06, gap_s=0.25),
    # A hand at arm's length is 0.04 of 180 degrees; who walks past the edge is soon gone.
    "touches_edge": Rule(low=0.02, high=0.04, least_s=0.3, gap_s=0.5),
}
#: What explains flags of other kinds.
_TELLING: tuple[FlagKind, ...] = ("empty", "eyes_disagree", "flicker")

_ORDER = {kind: place for place, kind in enumerate(RULES)}


@dataclass(frozen=True, slots=True)
class FrameMeasures:
    """What was measured of one frame; tuples are by eye.

    Attributes:
        frame: number in the source.
        area: share of the picture that is matte, 0..1.
        restless: see flicker; 0 where nothing is known of the frame before.
        edge: see touches_edge; of `sides`, that at which most is cut off.
        moved: share of the picture that changed since the frame before.
        disagreement: see eyes_disagree; 0 for one eye.
        shape: what the matte as a whole looks like, for `pipeline/judge/doubt.py`; None where that
            says nothing.
    """

    frame: int
    area: tuple[float, ...]
    restless: tuple[float, ...]
    edge: tuple[float, ...]
    moved: float
    disagreement: float
    sides: tuple[Side | None, ...] = ()
    shape: Shape | None = None

    def as_border(self) -> BorderFrame:
        return BorderFrame(self.frame, self.area, self.moved >= _CUT)


def segment_flags(
    measures: Sequence[FrameMeasures], frame_rate: float
) -> tuple[tuple[MatteFlag, ...], int]:
    """The flags of a segment, and how many were left out beside them.

    Args:
        measures: of all frames of the segment, in order.
    """
    start, stop = measures[0].frame, measures[-1].frame + 1
    frames = {m.frame: m.as_border() for m in measures}
    inner = range(start + _BEFORE, stop - _AFTER)
    runs = joined((*_marks(measures), *jumps(frames, inner)), frame_rate)
    kept = [f for f in runs if is_flag(f, frame_rate) or _may_join(f, start, stop, frame_rate)]
    return worst(kept, MOST_FLAGS)


def border_frames(measures: Sequence[FrameMeasures]) -> tuple[BorderFrame, ...]:
    """What `border_jumps` needs of a segment."""
    ends = measures if len(measures) <= 2 * _KEPT else (*measures[:_KEPT], *measures[-_KEPT:])
    return tuple(m.as_border() for m in ends)


def area_means(measures: Sequence[FrameMeasures]) -> tuple[float, ...]:
    """Mean areas of both eyes over equal parts of a segment, `AREA_MEANS` of them or fewer."""
    areas = [sum(m.area) / len(m.area) for m in measures]
    parts = min(AREA_MEANS, len(areas))
    cuts = [len(areas) * part // parts for part in range(parts + 1)]
    return tuple(round(sum(areas[a:b]) / (b - a), 5) for a, b in pairwise(cuts))


def border_jumps(borders: Iterable[tuple[int, int, Sequence[BorderFrame]]]) -> Iterator[MatteFlag]:
    """The jumps that segments could not see, being too near their ends: single frames.

    Args:
        borders: start, stop and `border_frames` of each segment there is.
    """
    borders = list(borders)
    frames = {frame.frame: frame for _, _, kept in borders for frame in kept}
    for start, stop, _ in borders:
        inner = range(start + _BEFORE, stop - _AFTER)
        outer = [n for n in range(start, stop) if n in frames and n not in inner]
        yield from jumps(frames, outer)


def jumps(frames: Mapping[int, BorderFrame], numbers: Iterable[int]) -> Iterator[MatteFlag]:
    """Single frames at which the area jumps.

    Args:
        frames: those that are known.
        numbers: those that are asked about.
    """
    for number in numbers:
        here, before = frames[number], frames.get(number - 1)
        if here.cut or before is None:
            continue
        values = [jump(frames, number, eye) for eye in range(len(here.area))]
        yield from _mark("jump", number, values)


def jump(frames: Mapping[int, BorderFrame], number: int, eye: int) -> float:
    """How much of the area of an eye comes or goes at once; the frame before must be known."""

    def change(at: int) -> float | None:
        here, before = frames.get(at), frames.get(at - 1)
        return abs(here.area[eye] - before.area[eye]) if here and before else None

    # Two neighbours a side: where every picture is shown twice, every second change is none.
    sides = [(change(number + a), change(number + b)) for a, b in ((-1, -2), (1, 2))]
    known = [max(one, other) for one, other in sides if one is not None and other is not None]
    own = change(number) or 0.0
    larger = max(frames[number].area[eye], frames[number - 1].area[eye], LEAST_AREA)
    return round((own - min(known, default=0.0)) / larger, 4)


def _marks(measures: Sequence[FrameMeasures]) -> Iterator[MatteFlag]:
    """Single frames at or above `low`, of the kinds that are measured frame by frame."""
    for m in measures:
        yield from _mark("empty", m.frame, [round(1 - max(m.area), 5)])
        yield from _mark("eyes_disagree", m.frame, [m.disagreement])
        yield from _mark("flicker", m.frame, m.restless)
        yield from _mark("touches_edge", m.frame, m.edge, m.sides)


def _mark(
    kind: FlagKind, frame: int, values: Sequence[float], sides: Sequence[Side | None] = ()
) -> Iterator[MatteFlag]:
    """A flag of one frame, if any of the values (one for all, or one an eye) reaches `low`."""
    high = [value >= RULES[kind].low for value in values]
    if any(high):
        eye = high.index(True) if len(high) > 1 and not all(high) else None
        side = sides[values.index(max(values))] if sides else None
        yield MatteFlag(kind, frame, frame, eye, max(values), side)


def joined(flags: Iterable[MatteFlag], frame_rate: float) -> list[MatteFlag]:
    """With what is nearer than its rule's gap put together; by frame."""
    runs: list[MatteFlag] = []
    last: dict[FlagKind, MatteFlag] = {}
    for flag in sorted(flags, key=_by_frame):
        before = last.get(flag.kind)
        if before and flag.first_frame - before.last_frame - 1 <= _gap(flag, frame_rate):
            flag = MatteFlag(
                flag.kind,
                before.first_frame,
                max(before.last_frame, flag.last_frame),
                before.eye if before.eye == flag.eye else None,
                max(before.value, flag.value),
                flag.side if flag.value > before.value else before.side,
            )
        elif before:
            runs.append(before)
        last[flag.kind] = flag
    return sorted((*runs, *last.values()), key=_by_frame)


def is_flag(run: MatteFlag, frame_rate: float) -> bool:
    """Whether a run that will grow no more is long and bad enough."""
    rule = RULES[run.kind]
    least = max(1, round(rule.least_s * frame_rate))
    return run.value >= rule.high and run.last_frame - run.first_frame + 1 >= least


def without_echoes(flags: Sequence[MatteFlag]) -> list[MatteFlag]:
    """Without those that only tell where another one begins or ends.

    A matte that vanishes jumps, and one that vanishes for a moment flickers; one that flickers
    jumps at every turn.

    Args:
        flags: by frame, `joined`.
    """
    runs = [[flag for flag in flags if flag.kind == kind] for kind in _TELLING]
    return [flag for flag in flags if not any(_tells(near, flag) for near in _near(flag, runs))]


def _near(flag: MatteFlag, kinds: Iterable[Sequence[MatteFlag]]) -> Iterator[MatteFlag]:
    """Of each kind the last run that has begun by the frame after the flag's first."""
    for runs in kinds:
        place = bisect_right(runs, flag.first_frame + 1, key=lambda run: run.first_frame)
        if place:
            yield runs[place - 1]


def _tells(flag: MatteFlag, echo: MatteFlag) -> bool:
    if echo.kind == "jump" and flag.kind == "flicker":
        return flag.first_frame - 1 <= echo.first_frame <= echo.last_frame <= flag.last_frame + 1
    if echo.kind in ("jump", "flicker") and flag.kind in ("empty", "eyes_disagree"):
        ends = (flag.first_frame, flag.last_frame + 1)
        return all(
            any(abs(frame - end) <= 1 for end in ends)
            for frame in (echo.first_frame, echo.last_frame)
        )
    return False


def worst(flags: Sequence[MatteFlag], most: int) -> tuple[tuple[MatteFlag, ...], int]:
    """At most so many of them, by frame, and how many were left out."""
    kept = sorted(flags, key=_badness)[:most]
    return tuple(sorted(kept, key=_by_frame)), len(flags) - len(kept)


def _badness(flag: MatteFlag) -> tuple[int, float, int]:
    return (_ORDER[flag.kind], -flag.value, flag.first_frame)


def _by_frame(flag: MatteFlag) -> tuple[int, int, int]:
    return (flag.first_frame, _ORDER[flag.kind], flag.last_frame)


def _gap(flag: MatteFlag, frame_rate: float) -> int:
    return round(RULES[flag.kind].gap_s * frame_rate)


def _may_join(run: MatteFlag, start: int, stop: int, frame_rate: float) -> bool:
    gap = _gap(run, frame_rate)
    return run.first_frame - start <= gap or stop - 1 - run.last_frame <= gap
