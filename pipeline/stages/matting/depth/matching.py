"""Matches the two eyes of one frame: how far apart each pixel is seen, and where that is known.

Knows nothing of subjects. Everything is at the size at which the eyes are matched. A disparity d
means that what is at column x of the left eye is at ``x - d`` of the right one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Bytes = NDArray[np.uint8]
Fixed = NDArray[np.int16]  # disparities in sixteenths of a pixel
Mask = NDArray[np.bool_]

MATCH_SIDE = 512  # eyes are matched at this size
#: Disparities searched, in pixels of a picture that is MATCH_SIDE wide. Over 180 degrees, 56 is
#: 20 degrees: 0.2 m away for eyes 63 mm apart. Some files place the horizon below 0.
_LEAST, _RANGE = -8, 64
_BLOCK = 3  # side of the matched block
_AGREE = 24  # sixteenths of a pixel by which the two directions may differ

#: Brightness is compared without what is larger than this many pixels: a gradient of the sky and
#: an eye that is a little darker are nothing to match by.
_DETAIL = 17
_WINDOW = 5  # pixels; side of the window of which costs are means
#: Texture is how much a place differs from those so many pixels beside it, in grey levels.
_BESIDE, _LEAST_TEXTURE = 4, 3
#: Twice what it is in this share of the picture is texture, and so is in any case the second.
_SMOOTHEST, _MOST_NOISE = 0.05, 7


@dataclass(frozen=True, slots=True)
class Search:
    """Size and range of the matching.

    Attributes:
        size: height and width at which the eyes are matched.
        least: smallest disparity searched, in pixels of that size.
        count: number of disparities searched.
    """

    size: tuple[int, int]
    least: int
    count: int

    @classmethod
    def of(cls, height: int, width: int, scale: float | None) -> Search:
        """For eyes of that size; `scale` is that of the matching, or None for the usual one."""
        scale = scale or min(1.0, MATCH_SIDE / max(height, width))
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        least = round(_LEAST * size[1] / MATCH_SIDE)
        return cls(size, least, 16 * max(1, round(_RANGE * size[1] / MATCH_SIDE / 16)))

    def matcher(self) -> Any:
        """OpenCV's; it has buffers of its own, so it is not shared between threads."""
        return cv2.StereoSGBM.create(
            minDisparity=self.least,
            numDisparities=self.count,
            blockSize=_BLOCK,
            # Hirschmueller's two penalties, by OpenCV's rule for one channel.
            P1=8 * _BLOCK * _BLOCK,
            P2=32 * _BLOCK * _BLOCK,
            preFilterCap=31,
            # A match must be better than all others by so many per cent.
            uniquenessRatio=10,
            # Five directions in one thread: the result cannot depend on their number.
            mode=cv2.StereoSGBM_MODE_SGBM,
        )


@dataclass(frozen=True, slots=True)
class Matched:
    """One frame.

    Attributes:
        grey: uint8 ``[2, h, w]``.
        disparity: int16 ``[2, h, w]``, sixteenths of a pixel.
        textured: bool ``[2, h, w]``, where there is something to match.
        known: bool ``[2, h, w]``, textured, and each eye's match leads back to the same place.
        detail: uint8 ``[2, h, w]``, grey without what is large, around 128.
    """

    grey: Bytes
    disparity: Fixed
    textured: Mask
    known: Mask
    detail: Bytes


def match(rgb: Tensor, search: Search, matcher: Any) -> Matched:
    """Match the eyes of one frame, uint8 ``[2, 3, H, W]``."""
    grey = _small_grey(rgb, search.size)
    left, right = grey
    from_left = _disparity(left, right, search, matcher)
    # Mirrored, the right eye is the left one.
    from_right = _disparity(right[:, ::-1], left[:, ::-1], search, matcher)[:, ::-1]
    detail = np.stack([_detail(eye) for eye in grey])
    textured = _textured(detail)
    agrees = np.stack(
        [
            _agreement(from_left, from_right, 1, search.least),
            _agreement(from_right, from_left, -1, search.least),
        ]
    )
    disparity = np.stack([from_left, from_right])
    return Matched(grey, disparity, textured, textured & agrees, detail)


