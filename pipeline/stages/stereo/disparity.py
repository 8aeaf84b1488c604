"""Estimates the subject's disparity: a coarse field from two small pictures.

Pure tensors of one frame, any device; what lasts over time is handed in and out. A disparity d > 0
means that what is at column x of the left eye is at ``x - d`` of the right one (near things move
to the left). Knows nothing of which matte is right.

The cost of each disparity is averaged over windows (block matching) of three sizes. Where a window
holds little of the subject, the mean of the next larger one counts instead: a small limb is matched
by itself if it can be, and otherwise goes with the body.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.pixels.guided_filter import box_mean

#: Disparities searched, as shares of the width of an eye. Over 180 degrees 0.11 is 20 degrees:
#: 0.18 m away for eyes 63 mm apart. Some files place the horizon below 0.
LEAST, MOST = -0.02, 0.11

#: Mean absolute difference of colours (0..1) from which on two pixels are simply different.
_DIFFERENT = 0.25
#: What a difference of the mattes adds: enough to lead where the picture is flat, too little to
#: hold a ghost at the subject's distance against the picture.
_MATTE_COST = 0.06

_LOCAL = 3  # radius of the smallest window, in pixels of the field
_CELL, _CELLS_AROUND = 8, 1  # the middle window: 3 x 3 cells of 8 x 8 pixels
#: What the mean of the larger window weighs against the share of a window that is subject.
_LOCAL_PRIOR, _MIDDLE_PRIOR, _WHOLE_PRIOR = 0.06, 0.03, 0.002
#: Cost of a disparity of which nothing is known.
_UNKNOWN = 0.15


@dataclass(frozen=True, slots=True)
class Search:
    """Which disparities are tried, in whole pixels of the field.

    Attributes:
        least: the smallest, as it appears in the picture.
        count: how many, at least 3.
    """

    least: int
    count: int

    @classmethod
    def over(cls, width: int, shift: float) -> Search:
        """The range for a field that is `width` wide.

        Args:
            shift: what is added to a disparity as it appears to get the true one, in its pixels.
        """
        first, last = round(LEAST * width - shift) - 1, round(MOST * width - shift) + 1
        return cls(first, last - first + 1)


def matching_cost(left: Tensor, right: Tensor, search: Search) -> Tensor:
    """How unlike the eyes are at each pixel of the left one and each disparity.

    Args:
        left, right: float32 ``[C, h, w]``.

    Returns:
        ``[D, h, w]``: mean absolute difference over the channels.
    """
    return (left[:, None] - shifted(right, search)).abs_().mean(dim=0)


def colour_cost(left: Tensor, right: Tensor, search: Search) -> Tensor:
    """`matching_cost` of two pictures 0..1, which may be unequally bright: 0..1."""
    offset = left.mean(dim=(1, 2), keepdim=True) - right.mean(dim=(1, 2), keepdim=True)
    cost = matching_cost(left, right + offset, search)
    return cost.clamp_(max=_DIFFERENT).div_(_DIFFERENT)


def shifted(planes: Tensor, search: Search) -> Tensor:
    """What the right eye shows at ``x - d``, for each disparity d: a view where it can be.

    Args:
        planes: ``[C, h, w]`` of the right eye; beyond the border it goes on as at the border.

    Returns:
        ``[C, D, h, w]``.
    """
    width = planes.shape[-1]
    last = search.least + search.count - 1
    # Column x - d of the picture is x + last - d of the padded one, if it begins at -last.
    before, after = max(0, last), max(0, -search.least)
    padded = F.pad(planes, (before, after), mode="replicate")
    if before > last:  # all disparities are below 0
        padded = padded[..., before - last :]
    windows = padded.unfold(-1, width, 1)[..., : search.count, :]  # [C, h, D, w], largest d first
    return windows.permute(0, 2, 1, 3).flip(1)


def to_right_eye(volume: Tensor, search: Search, beyond: float) -> Tensor:
    """The same volume by pixels of the right eye: pixel x at disparity d is ``x + d`` of the left.

    Args:
        volume: ``[D, h, w]``.
        beyond: value where the left eye's picture has ended.
    """
    count, height, width = volume.shape
    disparities = torch.arange(search.least, search.least + count, device=volume.device)
    columns = torch.arange(width, device=volume.device) + disparities[:, None]
    outside = ((columns < 0) | (columns >= width))[:, None]
    index = columns.clamp(0, width - 1)[:, None].expand(count, height, width)
    return volume.gather(-1, index).masked_fill_(outside, beyond)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Weighted costs of matching, to be averaged: ``[D, h, w]`` each, in the left eye's pixels."""

    cost: Tensor
    weight: Tensor

    def after(self, before: Evidence | None, fade: float) -> Evidence:
        """With what is left of the frames before."""
        if before is None:
            return self
        return Evidence(
            torch.add(self.cost, before.cost, alpha=fade),
            torch.add(self.weight, before.weight, alpha=fade),
        )


def subject_evidence(colour: Tensor, left: Tensor, right: Tensor, search: Search) -> Evidence:
    """What speaks for which disparity of the subject.

    A pixel counts where either matte holds it, so that what one of them lacks is matched too.

    Args:
        colour: `colour_cost` of the pictures, ``[D, h, w]``.
        left, right: alpha ``[1, h, w]``, 0..1.
    """
    other = shifted(right, search)[0]
    weight = torch.maximum(left, other)
    unlike = (left - other).abs_().mul_(_MATTE_COST)
    return Evidence(unlike.add_(colour).mul_(weight), weight)


