"""Pictures over one flat colour, as encoders take them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.pixels.color import Pictures, YuvFormat, rgb_planes
from pipeline.pixels.eyes import JoinedEyes
from pipeline.pixels.fine import one_colour


def screen_planes(
    rgb: Tensor | Pictures,
    alpha: Tensor | Pictures,
    screen: Sequence[float],
    form: YuvFormat,
    fine: Tensor | Pictures | None = None,
    *,
    as_rgb: bool = False,
) -> Tensor:
    """Planar 4:2:0 (``yuv420p`` and its like), or RGB, of a batch over a screen.

    Args:
        rgb: ``[T, 3, H, W]``, uint8 0..255 or floating 0..1, H and W even.
        alpha: floating ``[T, 1, H, W]``, 0..1.
        screen: red, green and blue, 0..1.
        fine: int8 ``[T, 3, H, W]``, added to the colours; None: nothing is.
        as_rgb: red, green and blue planes of 8 bits.

    Returns:
        uint8 ``[T, bytes of a frame]``.
    """
    colours, opacity = _whole(rgb), _whole(alpha)
    rest = None if fine is None else _whole(fine)
    # Filled, not brought over, for which the thread would wait.
    behind = torch.stack([colours.new_full((1, 1), c, dtype=torch.float32) for c in screen])
    count, _, height, width = colours.shape
    samples = height * width * 3 // (1 if as_rgb else 2)
    out = torch.empty(count, samples, dtype=form.kind, device=colours.device)
    for t in range(count):  # one frame at a time: at 8K a batch of floats would be gigabytes
        colour = one_colour(colours[t], None if rest is None else rest[t])
        shown = torch.lerp(behind, colour, opacity[t].float().clamp(0, 1))
        if as_rgb:  # half is added because the cast cuts off
            out[t].copy_(shown.mul_(255).add_(0.5).clamp_(0, 255).view(-1))
        else:
            rgb_planes(shown, form, out[t])
    return out.view(torch.uint8)


def _whole(pictures: Tensor | Pictures) -> Tensor:
    if isinstance(pictures, JoinedEyes):
        return pictures.whole()
    assert isinstance(pictures, Tensor)
    return pictures