def _small_grey(rgb: Tensor, size: tuple[int, int]) -> Bytes:
    """Luma of both eyes (BT.601, as good as any for matching): uint8 ``[2, h, w]``."""
    planes = rgb.float()
    grey = 0.299 * planes[:, 0:1] + 0.587 * planes[:, 1:2] + 0.114 * planes[:, 2:3]
    small = F.interpolate(grey, size=size, mode="bilinear", antialias=True, align_corners=False)
    bytes_: Bytes = small[:, 0].round().clamp(0, 255).byte().cpu().numpy()
    return bytes_


def _detail(grey: Bytes) -> Bytes:
    """What is smaller than `_DETAIL`, around 128."""
    smooth = cv2.blur(grey, (_DETAIL, _DETAIL))
    detail: Bytes = cv2.addWeighted(grey, 1, smooth, -1, 128).astype(np.uint8, copy=False)
    return detail


def _textured(detail: Bytes) -> Mask:
    """Where a place can be told from those beside it, of both eyes ``[2, h, w]``.

    By the interest operator of Moravec ("Obstacle Avoidance and Navigation in the Real World by a
    Seeing Robot Rover", 1980), along rows only, because that is where matches are looked for. The
    smoothest places show how much of it is noise.
    """
    width = detail.shape[2]
    unlike = np.empty_like(detail)
    for eye, out in zip(detail, unlike, strict=True):
        margin = cv2.copyMakeBorder(eye, 0, 0, _BESIDE, _BESIDE, cv2.BORDER_REFLECT_101)
        sides = [
            cv2.blur(cv2.absdiff(eye, margin[:, at : at + width]), (_WINDOW, _WINDOW))
            for at in (0, 2 * _BESIDE)
        ]
        out[:] = np.minimum(sides[0], sides[1])
    counts = np.bincount(unlike.ravel(), minlength=256)
    noise = int(np.searchsorted(counts.cumsum(), _SMOOTHEST * unlike.size))
    return unlike >= min(max(_LEAST_TEXTURE, 2 * noise), _MOST_NOISE)


def _disparity(eye: Bytes, other: Bytes, search: Search, matcher: Any) -> Fixed:
    """How far to the left in `other` each pixel of `eye` is found, ``[h, w]``.

    Unmatched pixels are less than ``16 * least``.
    """
    # The matcher leaves out columns whose search would leave the picture: give it a margin.
    left, right = search.least + search.count, max(0, -search.least)
    padded = [
        cv2.copyMakeBorder(np.ascontiguousarray(one), 0, 0, left, right, cv2.BORDER_REPLICATE)
        for one in (eye, other)
    ]
    disparity: Fixed = matcher.compute(*padded)
    return disparity[:, left : left + eye.shape[1]]


def _agreement(disparity: Fixed, other: Fixed, direction: int, least: int) -> Mask:
    """Where the other eye's disparity leads back to the same place."""
    width = disparity.shape[1]
    # Rounded sixteenths; int32, because columns times sixteen leave int16.
    steps = (disparity.astype(np.int32) + 8) >> 4
    there = np.clip(np.arange(width) - direction * steps, 0, width - 1)
    back = np.take_along_axis(other, there, axis=1).astype(np.int32)
    agrees: Mask = (np.abs(back - disparity) <= _AGREE) & (disparity >= 16 * least)
    return agrees


def layer_costs(detail: Bytes, search: Search, first: int) -> tuple[Bytes, Bytes]:
    """How unlike the eyes are around each pixel at the best disparity of either layer.

    Where one eye's picture has ended, its border goes on.

    Args:
        detail: uint8 ``[2, h, w]``.
        first: number of the first disparity, counted from the least searched, of the nearer layer.

    Returns:
        Of the nearer layer and of the other one, uint8 ``[2, h, w]``, in grey levels.
    """
    width = detail.shape[2]
    reach = max(0, search.least + search.count - 1) + max(0, -search.least)
    margin = [cv2.copyMakeBorder(eye, 0, 0, reach, reach, cv2.BORDER_REPLICATE) for eye in detail]
    best = np.full((2, *detail.shape), 255, np.uint8)
    for number in range(search.count):
        layer = best[0 if number >= first else 1]
        for eye, direction in ((0, -1), (1, 1)):
            start = reach + direction * (search.least + number)
            unlike = cv2.absdiff(detail[eye], margin[1 - eye][:, start : start + width])
            cv2.min(layer[eye], cv2.blur(unlike, (_WINDOW, _WINDOW)), dst=layer[eye])
    return best[0], best[1]
