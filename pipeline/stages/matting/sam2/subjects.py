"""Chooses the subject that `sam2` follows, among the connected parts of a seed matte.

One frame of one eye at a time. Knows nothing of networks and of time.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.prompts.store import Said, read_mask

#: Of an eye: what is smaller is no subject. Of the largest part: what is smaller is left out.
_LEAST_AREA, _LEAST_SHARE = 0.001, 0.25

#: A subject in several parts: those that are meant by this share of the one that is meant most.
_LEAST_MEANT = 0.5
#: Intersection over union from which on two masks are of the same subject.
_ALIKE = 0.5

#: Disparities searched, as shares of an eye's width (see `pipeline/stages/stereo/disparity.py`), in
#: pictures of this width.
_LEAST, _MOST = -0.02, 0.11
_SEARCH_WIDTH = 256
#: Difference of colours (0..1) from which on two pixels are simply different.
_DIFFERENT = 0.25
#: Around a point this share of an eye's width is taken to move with it.
_AROUND_POINT = 0.03


class Parts:
    """The connected parts of a matte that are large enough to be a subject.

    Args:
        alpha: floating ``[H, W]``, 0..1; above one half is inside.
    """

    def __init__(self, alpha: Tensor) -> None:
        inside = (alpha > 0.5).to(torch.uint8).cpu().numpy()
        _, self._labels, stats, _ = cv2.connectedComponentsWithStats(inside)
        areas = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
        areas[0] = 0
        areas[areas < _LEAST_AREA * inside.size] = 0
        self._areas = areas

    def __bool__(self) -> bool:
        return bool(self._areas.any())

    def largest(self) -> Tensor | None:
        """The largest and those that are nearly as large: bool ``[H, W]`` on the CPU, or None."""
        if not self:
            return None
        return self._mask(self._areas >= _LEAST_SHARE * self._areas.max())

    def meant(self, said: Said, height: int, width: int, shift: float = 0.0) -> Tensor | None:
        """Those that a person's words meet: bool ``[H, W]`` on the CPU, or None.

        Args:
            height, width: of the eye that the words are about.
            shift: pixels of it by which they are moved to the right first.
        """
        score = np.zeros_like(self._areas)
        if said.mask is not None:
            mask = _moved(read_mask(said.mask), shift / width)
            score += self._overlap(_resized(mask, self._labels.shape))
        if said.box is not None:
            score += self._overlap(box_region(said, self._labels.shape, height, width, shift))
        inside = [point for point in said.points if point.inside]
        for point in said.points:
            row, column = _at(point.x + shift, point.y, self._labels.shape, height, width)
            score[self._labels[row, column]] += (1 if point.inside else -1) / max(1, len(inside))
        return self._best(score)

    def like(self, mask: Tensor) -> Tensor | None:
        """The parts that another mask is, bool ``[H, W]``; None where they share less than half."""
        score = self._overlap(mask.cpu().numpy())
        score[score < _ALIKE] = 0
        return self._best(score)

    def overlapping(self, mask: Tensor, share: float = 0.0) -> Tensor | None:
        """Those that another mask meets best, once it is moved by that share of the width."""
        return self._best(self._overlap(_moved(mask.cpu().numpy(), share)))

    def _overlap(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Intersection over union of each part with a mask."""
        inner = np.bincount(self._labels[mask], minlength=len(self._areas)).astype(np.float64)
        union = self._areas + np.count_nonzero(mask) - inner
        return np.asarray(inner / np.maximum(union, 1))

    def _best(self, score: NDArray[np.float64]) -> Tensor | None:
        score = np.where(self._areas > 0, score, 0)
        if score.max() <= 0:
            return None
        return self._mask(score >= _LEAST_MEANT * score.max())

    def _mask(self, chosen: NDArray[np.bool_]) -> Tensor:
        return torch.from_numpy(chosen[self._labels])


def largest_subjects(alpha: Tensor) -> Tensor | None:
    """Where a matte is above one half, without the small parts; None where nothing is left.

    Args:
        alpha: floating ``[H, W]``, 0..1.

    Returns:
        bool ``[H, W]`` on the CPU.
    """
    return Parts(alpha).largest()


