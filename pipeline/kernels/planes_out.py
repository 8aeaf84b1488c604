"""Planes for encoders in one launch a batch: with alpha, over one colour, or with packed mattes.

See `pipeline.pixels.color`, `screen` and `alphapack`, whose numbers these are. A program makes
cells of two by two pixels: four of luma, and of alpha, and one of each chroma plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.kernels.arithmetic import between, clamped, weighted
from pipeline.kernels.launch import launch
from pipeline.kernels.pictures import Source, colour, divides, places
from pipeline.pixels.alphapack import small_mattes
from pipeline.pixels.color import Pictures, YuvFormat

_BLOCK = 128

#: Where chroma lies: in planes of its own, or U and V by turns (NV12; with more than 8 bits P010,
#: whose high bits are meaningful).
Arrangement = Literal["planar", "semi-planar"]


def rgba_planes(
    rgb: Tensor | Pictures,
    alpha: Tensor | Pictures,
    form: YuvFormat,
    fine: Tensor | Pictures | None = None,
) -> Tensor:
    """See `pipeline.pixels.color.rgba_planes`."""
    frames, _, height, width = rgb.shape
    seen, behind = Source.of(rgb), Source.of(alpha)
    rest = seen if fine is None else Source.of(fine)
    out = torch.empty(frames, height * width * 5 // 2, dtype=form.kind, device=rgb.device)
    launch(
        _transparent,
        (triton.cdiv(width // 2, _BLOCK), height // 2, frames),
        (seen.eyes, behind.eyes, None if fine is None else rest.eyes),
        (out,),
        (height, width, seen.geometry, behind.geometry, rest.geometry, *_form(form)),
        {**_kind(seen, fine, form), "BLOCK": _BLOCK},
    )
    return out.view(torch.uint8)


def screen_planes(
    rgb: Tensor | Pictures,
    alpha: Tensor | Pictures,
    screen: Sequence[float],
    form: YuvFormat,
    fine: Tensor | Pictures | None = None,
    *,
    as_rgb: bool = False,
    arrangement: Arrangement = "planar",
) -> Tensor:
    """See `pipeline.pixels.screen.screen_planes`."""
    frames, _, height, width = rgb.shape
    seen, behind = Source.of(rgb), Source.of(alpha)
    rest = seen if fine is None else Source.of(fine)
    samples = height * width * 3 // (1 if as_rgb else 2)
    out = torch.empty(frames, samples, dtype=form.kind, device=rgb.device)
    launch(
        _over,
        (triton.cdiv(width // 2, _BLOCK), height // 2, frames),
        (seen.eyes, behind.eyes, None if fine is None else rest.eyes),
        (out,),
        (
            *(height, width, seen.geometry, behind.geometry, rest.geometry),
            *(tuple(screen), *_form(form)),
        ),
        {
            **_kind(seen, fine, form),
            "AS_RGB": int(as_rgb),
            "SEMI_PLANAR": int(arrangement == "semi-planar"),
            "BLOCK": _BLOCK,
        },
    )
    return out.view(torch.uint8)


def packed_planes(
    eyes: Tensor, alpha: Tensor, form: YuvFormat, *, arrangement: Arrangement = "planar"
) -> Tensor:
    """See `pipeline.pixels.alphapack.packed_planes`."""
    frames, height = len(eyes), eyes.shape[-1]
    seen = Source(eyes, across=True, swapped=False)
    mattes, written = small_mattes(alpha, eyes.dtype)
    out = torch.empty(frames, height * height * 3, dtype=form.kind, device=eyes.device)
    launch(
        _packed,
        (triton.cdiv(height, _BLOCK), height // 2, frames),
        (eyes, mattes, written.view(torch.uint8)),
        (out,),
        (height, 2 * height, seen.geometry, len(written) // 2, *_form(form)),
        {
            **_kind(seen, None, form),
            "SEMI_PLANAR": int(arrangement == "semi-planar"),
            "BLOCK": _BLOCK,
        },
    )
    return out.view(torch.uint8)


def _kind(seen: Source, fine: object, form: YuvFormat) -> dict[str, int]:
    return {
        "BYTES": int(seen.eyes.dtype == torch.uint8),
        "FINE": int(fine is not None),
        "DIVIDES": divides(seen.eyes.device),
        "DEEP": int(form.bit_depth > 8),
    }


def _form(form: YuvFormat) -> tuple[tuple[float, ...], ...]:
    """Luma's weights; (scale, offset) of luma, of Cb and of Cr; highest sample, unit of P010."""
    kr, kb = form.weights
    luma_scale, luma_offset = form.luma
    chroma_scale, middle = form.chroma
    return (
        (kr, 1 - kr - kb, kb),
        # Half is added because the cast to whole numbers cuts off.
        (luma_scale, luma_offset + 0.5),
        (chroma_scale / (2 * (1 - kb)), middle + 0.5),
        (chroma_scale / (2 * (1 - kr)), middle + 0.5),
        (float(form.top), 1 << (16 - form.bit_depth)),
    )


