"""Boxes around subjects: where a network looks, and how large it sees what is there.

A box is a part of an eye, and the share of its size at which the network sees it. Sides are of few
sizes and places lie on a grid, both in steps of the network's own cells: few networks have to be
compiled, and what a network remembers moves with a box by whole cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import cv2
import numpy as np

#: Alpha of a look from which on something may be there, and from which on it is.
_MAYBE, _SURELY = 0.1, 0.5

#: What is smaller than this in a look, in its own pixels, is noise.
_LEAST_PIXELS = 4

#: Kept free around a subject, as a share of its longer side, and in pixels of the network: room to
#: move, and for hair and hands that a look does not see.
_MARGIN, _LEAST_MARGIN = 0.1, 32

#: The network halves its input four times.
_CELL = 16

#: Sides of a box in the network's pixels.
_SIDES = (*range(128, 512, 64), *range(512, 1024, 128), 1024, 1280, 1536, 2048)

#: Pixels of the eye to one of the network.
_STEPS = (1, 1.5, 2, 3, 4, 6, 8, 12, 16)

_MOST_BOXES = 4

#: How far somebody may get from one look to the next, by their own longer side.
_FARTHEST = 2

#: Share of an eye above which boxes are not worth it.
_MOST_COVERED = 0.6

#: Pixels that the network sees of an eye, of all boxes together: half as many again as of a whole
#: eye at its usual size.
_MOST_PIXELS = 512 * 512 * 3 // 2


@dataclass(frozen=True, slots=True)
class Box:
    """A part of an eye, in its pixels.

    Attributes:
        ratio: the network's input as a share of the box.
    """

    left: int
    top: int
    width: int
    height: int
    ratio: float

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def network_size(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        return int(self.height * self.ratio), int(self.width * self.ratio)

    @property
    def rows(self) -> slice:
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.right)

    def overlap(self, other: Box) -> int:
        """Pixels that are in both."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0, width) * max(0, height)


@dataclass(frozen=True, slots=True)
class Region:
    """Where subjects are, in pixels of an eye; `extent` is the longer side of the largest one."""

    left: float
    top: float
    right: float
    bottom: float
    extent: float

    def gap(self, other: Region) -> float:
        """Pixels between both, across and down together; 0 where they overlap."""
        across = max(self.left, other.left) - min(self.right, other.right)
        down = max(self.top, other.top) - min(self.bottom, other.bottom)
        return max(0.0, across) + max(0.0, down)

    def joined(self, other: Region) -> Region:
        return Region(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
            max(self.extent, other.extent),
        )


