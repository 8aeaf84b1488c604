"""Planes of a decoded picture to RGB in one launch; see `pipeline.pixels.color.yuv_to_rgb`.

Planar, semi-planar (NV12, P010) and packed pictures differ in the strides of their planes alone.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from pipeline.kernels.arithmetic import clamped, to_nearest
from pipeline.kernels.launch import launch
from pipeline.pixels.color import YCGCO, YuvFormat, subsampling

_BLOCK = 512


def yuv_to_rgb(
    planes: tuple[Tensor, Tensor, Tensor], form: YuvFormat, out: Tensor, fine: Tensor | None = None
) -> None:
    """See `pipeline.pixels.color.yuv_to_rgb`; any strides."""
    y, u, v = planes
    height, width = y.shape
    luma_scale, luma_offset = form.luma
    chroma_scale, middle = form.chroma
    gain = 255 / luma_scale
    of_cb, of_cr, green_cb, green_cr = 0.0, 0.0, 0.0, 0.0
    if form.matrix != YCGCO:
        kr, kb = form.weights
        kg = 1 - kr - kb
        of_cr, green_cr = 2 * (1 - kr), -2 * kr * (1 - kr) / kg
        of_cb, green_cb = 2 * (1 - kb), -2 * kb * (1 - kb) / kg
    launch(
        _yuv_to_rgb,
        (triton.cdiv(width, _BLOCK), height, 1),
        (y, u, v),
        (out, fine),
        (
            *(width, y.stride(), u.stride(), v.stride(), out.stride()),
            (0, 0, 0) if fine is None else fine.stride(),
            (gain, 0.5 - luma_offset * gain),
            (255 / chroma_scale, middle),
            (of_cr, green_cb, green_cr, of_cb),
        ),
        {
            "STEP_Y": subsampling(height, u.shape[0]),
            "STEP_X": subsampling(width, u.shape[1]),
            "YCGCO": form.matrix == YCGCO,
            "FINE": fine is not None,
            "BLOCK": _BLOCK,
        },
    )


@triton.jit
def _yuv_to_rgb(
    y,
    u,
    v,
    out,
    fine,
    width,
    y_strides,
    u_strides,
    v_strides,
    out_strides,
    fine_strides,
    luma_line,
    chroma_line,
    matrix,
    STEP_Y: tl.constexpr,
    STEP_X: tl.constexpr,
    YCGCO: tl.constexpr,
    FINE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(1)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    luma = _loaded(y, y_strides, row, column, inside) * luma_line[0] + luma_line[1]
    cb = _loaded(u, u_strides, row // STEP_Y, column // STEP_X, inside)
    cr = _loaded(v, v_strides, row // STEP_Y, column // STEP_X, inside)
    cb = (cb - chroma_line[1]) * chroma_line[0]
    cr = (cr - chroma_line[1]) * chroma_line[0]
    if YCGCO:
        differences = (cr - cb, cb, -(cb + cr))
    else:
        green = tl.fma(cr, matrix[2], cb * matrix[1])
        differences = (cr * matrix[0], green, cb * matrix[3])
    for plane in tl.static_range(3):
        total = luma + differences[plane]
        level = clamped(total, 0.0, 255.0).to(tl.int32)
        at = plane * out_strides[0] + row * out_strides[1] + column * out_strides[2]
        tl.store(out + at, level.to(tl.uint8), mask=inside)
        if FINE:  # as `pipeline.pixels.fine.split_levels`
            rest = to_nearest((total - 0.5 - level.to(tl.float32)) * 256.0)
            at = plane * fine_strides[0] + row * fine_strides[1] + column * fine_strides[2]
            tl.store(fine + at, clamped(rest, -128.0, 127.0).to(tl.int8), mask=inside)


@triton.jit
def _loaded(plane, strides, row, column, inside):
    at = plane + row * strides[0] + column * strides[1]
    return tl.load(at, mask=inside, other=0).to(tl.float32)
