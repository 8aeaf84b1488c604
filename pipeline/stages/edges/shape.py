"""Where a matte's edge lies and how soft it is: gamma, choke and feather of planes of alpha.

Pure tensors, any device. Every pixel is computed by itself, in a fixed order of operations, from
those no farther away than `reach`: a part of a plane with so much around it gives what the whole
plane does, but for the last digit of gamma's power.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import EdgeSettings
from pipeline.pixels.guided_filter import box_mean


def reach(edges: EdgeSettings) -> int:
    """Pixels to either side on which a pixel of the result depends."""
    return math.ceil(abs(edges.choke)) + math.ceil(edges.feather)


def grows(edges: EdgeSettings) -> bool:
    """Whether alpha may become more anywhere."""
    return edges.choke < 0 or edges.feather > 0 or edges.gamma > 1


def corrected(alpha: Tensor, edges: EdgeSettings) -> Tensor:
    """Alpha with gamma, then choked, then feathered.

    Args:
        alpha: float32 ``[N, 1, H, W]``, 0..1.

    Returns:
        The same shape, 0..1; at the defaults `alpha` itself.
    """
    if edges.gamma != 1:
        alpha = alpha.pow(1 / edges.gamma)
    if edges.choke < 0:
        alpha = _by_parts(alpha, -edges.choke, _largest_around)
    elif edges.choke > 0:
        alpha = _by_parts(alpha.neg(), edges.choke, _largest_around).neg_()
    return _by_parts(alpha, edges.feather, _softened).clamp(0, 1)


def _by_parts(planes: Tensor, pixels: float, by: Callable[[Tensor, int], Tensor]) -> Tensor:
    """`by` a fractional number of pixels: between what the whole ones around it give."""
    fewer = math.floor(pixels)
    near = by(planes, fewer)
    return near if pixels == fewer else torch.lerp(near, by(planes, fewer + 1), pixels - fewer)


def _largest_around(planes: Tensor, radius: int) -> Tensor:
    """Largest value in the disc around each pixel; what lies outside the picture does not count.

    A disc, because the corners of a square reach 1.4 times as far, so that slanted edges would move
    farther than upright ones. In every direction it reaches as far as `radius`, within 0.36 pixels
    up to a radius of 51: those inside of ``radius**2 + 0.7 radius`` are in it.
    """
    if radius == 0:
        return planes
    height, width = planes.shape[-2:]
    padded = F.pad(planes, (radius,) * 4, value=-torch.inf)
    run = padded[..., radius : radius + width].clone()  # the largest of `half` to either side
    largest: Tensor | None = None
    half = 0
    for row in range(radius, -1, -1):  # from the disc's shortest row, the farthest, to its middle
        while half < math.isqrt(radius * radius + radius * 7 // 10 - row * row):
            half += 1
            for left in (radius - half, radius + half):
                torch.maximum(run, padded[..., left : left + width], out=run)
        for top in {radius - row, radius + row}:
            part = run[..., top : top + height, :]
            if largest is None:
                largest = part.clone()
            else:
                torch.maximum(largest, part, out=largest)
    assert largest is not None
    return largest


def _softened(planes: Tensor, radius: int) -> Tensor:
    """Three box means, nearly a Gaussian of a third of `radius`, which reach no farther than it."""
    for third in range(3):
        planes = box_mean(planes, radius // 3 + (radius % 3 > third))
    return planes
