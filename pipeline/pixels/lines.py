"""A picture's matte by lines: ``slope * picture + offset``, both found at a smaller size.

See `pipeline.stages.matting.rvm.coefficients`, whose lines these are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Pixels of a plane worked on at once, in 32 bits: an eye of 4096x4096.
_PLANE_PIXELS = 4096 * 4096


def draw(
    pictures: Tensor, slope: Tensor, offset: Tensor, foreground: Tensor, alpha: Tensor
) -> None:
    """Make foreground and alpha, a plane at a time.

    Args:
        pictures: uint8 ``[T, E, 3, H, W]``.
        slope, offset: float32 ``[T, E, 4, h, w]`` of red, green, blue and alpha, which goes by the
            sum of the three.
        foreground, alpha: floating ``[T, E, 3, H, W]`` and ``[T, E, 1, H, W]``, written to, 0..1.
    """
    count, views, _, height, width = pictures.shape
    frames = max(1, _PLANE_PIXELS // (height * width))
    for eye in range(views):
        for t in range(0, count, frames):
            part = slice(t, t + frames)
            lines = torch.stack([slope[part, eye], offset[part, eye]], dim=2)
            _draw_eye(pictures[part, eye], lines, foreground[part, eye], alpha[part, eye, 0])


def _draw_eye(pictures: Tensor, lines: Tensor, foreground: Tensor, alpha: Tensor) -> None:
    """Frames of one eye; `lines` are float32 ``[T, 4, 2, h, w]``, slope and offset."""
    total: Tensor | None = None
    for channel in range(3):
        plane = pictures[:, channel].float()
        _draw_plane(lines[:, channel], plane, foreground[:, channel])
        total = plane if total is None else total.add_(plane)
    assert total is not None
    _draw_plane(lines[:, 3], total, alpha)


def _draw_plane(line: Tensor, plane: Tensor, out: Tensor) -> None:
    full = F.interpolate(line, size=plane.shape[-2:], mode="bilinear")
    out.copy_(full[:, 1].addcmul_(full[:, 0], plane).clamp_(0, 1))