class Planner:
    """Boxes for eyes of one size.

    Args:
        subject_pixels: the network sees a subject at most that large, in pixels of its longer side.
        whole_ratio: the share of its size at which the network sees a whole eye.
    """

    def __init__(self, height: int, width: int, subject_pixels: int, whole_ratio: float) -> None:
        self._height, self._width = height, width
        self._subject_pixels = subject_pixels
        self.whole = Box(0, 0, width, height, whole_ratio)

    def regions(self, looks: Sequence[Any]) -> list[Region]:
        """Where something was, from the first look to the last, each float32 ``[h, w]``, 0..1.

        What one look saw where the one before saw it is the same subject; else the nearest that was
        lost since, which has moved, and may be anywhere between.
        """
        groups: list[Region] = []
        for look in looks:
            lost = list(groups)
            fresh = []
            for region in self._seen(look):
                same = [group for group in groups if group.gap(region) == 0]
                lost = [group for group in lost if group not in same]
                groups = [group for group in groups if group not in same]
                if same:
                    groups.append(reduce(Region.joined, same, region))
                else:
                    fresh.append(region)
            for region in fresh:
                near = [group for group in lost if group.gap(region) <= _FARTHEST * group.extent]
                if near:
                    nearest = min(near, key=region.gap)
                    lost.remove(nearest)
                    groups.remove(nearest)
                    region = region.joined(nearest)
                groups.append(region)
        return groups

    def _seen(self, seen: Any) -> list[Region]:
        """Where something is in one look."""
        mask = (seen > _MAYBE).astype(np.uint8)
        count, labels, found, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        across, down = self._width / seen.shape[1], self._height / seen.shape[0]
        regions = []
        for number in range(1, count):
            left, top, width, height, pixels = (int(value) for value in found[number])
            part = slice(top, top + height), slice(left, left + width)
            surest = seen[part][labels[part] == number].max()
            if pixels >= _LEAST_PIXELS and surest >= _SURELY:
                right, bottom = (left + width) * across, (top + height) * down
                extent = max(width * across, height * down)
                regions.append(Region(left * across, top * down, right, bottom, extent))
        return regions

    def boxes(self, regions: Sequence[Region]) -> tuple[Box, ...]:
        """Boxes that hold the regions and do not overlap; the whole eye where that is better."""
        groups = sorted(regions, key=lambda region: (region.top, region.left))
        boxes = [self.box(group) for group in groups]
        while (pair := _to_join(boxes)) is not None:
            first, second = pair
            groups[first] = groups[first].joined(groups.pop(second))
            boxes.pop(second)
            boxes[first] = self.box(groups[first])
        covered = sum(box.width * box.height for box in boxes)
        if covered > _MOST_COVERED * self._width * self._height:
            return (self.whole,)
        while sum(_pixels(box) for box in boxes) > _MOST_PIXELS:
            place = max(range(len(boxes)), key=lambda at: _pixels(boxes[at]))
            coarser = _step_after(_step(boxes[place].ratio))
            if coarser is None:
                return (self.whole,)
            boxes[place] = self.box(groups[place], coarser)
            if _to_join(boxes) is not None:
                return (self.whole,)
        return tuple(boxes)

    def box(self, region: Region, step: float | None = None) -> Box:
        """The box that holds a region with room to move; the whole eye where none does."""
        least = region.extent / self._subject_pixels
        step = step or next((step for step in _STEPS if step >= least), None)
        if step is None:
            return self.whole
        margin = max(_MARGIN * region.extent, _LEAST_MARGIN * step)
        left, width = _side(region.left - margin, region.right + margin, step, self._width)
        top, height = _side(region.top - margin, region.bottom + margin, step, self._height)
        return Box(left, top, width, height, _ratio(step))

    def grown(self, box: Box, sides: Sequence[str]) -> Box:
        """A box that reaches further on the sides where a subject was cut off."""
        more = box.width // 4, box.height // 4
        region = Region(
            box.left - more[0] * ("left" in sides),
            box.top - more[1] * ("top" in sides),
            box.right + more[0] * ("right" in sides),
            box.bottom + more[1] * ("bottom" in sides),
            0,
        )
        step: float | None = _step(box.ratio)
        while step is not None:
            found = self.box(region, step)
            if found.width * found.height > _MOST_COVERED * self._width * self._height:
                break
            if _pixels(found) <= _MOST_PIXELS:
                return found
            step = _step_after(step)
        return self.whole


def _side(begin: float, end: float, step: float, length: int) -> tuple[int, int]:
    """Where a side of a box begins, and its length: of one of the sizes, or all of the eye."""
    begin, end = max(0.0, begin), min(float(length), end)
    sizes = (int(side * step) for side in _SIDES)
    size = next((size for size in sizes if size >= end - begin), length)
    if size >= length:
        return 0, length
    if end == length:  # the eye ends there, and so does the box
        return length - size, size
    cell = int(_CELL * step)
    return min(max(0, round(((begin + end) / 2 - size / 2) / cell) * cell), length - size), size


def _ratio(step: float) -> float:
    """A little more than 1 to `step`: times a side it must not fall below a whole number."""
    return math.nextafter(1 / step, 2) if step > 1 else 1.0


def _step(ratio: float) -> float:
    return min(_STEPS, key=lambda step: abs(1 / ratio - step))


def _step_after(step: float) -> float | None:
    return next((each for each in _STEPS if each > step), None)


def _pixels(box: Box) -> int:
    height, width = box.network_size
    return height * width


def _to_join(boxes: Sequence[Box]) -> tuple[int, int] | None:
    """Two boxes that overlap, or are one too many; the first ones, the nearest ones."""
    pairs = [(a, b) for b in range(len(boxes)) for a in range(b)]
    for a, b in pairs:
        if boxes[a].overlap(boxes[b]):
            return a, b
    if len(boxes) <= _MOST_BOXES:
        return None
    return min(pairs, key=lambda pair: _gap(boxes[pair[0]], boxes[pair[1]]))


def _gap(a: Box, b: Box) -> int:
    across = max(a.left, b.left) - min(a.right, b.right)
    down = max(a.top, b.top) - min(a.bottom, b.bottom)
    return max(0, across) + max(0, down)
