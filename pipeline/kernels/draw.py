"""Foreground and alpha of both eyes from RVM's lines, in one launch; see `pipeline.pixels.lines`.

What PyTorch's compiler made of the two formulas is not to be known from their source: which of two
products it adds to the other without rounding it first. `CONTRACTIONS` are what it may have done.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from pipeline.kernels.arithmetic import clamped
from pipeline.kernels.launch import launch

_BLOCK = 256


class Contraction(NamedTuple):
    """Where products are not rounded before they are added.

    Attributes:
        mean: of the bilinear mean ``a*b + c*d``: 0 neither, 1 the first, 2 the second.
        line: whether that of ``offset + slope * picture`` is not.
    """

    mean: int
    line: bool


#: The first is that of NVIDIA's compiler (NVVM), as far as others have seen it.
CONTRACTIONS = tuple(Contraction(mean, line) for line in (False, True) for mean in (1, 2, 0))


def draw(
    pictures: Tensor,
    slope: Tensor,
    offset: Tensor,
    foreground: Tensor,
    alpha: Tensor,
    contraction: Contraction = CONTRACTIONS[0],
) -> None:
    """See `pipeline.pixels.lines.draw`."""
    count, eyes, _, height, width = pictures.shape
    low_height, low_width = slope.shape[-2:]
    launch(
        _draw,
        (triton.cdiv(width, _BLOCK), height, count * eyes),
        (pictures, slope, offset),
        (foreground, alpha),
        (
            *(eyes, width, (low_height, low_width)),
            *(each.stride() for each in (pictures, slope, offset, foreground, alpha)),
            (low_height / height, low_width / width),
        ),
        {"MEAN": contraction.mean, "LINE": contraction.line, "BLOCK": _BLOCK},
    )


@triton.jit
def _sum(a, b, c, d, MEAN: tl.constexpr):
    """``a*b + c*d``."""
    if MEAN == 0:
        return a * b + c * d
    elif MEAN == 1:
        return tl.fma(a, b, c * d)
    else:
        return tl.fma(c, d, a * b)


@triton.jit
def _enlarged(plane, strides, rows, columns, shares, inside, MEAN: tl.constexpr):
    """As `torch.nn.functional.interpolate`, bilinear, corners not aligned."""
    found = ()
    for row in tl.static_range(2):
        start = plane + rows[row] * strides[3]
        left = tl.load(start + columns[0] * strides[4], mask=inside, other=0.0)
        right = tl.load(start + columns[1] * strides[4], mask=inside, other=0.0)
        found = found + (_sum(1.0 - shares[1], left, shares[1], right, MEAN),)
    return _sum(1.0 - shares[0], found[0], shares[0], found[1], MEAN)


@triton.jit
def _on_line(slope, level, offset, LINE: tl.constexpr):
    if LINE:
        return clamped(tl.fma(slope, level, offset), 0.0, 1.0)
    else:
        return clamped(slope * level + offset, 0.0, 1.0)


@triton.jit
def _draw(
    pictures,
    slope,
    offset,
    foreground,
    alpha,
    eyes,
    width,
    low_size,
    p_strides,
    s_strides,
    o_strides,
    f_strides,
    a_strides,
    steps,
    MEAN: tl.constexpr,
    LINE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    frame = (tl.program_id(2) // eyes).to(tl.int64)
    eye = (tl.program_id(2) % eyes).to(tl.int64)
    row = tl.program_id(1)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    pictures += frame * p_strides[0] + eye * p_strides[1] + row * p_strides[3]
    foreground += frame * f_strides[0] + eye * f_strides[1] + row * f_strides[3]
    alpha += frame * a_strides[0] + eye * a_strides[1] + row * a_strides[3]
    slope += frame * s_strides[0] + eye * s_strides[1]
    offset += frame * o_strides[0] + eye * o_strides[1]
    # Rounded once: whatever compiles PyTorch's formula does that.
    down = tl.maximum(tl.fma(row.to(tl.float32) + 0.5, steps[0], -0.5), 0.0)
    across = tl.maximum(tl.fma(column.to(tl.float32) + 0.5, steps[1], -0.5), 0.0)
    above = down.to(tl.int32)
    left = across.to(tl.int32)
    rows = (above, tl.minimum(above + 1, low_size[0] - 1))
    columns = (left, tl.minimum(left + 1, low_size[1] - 1))
    shares = (down - above.to(tl.float32), across - left.to(tl.float32))
    total = across * 0.0
    for plane in tl.static_range(4):
        by = _enlarged(slope + plane * s_strides[2], s_strides, rows, columns, shares, inside, MEAN)
        to = _enlarged(
            offset + plane * o_strides[2], o_strides, rows, columns, shares, inside, MEAN
        )
        if plane < 3:
            at = plane * p_strides[2] + column * p_strides[4]
            level = tl.load(pictures + at, mask=inside, other=0).to(tl.float32)
            total += level
            at = plane * f_strides[2] + column * f_strides[4]
            tl.store(foreground + at, _on_line(by, level, to, LINE), mask=inside)
        else:
            tl.store(alpha + column * a_strides[4], _on_line(by, total, to, LINE), mask=inside)