@triton.jit
def _half(cell):
    """The mean of two by two pixels, row by row."""
    return ((cell[0] + cell[2]) + (cell[1] + cell[3])) * 0.25


@triton.jit
def _put(at, value, inside, most, DEEP: tl.constexpr, HIGH: tl.constexpr):
    """Samples that a half was added to, cut off to whole ones; with HIGH in the high bits."""
    sample = clamped(value, 0.0, most[0]).to(tl.int32)
    if DEEP:
        if HIGH:
            sample = sample * most[1]
        tl.store(at, sample.to(tl.int16), mask=inside)
    else:
        tl.store(at, sample.to(tl.uint8), mask=inside)


@triton.jit
def _put_chroma(
    out,
    mean,
    kw,
    row,
    column,
    height,
    width,
    cb_line,
    cr_line,
    most,
    inside,
    DEEP: tl.constexpr,
    SEMI_PLANAR: tl.constexpr,
):
    """U and V of the means of cells, behind the luma of a picture."""
    low_y = weighted(mean[0], mean[1], mean[2], kw)
    cb = (mean[2] - low_y) * cb_line[0] + cb_line[1]
    cr = (mean[0] - low_y) * cr_line[0] + cr_line[1]
    if SEMI_PLANAR:
        at = out + height * width + row * width + 2 * column
        _put(at, cb, inside, most, DEEP, True)
        _put(at + 1, cr, inside, most, DEEP, True)
    else:
        at = out + height * width + row * (width // 2) + column
        _put(at, cb, inside, most, DEEP, False)
        _put(at + (height // 2) * (width // 2), cr, inside, most, DEEP, False)


@triton.jit
def _transparent(
    rgb,
    alpha,
    fine,
    out,
    height,
    width,
    seen,
    behind,
    rest,
    kw,
    luma_line,
    cb_line,
    cr_line,
    most,
    BYTES: tl.constexpr,
    FINE: tl.constexpr,
    DIVIDES: tl.constexpr,
    DEEP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    frame = tl.program_id(2)
    cell_row = tl.program_id(1)
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = cell < width // 2
    out += frame.to(tl.int64) * (height * width // 2 * 5)
    opaque = ()  # of each corner of the cells
    red = ()
    green = ()
    blue = ()
    for corner in tl.static_range(4):
        row = cell_row * 2 + corner // 2
        column = cell * 2 + corner % 2
        opacity = tl.load(places(alpha, behind, frame, row, column), mask=inside, other=0.0)
        opacity = clamped(opacity.to(tl.float32) * most[0] + 0.5, 0.0, most[0])
        opacity = opacity.to(tl.int32).to(tl.float32)
        at = places(rgb, seen, frame, row, column)
        more = places(fine, rest, frame, row, column)
        r = colour(at, more, inside, BYTES, FINE, DIVIDES)
        g = colour(at + seen[5], more + rest[5], inside, BYTES, FINE, DIVIDES)
        b = colour(at + 2 * seen[5], more + 2 * rest[5], inside, BYTES, FINE, DIVIDES)
        luma = clamped(weighted(r, g, b, kw), 0.0, 1.0) * luma_line[0]
        luma = luma * tl.minimum(opacity, 1.0) + luma_line[1]
        to = out + row * width + column
        _put(to, luma, inside, most, DEEP, False)
        _put(to + height * width // 2 * 3, opacity, inside, most, DEEP, False)
        opaque = opaque + (opacity,)
        red = red + (r * opacity,)
        green = green + (g * opacity,)
        blue = blue + (b * opacity,)
    share = tl.maximum(_half(opaque), 1e-6)
    mean = (
        tl.div_rn(_half(red), share),
        tl.div_rn(_half(green), share),
        tl.div_rn(_half(blue), share),
    )
    _put_chroma(
        out,
        mean,
        kw,
        cell_row,
        cell,
        height,
        width,
        cb_line,
        cr_line,
        most,
        inside,
        DEEP,
        False,
    )


@triton.jit
def _over(
    rgb,
    alpha,
    fine,
    out,
    height,
    width,
    seen,
    behind,
    rest,
    screen,
    kw,
    luma_line,
    cb_line,
    cr_line,
    most,
    BYTES: tl.constexpr,
    FINE: tl.constexpr,
    DIVIDES: tl.constexpr,
    DEEP: tl.constexpr,
    AS_RGB: tl.constexpr,
    SEMI_PLANAR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    frame = tl.program_id(2)
    cell_row = tl.program_id(1)
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = cell < width // 2
    if AS_RGB:
        out += frame.to(tl.int64) * (height * width * 3)
    else:
        out += frame.to(tl.int64) * (height * width // 2 * 3)
    red = ()
    green = ()
    blue = ()
    for corner in tl.static_range(4):
        row = cell_row * 2 + corner // 2
        column = cell * 2 + corner % 2
        opacity = tl.load(places(alpha, behind, frame, row, column), mask=inside, other=0.0)
        opacity = clamped(opacity.to(tl.float32), 0.0, 1.0)
        at = places(rgb, seen, frame, row, column)
        more = places(fine, rest, frame, row, column)
        to = out + row * width + column
        r = colour(at, more, inside, BYTES, FINE, DIVIDES)
        g = colour(at + seen[5], more + rest[5], inside, BYTES, FINE, DIVIDES)
        b = colour(at + 2 * seen[5], more + 2 * rest[5], inside, BYTES, FINE, DIVIDES)
        r = between(screen[0], r, opacity)
        g = between(screen[1], g, opacity)
        b = between(screen[2], b, opacity)
        if AS_RGB:
            _put(to, r * 255.0 + 0.5, inside, most, DEEP, False)
            _put(to + height * width, g * 255.0 + 0.5, inside, most, DEEP, False)
            _put(to + 2 * height * width, b * 255.0 + 0.5, inside, most, DEEP, False)
        else:
            luma = weighted(r, g, b, kw) * luma_line[0] + luma_line[1]
            _put(to, luma, inside, most, DEEP, SEMI_PLANAR)
        red = red + (r,)
        green = green + (g,)
        blue = blue + (b,)
    if not AS_RGB:
        mean = (_half(red), _half(green), _half(blue))
        _put_chroma(
            out,
            mean,
            kw,
            cell_row,
            cell,
            height,
            width,
            cb_line,
            cr_line,
            most,
            inside,
            DEEP,
            SEMI_PLANAR,
        )


@triton.jit
def _packed(
    rgb,
    mattes,
    written,
    out,
    height,
    width,
    seen,
    half,
    kw,
    luma_line,
    cb_line,
    cr_line,
    most,
    BYTES: tl.constexpr,
    FINE: tl.constexpr,
    DIVIDES: tl.constexpr,
    DEEP: tl.constexpr,
    SEMI_PLANAR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    frame = tl.program_id(2)
    cell_row = tl.program_id(1)
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = cell < width // 2
    out += frame.to(tl.int64) * (height * width // 2 * 3)
    mattes += frame.to(tl.int64) * (half * half * 8)
    red = ()
    green = ()
    blue = ()
    for corner in tl.static_range(4):
        row = cell_row * 2 + corner // 2
        column = cell * 2 + corner % 2
        # From the upper edge, and on both sides of it: the frame's opposite edges are joined.
        down = tl.where(row < half, row, row - height) + half + cell * 0
        left = column - width // 2 + half
        is_left = (left >= 0) & (left < 2 * half)
        right = tl.where(column < half, column, column - width) + half
        is_right = (right >= 0) & (right < 2 * half)
        across = tl.where(is_left, left, right)
        is_there = inside & (is_left | is_right) & (down >= 0)
        in_matte = down * (2 * half) + across
        is_there = is_there & (tl.load(written + in_matte, mask=is_there, other=0) != 0)
        eye = tl.where(is_left, 0, half * half * 4)
        grey = colour(mattes + eye + in_matte, mattes, is_there, BYTES, False, DIVIDES)
        at = places(rgb, seen, frame, row, column)
        r = colour(at, at, inside, BYTES, False, DIVIDES)
        g = colour(at + seen[5], at, inside, BYTES, False, DIVIDES)
        b = colour(at + 2 * seen[5], at, inside, BYTES, False, DIVIDES)
        r = tl.where(is_there, grey, r)
        g = tl.where(is_there, grey, g)
        b = tl.where(is_there, grey, b)
        luma = weighted(r, g, b, kw) * luma_line[0] + luma_line[1]
        _put(out + row * width + column, luma, inside, most, DEEP, SEMI_PLANAR)
        red = red + (r,)
        green = green + (g,)
        blue = blue + (b,)
    mean = (_half(red), _half(green), _half(blue))
    _put_chroma(
        out,
        mean,
        kw,
        cell_row,
        cell,
        height,
        width,
        cb_line,
        cr_line,
        most,
        inside,
        DEEP,
        SEMI_PLANAR,
    )
