"""What 8 bits leave out of a picture of more bits, kept beside it as a layer of its own.

Every stage works on 8 bits, whatever the source has and whatever formats are made. A format that
holds more adds this layer, `fine`, to the colour when it makes its planes. Decision 027.

``fine`` is int8, of the shape of the 8-bit picture, in 256ths of one of its steps: the colour is
``(rgb + fine / 256) / 255``, within 1/65280 of what was decoded.
"""

from __future__ import annotations

import torch
from torch import Tensor

_PARTS = 256  # of a step


def split_levels(total: Tensor, out: Tensor, fine: Tensor | None) -> None:
    """Write levels as whole ones, rounded to nearest, and what that leaves out.

    Args:
        total: floating, levels of 0..255 plus a half, for a cast cuts off; changed.
        out: uint8 of its shape, written to.
        fine: int8 of its shape, written to, or None.
    """
    if fine is not None:
        rest = total - 0.5 - total.clamp(0, 255).floor_()
        fine.copy_(rest.mul_(_PARTS).round_().clamp_(-128, 127))
    out.copy_(whole(total.clamp_(0, 255)))


def whole(values: Tensor) -> Tensor:
    """Floats of 0 to 32767 without their fractions, to be copied to whole numbers.

    On a CPU PyTorch casts floats to bytes one by one, to 16 bits and from there to bytes eight at a
    time: 0.1 ms for 1280x720 instead of 0.5.
    """
    return values.to(torch.int16) if values.device.type == "cpu" else values


def with_fine(colour: Tensor, fine: Tensor | None) -> Tensor:
    """Add what 8 bits left out to a colour that was made of them.

    Args:
        colour: floating, 0..1.
        fine: int8 of its shape; None: nothing was left out.
    """
    if fine is None:
        return colour
    return colour.add(fine.to(colour.dtype), alpha=1 / (255 * _PARTS)).clamp_(0, 1)


def one_colour(rgb: Tensor, fine: Tensor | None) -> Tensor:
    """float32 ``[3, H, W]``, 0..1, of a picture of uint8 or floats."""
    colour = rgb.float()
    if rgb.dtype == torch.uint8:
        colour.div_(255)
    return with_fine(colour, fine)
