"""A made-up world around the viewer, so that every projection of it is known exactly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipeline.pixels.projection import Projection


def paint_world(view: Projection, *, fineness: float = 30.0, seed: int = 1) -> Tensor:
    """What `view` shows of a smooth, natural-like world, mean of 2x2 points a pixel.

    Waves of random direction whose amplitude falls with their frequency, as in photographs.

    Args:
        fineness: highest frequency, in radians of phase a radian of angle.

    Returns:
        float32 ``[3, H, W]``, 0..1; 0 where the view shows nothing.
    """
    draw = torch.Generator().manual_seed(seed)
    waves = 30
    frequency = torch.exp(torch.rand(waves, generator=draw) * math.log(fineness)).double()
    axes = torch.nn.functional.normalize(torch.randn(waves, 3, generator=draw), dim=-1).double()
    phases = 2 * math.pi * torch.rand(3, waves, generator=draw).double()
    directions, shown = view.directions(*pixel_centres(view.size, parts=2))
    angle = (directions @ (axes * frequency[:, None]).T).float()
    # The sum of cos(angle + phase) / frequency over the waves, for all three phases at once.
    sines = torch.cat([phases.cos(), -phases.sin()], dim=1) / frequency.repeat(2)
    world = torch.cat([angle.cos(), angle.sin()], dim=-1) @ sines.T.float()
    world = world.permute(2, 0, 1).div(float((1 / frequency).sum()) * 0.5).add_(0.5).clamp_(0, 1)
    return torch.nn.functional.avg_pool2d((world * shown)[None], 2)[0]


def pixel_centres(size: tuple[int, int], *, parts: int = 1) -> tuple[Tensor, Tensor]:
    """(u, v) ``[H * parts, W * parts]`` of the pixels, or of `parts` x `parts` points in each."""
    height, width = size[0] * parts, size[1] * parts
    v, u = torch.meshgrid(
        (torch.arange(height, dtype=torch.float64) + 0.5) / height,
        (torch.arange(width, dtype=torch.float64) + 0.5) / width,
        indexing="ij",
    )
    return u, v


def circle(size: tuple[int, int], *, less: float = 0.0) -> Tensor:
    """Bool ``[H, W]``: pixels in the circle, their centre at least `less` from its rim."""
    u, v = pixel_centres(size)
    return torch.hypot(2 * u - 1, 2 * v - 1) <= 1 - 2 * less / min(size)


def psnr(a: Tensor, b: Tensor, where: Tensor) -> float:
    """dB between pictures of 0..1, over the pixels of ``[H, W]`` where it is true."""
    return float(-10 * torch.log10((a - b)[..., where].square().mean()))