def mean_cost(evidence: Evidence) -> Tensor:
    """Mean cost around each pixel, of the smallest window that holds enough: ``[D, h, w]``."""
    height, width = evidence.cost.shape[1:]
    middle = cell_cost(evidence.cost, evidence.weight)
    middle = F.interpolate(middle[None], size=(height, width), mode="bilinear")[0]
    cost, weight = box_mean(evidence.cost, _LOCAL), box_mean(evidence.weight, _LOCAL)
    return _shrunk(cost, weight, middle, _LOCAL_PRIOR)


def cell_cost(cost: Tensor, weight: Tensor) -> Tensor:
    """Mean cost by cells, of the whole picture where those around hold little: ``[D, h', w']``.

    Args:
        cost: weighted, ``[D, h, w]``.
        weight: of the same shape.
    """
    unknown = torch.full_like(cost[:, :1, :1], _UNKNOWN)
    return _shrunk(_cells(cost), _cells(weight), _whole(cost, weight, unknown), _MIDDLE_PRIOR)


def cell_mean(weighted: Tensor, weight: Tensor, otherwise: Tensor) -> Tensor:
    """The same of planes ``[C, h, w]`` at their own size; `otherwise` if there is no weight."""
    height, width = weighted.shape[1:]
    whole = _whole(weighted, weight, otherwise.mean(dim=(1, 2), keepdim=True))
    mean = _shrunk(_cells(weighted), _cells(weight), whole, _MIDDLE_PRIOR)
    return F.interpolate(mean[None], size=(height, width), mode="bilinear")[0]


def best_disparity(cost: Tensor, search: Search) -> Tensor:
    """The disparity of least cost: ``[h, w]``.

    Between whole pixels by a V with sides of equal slope, which fits absolute differences better
    than a parabola (Shimizu and Okutomi, "Sub-Pixel Estimation Error Cancellation on Area-Based
    Matching", IJCV 63(3), 2005).
    """
    # With the disparities side by side in memory it is twice as fast.
    best = cost[1:-1].permute(1, 2, 0).contiguous().argmin(dim=2)[None] + 1
    middle = cost.gather(0, best)
    before, after = cost.gather(0, best - 1), cost.gather(0, best + 1)
    slope = torch.maximum(before, after) - middle
    step = (before - after) / (2 * slope).clamp(min=1e-6)
    return (best + step.clamp_(-0.5, 0.5) + search.least)[0]


def carry(planes: Tensor, disparity: Tensor, eye: int, at: tuple[int, int] = (0, 0)) -> Tensor:
    """Planes of the other eye as this one would see them; 0 beyond the other one's border.

    Args:
        planes: floating ``[C, H, W]`` of the other eye.
        disparity: ``[h, w]`` at pixels of this eye, all or some of them, in pixels of this size.
        eye: which one this is.
        at: (row, column) of the first of these pixels.
    """
    height, width = planes.shape[-2:]
    rows, columns = disparity.shape
    sign = -1.0 if eye == 0 else 1.0
    x = torch.arange(at[1], at[1] + columns, device=planes.device) + sign * disparity
    y = torch.arange(at[0], at[0] + rows, device=planes.device, dtype=x.dtype)
    y = y[:, None].expand(rows, columns)
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    return F.grid_sample(
        planes[None].to(x.dtype), grid[None], mode="bilinear", align_corners=False
    )[0]


def seen_by_other(disparity: Tensor, eye: int) -> Tensor:
    """1 where the other eye's picture holds the place, ``[1, H, W]``."""
    width = disparity.shape[-1]
    x = torch.arange(width, device=disparity.device)
    x = x - disparity if eye == 0 else x + disparity
    return ((x >= 0) & (x <= width - 1)).to(disparity.dtype)[None]


def enlarge_field(field: Tensor, size: tuple[int, ...]) -> Tensor:
    """A field ``[h, w]`` at another size, in pixels of that size."""
    large = F.interpolate(field[None, None], size=size, mode="bilinear")[0, 0]
    return large * (size[1] / field.shape[1])


def dilate(mask: Tensor, radius: int) -> Tensor:
    """Largest value in the square window around each pixel, ``[C, H, W]``; for small radii."""
    for dim in (-1, -2):  # shifted views: a max pool would look for indices as well
        length = mask.shape[dim]
        padding = (radius, radius) if dim == -1 else (0, 0, radius, radius)
        padded = F.pad(mask, padding, value=-torch.inf)
        mask = padded.narrow(dim, 0, length)
        for step in range(1, 2 * radius + 1):
            mask = torch.maximum(mask, padded.narrow(dim, step, length))
    return mask


def erode(mask: Tensor, radius: int) -> Tensor:
    """Smallest value in the square window; what lies outside the picture does not count."""
    return dilate(mask.neg(), radius).neg()


def _cells(volume: Tensor) -> Tensor:
    """Means of blocks of cells."""
    small = F.avg_pool2d(volume[None], _CELL, ceil_mode=True)[0]
    return box_mean(small, _CELLS_AROUND)


def _whole(weighted: Tensor, weight: Tensor, otherwise: Tensor) -> Tensor:
    total = weighted.mean(dim=(1, 2), keepdim=True), weight.mean(dim=(1, 2), keepdim=True)
    return _shrunk(*total, otherwise, _WHOLE_PRIOR)


def _shrunk(cost: Tensor, weight: Tensor, prior: Tensor, strength: float) -> Tensor:
    return (cost + strength * prior) / (weight + strength)
