"""A matte of the source, as large as the enhanced picture.

Alpha is enlarged with the large picture as its guide: in each small window of the source, alpha is
taken to be a line of brightness (the guided filter's model, He, Sun, Tang 2013), whose two numbers
are enlarged and then applied to the large picture. What is wholly empty or full around a pixel
stays so. Enlarging a composite instead would draw rings around the subject.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.pixels.guided_filter import line_coefficients
from pipeline.pixels.layers import Layers

#: Of the window, in pixels of the source; and the variance below which brightness says nothing.
_RADIUS, _EPS = 2, 1e-3

_LUMA = (0.299, 0.587, 0.114)


def enlarged(layers: Layers, rgb: Tensor, scale: int) -> tuple[Tensor | None, Tensor | None]:
    """Alpha and foreground at the size of `rgb`, the enlarged picture.

    Args:
        layers: before it was enlarged.
        rgb: uint8 ``[T, E, 3, scale * H, scale * W]``.
    """
    if layers.alpha is None:
        return None, None
    count, eyes, _, height, width = rgb.shape
    alpha = torch.empty((count, eyes, 1, height, width), dtype=torch.float32, device=rgb.device)
    foreground = None
    if layers.foreground is not None:
        kind = layers.foreground.dtype
        foreground = torch.empty((count, eyes, 3, height, width), dtype=kind, device=rgb.device)
    for t in range(count):
        for eye in range(eyes):
            small, large = _unit(layers.rgb[t, eye]), _unit(rgb[t, eye])
            alpha[t, eye] = _alpha(layers.alpha[t, eye].float(), small, large, scale)
            if foreground is not None and layers.foreground is not None:
                taken = layers.foreground[t, eye].float() - small
                colour = large.add_(_larger(taken[None], scale)[0]).clamp_(0, 1)
                foreground[t, eye] = colour.to(foreground.dtype)
    return alpha, foreground


def _alpha(alpha: Tensor, small: Tensor, large: Tensor, scale: int) -> Tensor:
    """``[1, scale * H, scale * W]``."""
    slope, offset = line_coefficients(_luma(small)[None], alpha[None], _RADIUS, _EPS)
    found = _larger(slope, scale) * (_luma(large)[None] - 0.5) + _larger(offset, scale)
    around = alpha[None]
    low = -F.max_pool2d(-around, 3, 1, 1)
    high = F.max_pool2d(around, 3, 1, 1)
    low, high = (F.interpolate(each, scale_factor=scale, mode="nearest") for each in (low, high))
    return torch.minimum(torch.maximum(found, low), high)[0]


def _larger(planes: Tensor, scale: int) -> Tensor:
    return F.interpolate(planes, scale_factor=scale, mode="bilinear", align_corners=False)


def _luma(picture: Tensor) -> Tensor:
    red, green, blue = _LUMA
    return picture[0:1] * red + picture[1:2] * green + picture[2:3] * blue


def _unit(picture: Tensor) -> Tensor:
    return picture.float().div_(255) if picture.dtype == torch.uint8 else picture.float()
