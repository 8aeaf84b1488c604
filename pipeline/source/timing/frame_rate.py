"""Decides the constant frame rate that a file's time stamps mean. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

#: Rates that cameras and editors use; a measured rate this close to one is taken to be it.
STANDARD_RATES = (
    *(Fraction(n) for n in (24, 25, 30, 48, 50, 60, 72, 75, 90, 100, 120, 144, 240)),
    *(Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120, 240)),
)
_GUESSED = 2e-4  # share of a rate; two standard ones are 1e-3 apart
_SNAP = 0.02  # share of a rate within which the nearest standard rate is meant

# How far a frame may stand from its slot, in frames, besides what its ticks round off.
_ON_TIME = 0.05
_NEAREST = 0.5
#: What cameras' clocks are off by to either side, in frames, at most.
_JITTER = 0.25
#: A grid of which less is filled is none: any stamps lie on one that is fine enough.
_LEAST_FILLED = 0.5
_ALIKE = Fraction(1002, 1000)


def slots_of(pts: Int64, time_base: Fraction, rate: Fraction) -> npt.NDArray[np.float64]:
    """When each frame plays, in frames of that rate after the first one."""
    slots: npt.NDArray[np.float64] = (pts - pts[0]) * float(time_base * rate)
    return slots


def constant_rate(pts: Int64, time_base: Fraction, declared: Sequence[Fraction]) -> Fraction | None:
    """The rate at which every frame falls into a slot of its own, in order, or None.

    A frame may stand up to half a frame from its slot: container rounding (1 ms in Matroska) and
    camera jitter must not drop frames.

    Args:
        declared: rates more than 0 that the file names, tried first.
    """
    if len(pts) < 2:
        return next((rate for rate in declared if rate > 0), Fraction(30))
    named, near = _likely(pts, time_base, declared)
    late = {rate: slots_of(pts, time_base, rate) - np.arange(len(pts)) for rate in (*named, *near)}
    for rate, by in late.items():
        if np.abs(by).max() < _close(time_base, rate):
            return rate
    # A few jittering frames lie on some finer grid by chance; the file says which rate is meant.
    for rate in named:
        if np.ptp(late[rate]) < 2 * _JITTER:
            return rate
    # Before a rate that some frames only nearly keep: one that all keep, with gaps.
    if grid := _grid(pts, time_base, declared):
        return grid
    return next((rate for rate, by in late.items() if np.abs(by).max() < _NEAREST), None)


def typical_rate(pts: Int64, time_base: Fraction, declared: Sequence[Fraction]) -> Fraction:
    """The rate of most frames of a variable-rate file, by the median distance of two frames."""
    rate = 1 / (Fraction(float(np.median(np.diff(pts)))).limit_denominator(1000) * time_base)
    by_distance = sorted(STANDARD_RATES, key=lambda standard: abs(standard - rate))
    for known in (*declared, by_distance[0]):
        if abs(float(known / rate) - 1) < _SNAP:
            return known
    return rate.limit_denominator(1001) or Fraction(1, 1001)


def missing_frames(pts: Int64, time_base: Fraction, rate: Fraction) -> Int64 | None:
    """Slots of `rate` that no frame fills, ascending, where every frame lies in one of its own.

    None where they do not: then a rate was chosen, not found.
    """
    slots = slots_of(pts, time_base, rate)
    places = np.rint(slots).astype(np.int64)
    if np.abs(slots - places).max() >= _close(time_base, rate) or (np.diff(places) < 1).any():
        return None
    missing: Int64 = np.setdiff1d(np.arange(places[-1] + 1), places)
    return missing


def _likely(
    pts: Int64, time_base: Fraction, declared: Sequence[Fraction]
) -> tuple[list[Fraction], list[Fraction]]:
    """Rates that the file names, and others near to that of the frames' number in their time."""
    fit = (len(pts) - 1) / (Fraction(int(pts[-1] - pts[0])) * time_base)
    near = sorted(STANDARD_RATES, key=lambda rate: abs(rate - fit))
    # FFmpeg guesses a rate from time stamps in milliseconds: a standard one is meant.
    guessed = [r for d in declared for r in STANDARD_RATES if abs(float(r / d) - 1) < _GUESSED]
    others = [*near[:3], fit.limit_denominator(1001)]
    return (
        [rate for rate in (*guessed, *declared) if rate > 0],
        [rate for rate in others if rate > 0 and abs(float(rate / fit) - 1) <= 0.05],
    )


def _grid(pts: Int64, time_base: Fraction, declared: Sequence[Fraction]) -> Fraction | None:
    """The lowest known rate of which every frame keeps a slot of its own, most of them filled."""
    steps = np.diff(pts)
    # Beside the standard ones: that of the shortest, of the usual step.
    own = [
        (1 / (Fraction(int(step)) * time_base)).limit_denominator(1001)
        for step in (steps.min(), np.median(steps))
        if step >= 1
    ]
    fitting: list[Fraction] = []
    for rate in sorted({rate for rate in (*STANDARD_RATES, *declared, *own) if rate > 0}):
        if fitting and rate > fitting[0] * _ALIKE:
            break
        missing = missing_frames(pts, time_base, rate)
        if missing is not None and len(pts) >= _LEAST_FILLED * (len(pts) + len(missing)):
            fitting.append(rate)
    fitting = [rate for rate in fitting if rate in STANDARD_RATES] or fitting
    # A short clip fits 30 and 30000/1001 alike.
    for rate in declared:
        if rate in fitting:
            return rate
    return min(fitting, key=lambda rate: _off_grid(pts, time_base, rate), default=None)


def _off_grid(pts: Int64, time_base: Fraction, rate: Fraction) -> float:
    slots = slots_of(pts, time_base, rate)
    return float(np.abs(slots - np.rint(slots)).max())


def _close(time_base: Fraction, rate: Fraction) -> float:
    # Two stamps are rounded: a frame's, and the first one's.
    return min(_ON_TIME + 1.1 * float(time_base * rate), 0.4)
