"""Which pixels of a matched frame are of its nearest layer.

Pure arrays of one frame, and the fading counts of those before it. Knows no torch and no colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.stages.matting.depth.matching import (
    Fixed,
    Mask,
    Matched,
    Search,
    layer_costs,
)

BINS = 128  # of the histogram, over the whole search
#: What a frame weighs in the counts after each further one.
_FADE = 0.75
#: Layers must be this many bins apart on average (0.7 degrees at 180), and the valley between them
#: this much lower than the lower of their peaks.
_MIN_GAP, _MAX_VALLEY = 4.0, 0.5
_BACKDROP = 0.5  # share of the picture from which on what has no texture is a backdrop

#: The lower half is looked at in strips of so many of its rows, and in so many cells along them.
#: Where so many of these hold one distance, and both ends are known, that may be ground.
_STRIP_ROWS, _CELLS, _GROUND_CELLS = 8, 8, 5
_LEAST_KNOWN = 0.05  # share of a cell that must be known
_GROUND_SPREAD = 24  # sixteenths of a pixel by which ground differs, either way
_GROUND_ASIDE = 0.7  # how far from the cosine of the angle to the side its disparity may fall
#: From one strip to the next the ground's disparity changes by this share of it at the most; that
#: of so many strips above is less than this share of it.
_MOST_RISE, _RISE_STRIPS, _LEAST_RISE = 0.25, 4, 0.87

#: Grey levels by which matching as near must be better than as far, or worse, to say something.
_MARGIN = 2
#: What is said of a pixel does not count where the mean around it says the contrary so clearly.
_OUTVOTED_BY, _OUTVOTED = 9, 0.5
_HOLE_FAR = 0.1  # share of a hole that is measured to be far, from which on it is no hole
_MOST_DIRECTIONS = 0.7  # share of the directions in which what is enclosed sees the layer


@dataclass(slots=True)
class Counts:
    """Fading counts of the frames up to now.

    Attributes:
        histogram: of disparities, from the least searched on, in `BINS` bins.
        plain, pixels: pixels without texture, and all.
    """

    histogram: NDArray[np.float64]
    plain: float = 0.0
    pixels: float = 0.0

    @classmethod
    def none(cls) -> Counts:
        return cls(np.zeros(BINS))


@dataclass(frozen=True, slots=True)
class Layer:
    """The nearest layer of one frame.

    Attributes:
        near: bool ``[2, h, w]``.
        known: bool ``[2, h, w]``, where that was measured and not filled in.
    """

    near: Mask
    known: Mask


def nearest_layer(matched: Matched, search: Search, counts: Counts) -> Layer | None:
    """The nearest layer, or None where nothing stands nearer; changes `counts`."""
    ground = np.stack([_ground(*eye) for eye in zip(matched.disparity, matched.known, strict=True)])
    counts.histogram = _FADE * counts.histogram + _count(matched, ground, search)
    counts.plain = _FADE * counts.plain + int(np.count_nonzero(~matched.textured))
    counts.pixels = _FADE * counts.pixels + matched.grey.size
    split = layer_split(counts.histogram)
    if split is None and counts.plain > _BACKDROP * counts.pixels:
        # The subject alone is matched, before a backdrop without texture: that counts as far.
        split = layer_split(np.r_[counts.plain, counts.histogram[1:]])
    if split is None:
        return None
    threshold = 16 * (search.least + split * search.count / BINS)
    first = int(np.clip(np.ceil(threshold / 16) - search.least, 1, search.count - 1))
    as_near, as_far = layer_costs(matched.detail, search, first)
    nearer = matched.disparity >= threshold
    # Ground as near as the subject tells nothing of either.
    vague = matched.known & nearer & (matched.disparity <= ground)
    margin = as_far.astype(np.int16) - as_near
    measured = _measured(matched.known & ~vague, nearer, margin)
    near = np.stack([_filled(*eye) for eye in zip(measured, vague, strict=True)])
    return Layer(near, measured != 0)


def _count(matched: Matched, ground: Fixed, search: Search) -> NDArray[np.float64]:
    """Disparities by bins; the ground, which joins near and far, is counted with what is far."""
    values = matched.disparity[matched.known].astype(np.int32)
    is_ground = (matched.disparity <= ground)[matched.known]
    if len(values):
        far = np.partition(values, len(values) // 4)[len(values) // 4]
        values[is_ground] = np.minimum(values[is_ground], far)
    bins = (values - 16 * search.least) * BINS // (16 * search.count)
    return np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS).astype(np.float64)


def _ground(disparity: Fixed, known: Mask) -> Fixed:
    """The largest disparity that is ground, by row ``[h, 1]``; the least int16 where none is.

    A strip of ground lies at one distance all along a row, with a disparity that falls as the
    cosine of the angle to the side, and the strips below it are nearer. No subject that stands in
    the picture is like that. Compare the v-disparity of Labayrade, Aubert, Tarel, "Real Time
    Obstacle Detection in Stereovision on Non Flat Road Geometry Through V-Disparity
    Representation", IV 2002, of which this is the case that a subject must not be mistaken for.
    """
    height, width = disparity.shape
    ground = np.full((height, 1), np.iinfo(np.int16).min, np.int16)
    strips, cell = (height - height // 2) // _STRIP_ROWS, width // _CELLS
    if not strips or not cell:
        return ground
    top = height - strips * _STRIP_ROWS
    shape = (strips, _STRIP_ROWS, _CELLS, cell)
    part = slice(top, None), slice(0, _CELLS * cell)
    unknown = np.iinfo(np.int16).max
    values = np.where(known[part], disparity[part], unknown).reshape(shape)
    values = np.sort(values.transpose(0, 2, 1, 3).reshape(strips, _CELLS, -1), axis=2)
    number = (values != unknown).sum(axis=2)
    middle = np.take_along_axis(values, number[..., None] // 2, axis=2)[..., 0].astype(np.int32)
    valid = number > _LEAST_KNOWN * values.shape[2]
    aside = _GROUND_ASIDE * np.cos((np.arange(_CELLS) + 0.5) / _CELLS * np.pi - np.pi / 2)
    typical = np.zeros(strips)
    for strip in range(strips):
        cells = np.sort(middle[strip, valid[strip]])
        if len(cells) < _GROUND_CELLS:
            continue
        typical[strip] = cells[(len(cells) - 1) // 2]
        farther = valid[strip] & (middle[strip] < aside * typical[strip] - _GROUND_SPREAD)
        alike = valid[strip] & ~farther & (middle[strip] <= typical[strip] + _GROUND_SPREAD)
        ends = bool(valid[strip, 0] and valid[strip, -1])
        whole = np.count_nonzero(farther) <= 1 and np.count_nonzero(alike) >= _GROUND_CELLS
        if ends and whole and _rises(typical[: strip + 1]):
            rows = slice(top + strip * _STRIP_ROWS, top + (strip + 1) * _STRIP_ROWS)
            ground[rows] = typical[strip] + _GROUND_SPREAD
    return ground


def _rises(typical: NDArray[np.float64]) -> bool:
    """Whether the last of these strips is nearer than those above, and by no leap.

    The ground at e degrees below the horizon has a disparity in proportion to tan(e): that of 45
    degrees is half as much again as that of 34. A body's is the same from top to bottom.
    """
    if len(typical) <= _RISE_STRIPS:
        return False
    last = typical[-1 - _RISE_STRIPS :]
    leaps = np.abs(np.diff(last)).max() > _MOST_RISE * last[-1]
    return not leaps and bool(last[0] <= _LEAST_RISE * last[-1])


def _measured(known: Mask, nearer: Mask, margin: Fixed) -> NDArray[np.int8]:
    """1 where a pixel is of the layer, -1 where it is not, 0 where nobody can say, ``[2, h, w]``.

    Args:
        known: where the matcher can be believed.
        nearer: what the matcher says.
        margin: by how much the eyes are more alike in the layer than elsewhere, in grey levels.
    """
    near = known & nearer & (margin > -_MARGIN)
    far = known & ~nearer & (margin < _MARGIN)
    measured = near.astype(np.int8) - far
    for eye in measured:
        around = cv2.blur(eye.astype(np.float32), (_OUTVOTED_BY, _OUTVOTED_BY))
        eye[eye * around < -_OUTVOTED] = 0
    return measured


def _filled(measured: NDArray[np.int8], vague: Mask) -> Mask:
    """The layer with what was not measured: background, unless the layer encloses it.

    What only one eye sees is hidden from the other by something nearer beside it, and what has no
    texture may be either: both are of the layer only if it is on either side of them in their row,
    and around them. Of the ground each row is full: there it must be above and below.

    Args:
        vague: ground as near as the layer.
    """
    left = _next_before(measured.T).T
    right = _next_before(measured.T[::-1])[::-1].T
    above, below = _next_before(measured), _next_before(measured[::-1])[::-1]
    between = np.where(vague, (above > 0) & (below >= 0), (left > 0) & (right > 0))
    near = (measured > 0) | ((measured == 0) & between & _enclosed(measured))
    return _without_holes(cv2.medianBlur(near.astype(np.uint8), 5) > 0, measured < 0)


def _without_holes(near: Mask, far: Mask) -> Mask:
    """Fill the holes in which next to nothing was measured to be far."""
    number, holes = cv2.connectedComponents((~near).astype(np.uint8), connectivity=4)
    size = np.bincount(holes.ravel(), minlength=number)
    fill = np.bincount(holes[far], minlength=number) < _HOLE_FAR * size
    fill[np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])] = False
    filled: Mask = near | fill[holes]
    return filled


def _enclosed(measured: NDArray[np.int8]) -> Mask:
    """Where the layer is what is measured next in most directions, ``[h, w]``.

    A picture's border is background, but for the lower one, at which subjects are cut off. Looked
    at on every second pixel, as this is about areas.
    """
    height, width = measured.shape
    small = measured[::2, ::2]
    flipped = small[::-1]
    seen = [_next_before(small.T).T, _next_before(small.T[::-1])[::-1].T, _next_before(small)]
    seen += [_next_above_aside(small), _next_above_aside(small[:, ::-1])[:, ::-1]]
    low = [_next_before(flipped), _next_above_aside(flipped)]
    low.append(_next_above_aside(flipped[:, ::-1])[:, ::-1])
    seen += [votes[::-1] for votes in low]
    near = np.count_nonzero(np.stack(seen) > 0, axis=0)
    # Where nothing was measured below, that is no vote.
    all_ = len(seen) - np.count_nonzero(np.stack(seen[-len(low) :]) == 0, axis=0)
    enclosed: Mask = near >= _MOST_DIRECTIONS * all_
    return enclosed.repeat(2, 0).repeat(2, 1)[:height, :width]


def _next_before(measured: NDArray[np.int8]) -> NDArray[np.int8]:
    """What was measured last above each pixel, 0 where nothing was."""
    rows = np.where(measured != 0, np.arange(len(measured), dtype=np.int32)[:, None], 0)
    return np.take_along_axis(measured, np.maximum.accumulate(rows, axis=0), axis=0)


def _next_above_aside(measured: NDArray[np.int8]) -> NDArray[np.int8]:
    """The same above and to the right: with each row moved on by one, that is straight above."""
    height, width = measured.shape
    wide = np.zeros((height, width + height), np.int8)
    wide[:, :width] = measured
    moved = wide.ravel()[: height * (width + height - 1)].reshape(height, -1)
    wide = np.zeros_like(wide)
    wide.ravel()[: moved.size] = _next_before(moved).ravel()
    return wide[:, :width]


def layer_split(histogram: NDArray[np.float64]) -> float | None:
    """Where the nearest layer begins in a histogram of disparities.

    Args:
        histogram: counts by disparity, far to near; at least 5 bins.

    Returns:
        A position in bins (the lower edge of bin 0 is 0), or None where no layer stands out.
    """
    total = histogram.sum()
    if total == 0:
        return None
    position = np.arange(len(histogram)) + 0.5
    far_weight = np.cumsum(histogram)[:-1] / total
    far_sum = np.cumsum(histogram * position)[:-1] / total
    mean = float((histogram * position).sum() / total)
    # Otsu's variance between the classes, for a split after each bin.
    spread = far_weight * (1 - far_weight)
    between = np.zeros_like(spread)
    np.divide((mean * far_weight - far_sum) ** 2, spread, out=between, where=spread > 1e-9)
    cut = int(np.argmax(between)) + 1
    if between[cut - 1] == 0:
        return None
    far_mean = float(np.average(position[:cut], weights=histogram[:cut]))
    near_mean = float(np.average(position[cut:], weights=histogram[cut:]))
    if near_mean - far_mean < _MIN_GAP:
        return None

    # The layers' peaks and the valley between them, on a histogram smoothed over 5 bins.
    smooth = np.convolve(histogram, np.ones(5) / 5, mode="same")
    lower, upper = int(far_mean), int(near_mean)
    peak = min(smooth[:cut].max(), smooth[cut:].max())
    valley = smooth[lower : upper + 1]
    if valley.min() > _MAX_VALLEY * peak:
        return None
    # The middle of the valley's floor, so that it does not jump about on an empty one.
    lowest = lower + int(np.argmin(valley))
    floor = smooth <= valley.min() + 0.02 * peak
    first = last = lowest
    while first > lower and floor[first - 1]:
        first -= 1
    while last < upper and floor[last + 1]:
        last += 1
    return (first + last + 1) / 2