def box_region(
    said: Said, shape: tuple[int, ...], height: int, width: int, shift: float = 0.0
) -> NDArray[np.bool_]:
    """The box as a mask of that shape."""
    assert said.box is not None
    left, top, right, bottom = said.box
    first = _at(left + shift, top, shape, height, width)
    last = _at(right + shift, bottom, shape, height, width)
    region = np.zeros(shape, dtype=np.bool_)
    region[first[0] : last[0] + 1, first[1] : last[1] + 1] = True
    return region


def moved_mask(said: Said, shift: float, width: int) -> Tensor:
    """The mask of what is said, of the PNG's own size, moved `shift` pixels of the eye."""
    assert said.mask is not None
    return torch.from_numpy(_moved(read_mask(said.mask), shift / width))


def region_of(said: Said, height: int, width: int) -> Tensor:
    """Roughly where the object is, bool ``[h, w]`` of `shift_to_other`'s size."""
    shape = search_size(height, width)
    if said.mask is not None:
        return torch.from_numpy(_resized(read_mask(said.mask), shape))
    region = np.zeros(shape, dtype=np.bool_)
    if said.box is not None:
        region |= box_region(said, shape, height, width)
    radius = max(1, round(_AROUND_POINT * shape[1]))
    for point in said.points:
        if point.inside:
            row, column = _at(point.x, point.y, shape, height, width)
            rows, columns = (slice(max(0, at - radius), at + radius + 1) for at in (row, column))
            region[rows, columns] = True
    return torch.from_numpy(region)


def search_size(height: int, width: int) -> tuple[int, int]:
    """(h, w) of the pictures in which eyes are compared."""
    small = min(_SEARCH_WIDTH, width)
    return max(1, round(height * small / width)), small


def shift_to_other(rgb: Tensor, other: Tensor, region: Tensor, eye: int) -> float:
    """How far to the right the other eye shows what lies in a region, in pixels of an eye.

    By the mean difference of colours over the region, each cut off, for every whole disparity.

    Args:
        rgb: uint8 ``[3, H, W]``, of this eye.
        other: of the other one.
        region: bool ``[h, w]`` of `search_size`, with something in it.
        eye: which one this is.
    """
    height, width = rgb.shape[1:]
    size = search_size(height, width)
    own, far = (
        F.interpolate(picture[None].float() / 255, size=size, mode="area")[0]
        for picture in (rgb, other)
    )
    rows, columns = region.to(rgb.device).nonzero(as_tuple=True)
    own = own - own.mean(dim=(1, 2), keepdim=True)
    far = far - far.mean(dim=(1, 2), keepdim=True)
    colours = own[:, rows, columns]
    sign = -1 if eye == 0 else 1  # near things stand farther to the left in the right eye
    shifts = [sign * d for d in range(round(_LEAST * size[1]), round(_MOST * size[1]) + 1)]
    costs = []
    for shift in shifts:
        at = columns + shift
        seen = (at >= 0) & (at < size[1])
        unlike = (colours - far[:, rows, at.clamp(0, size[1] - 1)]).abs().mean(dim=0)
        costs.append(torch.where(seen, unlike.clamp(max=_DIFFERENT), _DIFFERENT).mean())
    best = int(torch.stack(costs).argmin())
    return shifts[best] * width / size[1]


def _at(x: float, y: float, shape: tuple[int, ...], height: int, width: int) -> tuple[int, int]:
    """(row, column) of a place in an eye in a picture of it of another size."""
    row, column = int(y * shape[0] / height), int(x * shape[1] / width)
    return min(max(0, row), shape[0] - 1), min(max(0, column), shape[1] - 1)


def _moved(mask: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """The same, that share of its width to the right; what enters is empty."""
    by = round(share * mask.shape[1])
    if by == 0:
        return mask
    moved = np.zeros_like(mask)
    if by > 0:
        moved[:, by:] = mask[:, :-by]
    else:
        moved[:, :by] = mask[:, -by:]
    return moved


def _resized(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if mask.shape == tuple(shape):
        return mask
    size = (shape[1], shape[0])
    resized = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(resized > 0)
