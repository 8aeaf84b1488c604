"""Pictures of both eyes made smaller, in one launch; see `pipeline.pixels.shrink`.

Each cell is summed pixel by pixel, row by row, and divided by its height, then by its width: as
PyTorch does on a CPU and on a GPU. No other order gives its bits, as sums of floats are rounded.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.kernels.launch import launch

#: Cells of a program: neighbours read the same lines of the cache.
_BLOCK = 128


def shrink(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """See `pipeline.pixels.shrink.shrink`."""
    eyes, channels, height, width = planes.shape
    low_height, low_width = size
    small = torch.empty(eyes, channels, *size, device=planes.device)
    # A cell that begins within a pixel, and ends within one, has one pixel more.
    widest = -(-width // low_width) + (width % low_width > 0)
    launch(
        _shrink,
        (triton.cdiv(low_width, _BLOCK), low_height, eyes * channels),
        (planes,),
        (small,),
        (channels, (height, width), (low_height, low_width), widest, planes.stride()),
        {"BLOCK": _BLOCK},
    )
    return small


@triton.jit
def _shrink(planes, small, channels, size, low_size, widest, strides, BLOCK: tl.constexpr):
    plane = tl.program_id(2).to(tl.int64)
    low_row = tl.program_id(1)
    low_column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = low_column < low_size[1]
    planes += (plane // channels) * strides[0] + (plane % channels) * strides[1]
    small += (plane * low_size[0] + low_row) * low_size[1]
    top = low_row * size[0] // low_size[0]
    bottom = ((low_row + 1) * size[0] - 1) // low_size[0] + 1
    left = low_column * size[1] // low_size[1]
    right = ((low_column + 1) * size[1] - 1) // low_size[1] + 1
    total = left * 0.0
    for row in range(top, bottom):
        start = planes + row * strides[2]
        for step in range(widest):
            column = left + step
            is_there = inside & (column < right)
            level = tl.load(start + column * strides[3], mask=is_there, other=0)
            total += level.to(tl.float32)
    by_height = tl.div_rn(total, left * 0.0 + (bottom - top).to(tl.float32))
    mean = tl.div_rn(by_height, (right - left).to(tl.float32))
    tl.store(small + low_column, mean, mask=inside)
