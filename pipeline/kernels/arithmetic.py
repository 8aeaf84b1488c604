"""Arithmetic that the kernels share, in the order in which `pipeline.pixels` computes.

PyTorch's ``add(x, alpha=k)`` and ``lerp`` round once for a product and its sum, on a CPU and on a
GPU; all else rounds after each operation. `tl.fma` stands where they do that, and nowhere else.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Of 1.5 * 2^23: added and taken away again, it rounds what is far smaller to whole numbers.
_ROUNDER = tl.constexpr(12582912.0)


@triton.jit
def weighted(red, green, blue, weights):
    """Luma of red, green and blue."""
    return tl.fma(blue, weights[2], tl.fma(green, weights[1], red * weights[0]))


@triton.jit
def clamped(value, low, high):
    return tl.minimum(tl.maximum(value, low), high)


@triton.jit
def to_nearest(value):
    """Rounded to whole numbers, halves to even ones."""
    return (value + _ROUNDER) - _ROUNDER


@triton.jit
def between(start, end, share):
    """As `torch.lerp`, of tensors."""
    small = tl.abs(share) < 0.5
    return tl.fma(tl.where(small, share, share - 1.0), end - start, tl.where(small, start, end))


@triton.jit
def of_255(level, DIVIDES: tl.constexpr):
    """``level / 255``, for which PyTorch multiplies by the reciprocal on a GPU."""
    if DIVIDES:
        return tl.div_rn(level, 255.0)
    else:
        return level * (1.0 / 255.0)
