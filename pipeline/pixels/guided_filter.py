"""The guided filter: makes a coarse matte follow the edges of its picture.

Pure tensors, any device, no state. Knows nothing of models and of what the planes mean.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def guided_filter(
    guide: Tensor, target: Tensor, radius: int, eps: float, *, scale: int = 1
) -> Tensor:
    """Smooth `target` so that its edges are those of `guide`.

    He, Sun, Tang, "Guided Image Filtering", PAMI 35(6), 2013; with ``scale > 1`` the fast variant
    of He and Sun, "Fast Guided Filter", arXiv:1505.00996, 2015: the linear coefficients are found
    on planes 1/scale as large and enlarged bilinearly; only the last product is at full size.
    Windows are cut off at the border and normalised by what is left of them.

    The result is linear in `target`, and may overshoot its range a little: clamp it. Every plane
    is computed by itself, in float32 and in a fixed order of additions, so the result of one frame
    does not depend on the others in the batch.

    Args:
        guide: floating ``[N, 1 or 3, H, W]``, 0..1, a grey or a colour picture.
        target: floating ``[N, 1, H, W]``.
        radius: of the window, in pixels of the full size; the window is ``2 * radius + 1`` wide.
        eps: variance of the guide below which it counts as flat; at least 1e-6, or float32 is
            not enough (1e-4: edges of 1 % of the range are followed).
        scale: by how much the planes are shrunk, at least 1; the radius is shrunk with them.

    Returns:
        float32 ``[N, 1, H, W]`` on the device of `guide`.

    Raises:
        ValueError: the shapes do not fit each other, or a number is out of range.
    """
    _check(guide, target, radius, eps, scale)
    height, width = guide.shape[2:]
    # Around zero the squares are smaller, and so is what cancels when the variance is taken.
    full_guide = guide.float() - 0.5
    small_guide, small_target, small_radius = full_guide, target.float(), radius
    if scale > 1:
        size = (max(1, -(-height // scale)), max(1, -(-width // scale)))
        small_guide = F.interpolate(full_guide, size=size, mode="area")
        small_target = F.interpolate(small_target, size=size, mode="area")
        small_radius = max(1, round(radius / scale))

    slope, offset = _coefficients(small_guide, small_target, small_radius, eps)
    slope = box_mean(slope, small_radius)
    offset = box_mean(offset, small_radius)
    if scale > 1:
        slope = _enlarge(slope, height, width)
        offset = _enlarge(offset, height, width)
    return offset.add_((slope * full_guide).sum(dim=1, keepdim=True))


def line_coefficients(
    guide: Tensor, target: Tensor, radius: int, eps: float
) -> tuple[Tensor, Tensor]:
    """The line that each window's target is of its guide, less a half, averaged over windows.

    Args:
        guide, target, radius, eps: as in `guided_filter`.

    Returns:
        Slope ``[N, 1 or 3, H, W]`` and offset ``[N, 1, H, W]``: the target is about
        ``(slope * (guide - 0.5)).sum(1) + offset``.
    """
    _check(guide, target, radius, eps, 1)
    slope, offset = _coefficients(guide.float() - 0.5, target.float(), radius, eps)
    return box_mean(slope, radius), box_mean(offset, radius)


def box_mean(planes: Tensor, radius: int) -> Tensor:
    """Mean over the square window around each pixel, cut off at the border.

    Sums of 1, 2, 4, ... neighbours are built from each other by adding shifted views: a window
    costs about ``2 log2(window)`` additions a pixel and axis whatever its size, and the rounding
    error stays that of pairwise summation, where a running sum over thousands of pixels would
    lose the variance of a flat region.

    Args:
        planes: floating ``[..., H, W]``.
        radius: at least 0; the window is ``2 * radius + 1`` wide.

    Returns:
        The same shape and dtype.
    """
    return _mean_along(_mean_along(planes, radius, -1), radius, -2)


def _check(guide: Tensor, target: Tensor, radius: int, eps: float, scale: int) -> None:
    if guide.ndim != 4 or guide.shape[1] not in (1, 3) or not guide.is_floating_point():
        raise ValueError(f"guide must be floating [N,1 or 3,H,W], got {list(guide.shape)}")
    expected = (guide.shape[0], 1, *guide.shape[2:])
    if tuple(target.shape) != expected or not target.is_floating_point():
        raise ValueError(f"target must be floating {list(expected)}, got {list(target.shape)}")
    if radius < 1 or scale < 1 or eps < 1e-6:
        raise ValueError(f"radius and scale must be >= 1, eps >= 1e-6: {radius}, {scale}, {eps}")


def _mean_along(planes: Tensor, radius: int, axis: int) -> Tensor:
    length = planes.shape[axis]
    # A window that covers everything from everywhere need not be any larger.
    radius = min(radius, length - 1)
    if radius == 0:
        return planes
    window = 2 * radius + 1
    padding = (radius, radius) if axis == -1 else (0, 0, radius, radius)
    run = F.pad(planes, padding)  # run[i] = sum of `size` neighbours from i on
    total: Tensor | None = None
    done, size = 0, 1
    while True:
        if window & size:
            part = run.narrow(axis, done, length)
            total = part.clone() if total is None else total.add_(part)
            done += size
        if done == window:
            break
        run = run.narrow(axis, 0, run.shape[axis] - size) + run.narrow(
            axis, size, run.shape[axis] - size
        )
        size *= 2
    assert total is not None
    at = torch.arange(length, device=planes.device)
    count = (at + radius).clamp(max=length - 1) - (at - radius).clamp(min=0) + 1
    count = count.to(planes.dtype)
    return total.div_(count if axis == -1 else count[:, None])


def _coefficients(guide: Tensor, target: Tensor, radius: int, eps: float) -> tuple[Tensor, Tensor]:
    """Slope ``[N, C, h, w]`` and offset ``[N, 1, h, w]`` of the best line in each window."""
    mean_guide = box_mean(guide, radius)
    mean_target = box_mean(target, radius)
    covariance = box_mean(guide * target, radius) - mean_guide * mean_target
    if guide.shape[1] == 1:
        variance = box_mean(guide * guide, radius) - mean_guide * mean_guide
        slope = covariance / (variance.clamp_(min=0) + eps)
    else:
        slope = _solve_colour(guide, mean_guide, covariance, radius, eps)
    return slope, mean_target - (slope * mean_guide).sum(dim=1, keepdim=True)


def _solve_colour(
    guide: Tensor, mean_guide: Tensor, covariance: Tensor, radius: int, eps: float
) -> Tensor:
    """Solve ``(Sigma + eps I) slope = covariance`` in each window, by the adjugate (eq. 19)."""

    def sigma(i: int, j: int) -> Tensor:
        a, b = slice(i, i + 1), slice(j, j + 1)
        product = box_mean(guide[:, a] * guide[:, b], radius) - mean_guide[:, a] * mean_guide[:, b]
        return product.clamp_(min=0) + eps if i == j else product

    rr, gg, bb = sigma(0, 0), sigma(1, 1), sigma(2, 2)
    rg, rb, gb = sigma(0, 1), sigma(0, 2), sigma(1, 2)
    c_rr, c_rg, c_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c_gg, c_gb, c_bb = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    # Of a matrix that is >= eps I; rounding may take the determinant below what that implies.
    determinant = (rr * c_rr + rg * c_rg + rb * c_rb).clamp_(min=eps**3)
    r, g, b = covariance[:, 0:1], covariance[:, 1:2], covariance[:, 2:3]
    slope = torch.cat(
        [
            c_rr * r + c_rg * g + c_rb * b,
            c_rg * r + c_gg * g + c_gb * b,
            c_rb * r + c_gb * g + c_bb * b,
        ],
        dim=1,
    )
    return slope / determinant


def _enlarge(planes: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(planes, size=(height, width), mode="bilinear", align_corners=False)
