"""How kernels find the pixels of whole pictures whose eyes lie apart; and colours as they are kept.

A picture of two eyes is never put together: each program looks up the eye that a pixel is in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.kernels.arithmetic import clamped, of_255
from pipeline.pixels.color import Pictures
from pipeline.pixels.eyes import JoinedEyes


@dataclass(frozen=True, slots=True)
class Source:
    """Pictures as kernels take them.

    Attributes:
        eyes: ``[T, E, C, h, w]``, any strides.
        across: the second eye is beside the first, not below it.
        swapped: the second eye comes first.
    """

    eyes: Tensor
    across: bool
    swapped: bool

    @classmethod
    def of(cls, pictures: Tensor | Pictures) -> Source:
        """Of whole pictures ``[T, C, H, W]``, or of eyes that are read as such."""
        if isinstance(pictures, JoinedEyes):
            return cls(pictures.eyes, pictures.across, pictures.order == [1, 0])
        if not isinstance(pictures, Tensor):
            raise TypeError(f"no kernel reads {type(pictures).__name__}")
        return cls(pictures.unsqueeze(1), True, False)

    @property
    def geometry(self) -> tuple[int, ...]:
        """What `places` is told of it: where the first eye ends, and strides."""
        frame, eye, plane, row, column = self.eyes.stride()
        height, width = self.eyes.shape[3:]
        one = self.eyes.shape[1] == 1
        first, second = (eye, -eye) if self.swapped else (0, eye)
        nowhere = 1 << 30
        return (
            nowhere if one or self.across else height,
            nowhere if one or not self.across else width,
            *(frame, first, second, plane, row, column),
        )


def divides(device: torch.device) -> int:
    """Whether PyTorch divides by a number there; elsewhere it multiplies by the reciprocal."""
    return int(device.type == "cpu")


@triton.jit
def places(picture, geometry, frame, row, column):
    """Pointers to the first plane's pixels of the whole picture, at a row and some columns."""
    is_below = row >= geometry[0]
    is_right = column >= geometry[1]
    row = tl.where(is_below, row - geometry[0], row)
    column = tl.where(is_right, column - geometry[1], column)
    other = tl.where(is_below | is_right, geometry[4], 0)
    start = picture + frame.to(tl.int64) * geometry[2] + geometry[3]
    return start + (other + row * geometry[6] + column * geometry[7])


@triton.jit
def colour(
    at,
    fine_at,
    inside,
    BYTES: tl.constexpr,
    FINE: tl.constexpr,
    DIVIDES: tl.constexpr,
):
    """A plane's pixels in 0..1, with what 8 bits left out of them (`pipeline.pixels.fine`)."""
    value = tl.load(at, mask=inside, other=0).to(tl.float32)
    if BYTES:
        value = of_255(value, DIVIDES)
    if FINE:
        rest = tl.load(fine_at, mask=inside, other=0).to(tl.float32)
        value = clamped(tl.fma(rest, 1.0 / 65280.0, value), 0.0, 1.0)
    return value
