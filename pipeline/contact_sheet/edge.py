"""Chooses the place that a contact sheet shows at 1:1: an edge near the top of the subject.

The rule: in the left eye of each shown frame, the largest connected part of the matte (alpha of a
half and more) is looked for, rather one that does not touch the upper edge of the picture, as sky
does. A part of less than a thousandth of the eye is nobody. The cut lies in the upper eighth of
that part, or anywhere in one that touches the upper edge: where alpha changes most within the cut,
in its middle most of all. Of the frames it is the one in which alpha changes most there.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

#: Alpha is looked at in so many pixels along its longer side: strands of hair are no matter here.
_SIDE = 512
_LEAST_PART = 0.001
#: Of somebody who stands, the head.
_UPPER_SHARE = 0.125


@dataclass(frozen=True, slots=True)
class Place:
    """Where the cut lies: a frame, and a rectangle in pixels of its left eye."""

    frame: int
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """An edge in one matte; the better one is greater.

    Attributes:
        is_free: its part does not touch the upper edge of the picture.
        change: of alpha within the cut; its middle counts most.
        left, top: of the cut.
    """

    is_free: bool
    change: float
    left: int
    top: int


def cut_size(eye: tuple[int, int], width: int) -> tuple[int, int]:
    """(height, width) of the cut in an eye of that (height, width), for a cell `width` wide."""
    return min(eye[0], max(1, width // 2)), min(eye[1], width)


def find_edge(alpha: NDArray[np.uint8], size: tuple[int, int]) -> Edge | None:
    """The edge to show of one eye's matte, or None where it holds nobody.

    Args:
        alpha: ``[H, W]``.
        size: (height, width) of the cut.
    """
    height, width = alpha.shape
    scale = min(1.0, _SIDE / max(height, width))
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(alpha, shape, interpolation=cv2.INTER_AREA)
    count, parts, stats, _ = cv2.connectedComponentsWithStats((small >= 128).astype(np.uint8))
    found = [
        (int(stats[part, cv2.CC_STAT_TOP]) > 0, int(stats[part, cv2.CC_STAT_AREA]), part)
        for part in range(1, count)
        if stats[part, cv2.CC_STAT_AREA] >= _LEAST_PART * small.size
    ]
    if not found:
        return None
    is_free, _, part = max(found)
    left, top, part_width, part_height = (int(n) for n in stats[part, :4])
    sums = _changes(small, parts == part, (size[0] * scale, size[1] * scale))
    upper = max(1, round(part_height * (_UPPER_SHARE if is_free else 1)))
    rows = sums[top : top + upper, left : left + part_width]
    y, x = np.unravel_index(int(rows.argmax()), rows.shape)
    if rows[y, x] <= 0:  # it fills the picture
        return None
    return Edge(
        is_free,
        float(rows[y, x]),
        _begin((left + int(x) + 0.5) / scale, size[1], width),
        _begin((top + int(y) + 0.5) / scale, size[0], height),
    )


def _changes(
    alpha: NDArray[np.uint8], part: NDArray[np.bool_], size: tuple[float, float]
) -> NDArray[np.float32]:
    """How much alpha changes at and beside `part`, around each pixel in an area of that size.

    The middle of the area counts most, so that the edge does not come to lie at its border.
    """
    across = cv2.Sobel(alpha, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(alpha, cv2.CV_32F, 0, 1)
    near = cv2.dilate(part.astype(np.uint8), np.ones((7, 7), np.uint8))
    change = cv2.magnitude(across, down) * near
    height, width = size
    sums: NDArray[np.float32] = cv2.GaussianBlur(
        change,
        (0, 0),
        sigmaX=max(0.5, width / 4),
        sigmaY=max(0.5, height / 4),
        borderType=cv2.BORDER_CONSTANT,
    )
    return sums


def _begin(middle: float, length: int, most: int) -> int:
    return max(0, min(round(middle - length / 2), most - length))
