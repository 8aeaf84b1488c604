"""Converts RGB to planar YUV(A) and back, on whatever device the frames are.

Formulas: ITU-T H.273 section 8.3; the coefficients of a matrix follow from its two luma weights.
One implementation for every device, so that a frame has the same pixels on a GPU and without.
Chroma goes up by repetition and down by averaging two by two, so that a picture that is not
touched comes back with the chroma it had.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipeline.contract import ColorTags, VideoInfo
from pipeline.pixels.fine import split_levels, whole, with_fine

_LUMA_WEIGHTS = {  # FFmpeg's name of the matrix -> (Kr, Kb)
    "bt709": (0.2126, 0.0722),
    "fcc": (0.30, 0.11),
    "bt470bg": (0.299, 0.114),
    "smpte170m": (0.299, 0.114),
    "smpte240m": (0.212, 0.087),
    "bt2020nc": (0.2627, 0.0593),
}
#: Colour differences of whole and half RGB samples instead of weights; only ever decoded.
YCGCO = "ycgco"
#: What outputs are coded in: each codec and container can say all of these.
_OUTPUT_MATRICES = ("bt709", "bt470bg", "smpte170m", "bt2020nc")
#: On a CPU: pixels worked on at once. They stay in the cache, and PyTorch shares out no operation
#: on fewer than 32768, which costs more than it takes.
_STRIP_PIXELS = 32_000
#: On a GPU: at 8K the floats of a whole picture are a gigabyte and a half, of halves the half.
_GPU_ROWS = 2048
#: On a CPU, of wide pictures more: 8192x4096 takes 0.17 s by 16 rows, 0.29 by 2.
_LEAST_ROWS = 16


def resolve_matrix(video: VideoInfo) -> str:
    """The matrix to decode with.

    Where the file is silent: BT.709 from 720 lines or 1280 columns on, else BT.601, as players do.
    """
    if video.color.matrix in (*_LUMA_WEIGHTS, YCGCO):
        return video.color.matrix
    return _usual_matrix(video)


def _usual_matrix(video: VideoInfo) -> str:
    return "smpte170m" if video.height < 720 and video.width < 1280 else "bt709"


def knows_matrix(name: str) -> bool:
    """Whether pictures of that matrix, by FFmpeg's name, can be encoded here."""
    return name in _LUMA_WEIGHTS


def output_tags(video: VideoInfo) -> ColorTags:
    """The colour tags of an encoded deliverable: limited range, the rest as in the source.

    A matrix that not every codec can name (FCC, SMPTE 240M) or that is none of weights (YCgCo, RGB
    itself) gives way to the usual one: the colours stay what they are.
    """
    color = video.color
    matrix = resolve_matrix(video)
    if matrix not in _OUTPUT_MATRICES or color.matrix == "gbr":
        matrix = "bt709" if color.matrix == "gbr" else _usual_matrix(video)
    return ColorTags(matrix, color.primaries, color.transfer, full_range=False)


@dataclass(frozen=True, slots=True)
class YuvFormat:
    """How numbers in planes mean colours.

    Attributes:
        matrix: a key of the table above, by FFmpeg's name; or "ycgco", to decode.
        bit_depth: meaningful bits of a sample.
        zero_bits: bits of zeros below them, in 16 bits of a GPU's decoder; only ever decoded.
    """

    matrix: str
    full_range: bool
    bit_depth: int = 8
    zero_bits: int = 0

    @property
    def weights(self) -> tuple[float, float]:
        return _LUMA_WEIGHTS[self.matrix]

    @property
    def top(self) -> int:
        """The highest sample."""
        return int(2**self.bit_depth - 1)

    @property
    def kind(self) -> torch.dtype:
        """Of the planes that are made of it: in 16 bits the low ones are meaningful."""
        return torch.uint8 if self.bit_depth == 8 else torch.int16

    @property
    def luma(self) -> tuple[float, float]:
        """(scale, offset): the sample is luma * scale + offset, luma in 0..1."""
        step = 2**self.zero_bits
        if self.full_range:
            return float(self.top * step), 0.0
        unit = step * 2 ** (self.bit_depth - 8)
        return 219.0 * unit, 16.0 * unit

    @property
    def chroma(self) -> tuple[float, float]:
        """(scale, offset) for colour differences in -0.5..0.5."""
        unit = 2 ** (self.zero_bits + self.bit_depth - 8)
        if self.full_range or self.matrix == YCGCO:  # of samples as they are, not scaled again
            return self.luma[0], 128.0 * unit
        return 224.0 * unit, 128.0 * unit


def yuv_to_rgb(
    planes: tuple[Tensor, Tensor, Tensor], form: YuvFormat, out: Tensor, fine: Tensor | None = None
) -> None:
    """Convert the planes of one frame, rounding to nearest.

    Args:
        planes: Y ``[H, W]`` and U, V ``[ceil(H/sy), ceil(W/sx)]``, uint8 or uint16, sx, sy 1, 2
            or 4.
        out: uint8 ``[3, H, W]``, 0..255, written to; may be a view.
        fine: int8 ``[3, H, W]``, what `out` leaves out (`pipeline.pixels.fine`), written to.
    """
    y, u, v = planes
    height, width = y.shape
    step_y, step_x = subsampling(height, u.shape[0]), subsampling(width, u.shape[1])
    rows = _strip_rows(height, width, y.device)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = slice(top // step_y, -(-bottom // step_y))
        part = y[top:bottom], u[strip], v[strip]
        rest = None if fine is None else fine[:, top:bottom]
        _convert_strip(*part, (step_y, step_x), form, out[:, top:bottom], rest)


def subsampling(full: int, part: int) -> int:
    """The step between samples of a plane of that length: 1, 2 or 4."""
    return next(step for step in (1, 2, 4) if -(-full // step) == part)


def _convert_strip(
    y: Tensor,
    u: Tensor,
    v: Tensor,
    step: tuple[int, int],
    form: YuvFormat,
    out: Tensor,
    fine: Tensor | None,
) -> None:
    luma_scale, luma_offset = form.luma
    chroma_scale, middle = form.chroma
    gain, unit = 255 / luma_scale, 255 / chroma_scale
    # Half is added here because the cast to uint8 cuts off.
    luma = y.float().mul_(gain).add_(0.5 - luma_offset * gain)
    cb = u.float().sub_(middle).mul_(unit)
    cr = v.float().sub_(middle).mul_(unit)
    height, width = y.shape
    for number, difference in enumerate(_rgb_less_luma(cb, cr, form)):
        full = _repeat(difference, step)[:height, :width]
        split_levels(luma + full, out[number], None if fine is None else fine[number])


def _rgb_less_luma(cb: Tensor, cr: Tensor, form: YuvFormat) -> tuple[Tensor, Tensor, Tensor]:
    """What is added to luma for red, green and blue; of YCgCo `cb` is Cg and `cr` is Co."""
    if form.matrix == YCGCO:
        return cr - cb, cb, -(cb + cr)
    kr, kb = form.weights
    kg = 1 - kr - kb
    return (
        cr * (2 * (1 - kr)),
        (cb * (-2 * kb * (1 - kb) / kg)).add_(cr, alpha=-2 * kr * (1 - kr) / kg),
        cb * (2 * (1 - kb)),
    )


def _repeat(plane: Tensor, step: tuple[int, int]) -> Tensor:
    """``[h, w] -> [h*sy, w*sx]`` by repetition."""
    if step == (1, 1):
        return plane
    height, width = plane.shape
    full = plane.new_empty(height * step[0], width * step[1])
    rows = full[:: step[0]]
    for column in range(step[1]):  # strided copies: four times as fast as an expanded view's
        rows[:, column :: step[1]].copy_(plane)
    for row in range(1, step[0]):
        full[row :: step[0]].copy_(rows)
    return full


def _halved(planes: Tensor) -> Tensor:
    """Means of two by two, ``[..., H, W] -> [..., H/2, W/2]``; seven times as fast as a pool."""
    rows = planes[..., 0::2, :] + planes[..., 1::2, :]
    return (rows[..., 0::2] + rows[..., 1::2]).mul_(0.25)


class Pictures(Protocol):
    """Pictures ``[T, C, H, W]`` that are read a few rows at a time; see `pipeline.pixels.eyes`."""

    shape: tuple[int, int, int, int]

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def rows(self, number: int, top: int, bottom: int) -> Tensor: ...


def _rows(pictures: Tensor | Pictures, number: int, top: int, bottom: int) -> Tensor:
    if isinstance(pictures, Tensor):
        return pictures[number, :, top:bottom]
    return pictures.rows(number, top, bottom)


def rgba_planes(
    rgb: Tensor | Pictures,
    alpha: Tensor | Pictures,
    form: YuvFormat,
    fine: Tensor | Pictures | None = None,
) -> Tensor:
    """Planar 4:2:0 with alpha (``yuva420p`` and its like) of a batch, as the encoder reads it.

    Colour where alpha is 0 becomes black: what was cut out is not in the file. Chroma is averaged
    with alpha as weight, so that the black does not bleed into the subject's edge.

    Args:
        rgb: ``[T, 3, H, W]``, uint8 0..255 or floating 0..1, H and W even.
        alpha: floating ``[T, 1, H, W]``, 0..1.
        fine: int8 ``[T, 3, H, W]``, added to the colours; None: nothing is.

    Returns:
        uint8 ``[T, bytes of a frame]``: Y, U, V, A of each frame, contiguous, of one byte each or,
        with more than 8 bits, of two.
    """
    frames, _, height, width = rgb.shape
    pixels, most = height * width, form.top
    out = torch.empty(frames, pixels * 5 // 2, dtype=form.kind, device=rgb.device)
    rows = _strip_rows(height, width, rgb.device)
    for t in range(frames):  # by strips: at 8K the floats of a frame would be a gigabyte
        y_out, u_out, v_out = _planes_420(out[t], height, width)
        a_out = out[t, pixels * 3 // 2 :].view(height, width)
        for top in range(0, height, rows):
            strip, half = slice(top, top + rows), slice(top // 2, (top + rows) // 2)
            colour = _rows(rgb, t, top, top + rows).float()
            if rgb.dtype == torch.uint8:
                colour.div_(255)
            if fine is not None:
                colour = with_fine(colour, _rows(fine, t, top, top + rows))
            opacity = _rows(alpha, t, top, top + rows)[0].float()
            opacity = opacity.mul(most).add_(0.5).clamp_(0, most)
            a_out[strip].copy_(whole(opacity))
            y, u, v = _yuv420(colour, a_out[strip].float(), form)
            y_out[strip].copy_(whole(y))
            u_out[half].copy_(whole(u))
            v_out[half].copy_(whole(v))
    return out.view(torch.uint8)


def _planes_420(flat: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Views of Y, U and V in the samples of a picture."""
    pixels, half = height * width, (height // 2, width // 2)
    y = flat[:pixels].view(height, width)
    u = flat[pixels : pixels * 5 // 4].view(half)
    return y, u, flat[pixels * 5 // 4 : pixels * 3 // 2].view(half)


def _strip_rows(height: int, width: int, device: torch.device) -> int:
    """Rows of a picture to be worked on at once, even."""
    if device.type != "cpu":
        return min(height + height % 2, _GPU_ROWS)
    return max(_LEAST_ROWS, _STRIP_PIXELS // width // 2 * 2)


def rgb_planes(rgb: Tensor, form: YuvFormat, out: Tensor) -> None:
    """Planar 4:2:0 (``yuv420p`` and its like) of one opaque picture.

    Args:
        rgb: floating ``[3, H, W]``, 0..1, H and W even.
        out: `form.kind` ``[H*W*3/2]``, written to: Y, U, V.
    """
    kr, kb = form.weights
    kg = 1 - kr - kb
    luma_scale, luma_offset = form.luma
    chroma_scale, middle = form.chroma
    height, width = rgb.shape[1:]
    y_out, u_out, v_out = _planes_420(out, height, width)
    rows = _strip_rows(height, width, rgb.device)
    for top in range(0, height, rows):
        strip, half = slice(top, top + rows), slice(top // 2, (top + rows) // 2)
        part = rgb[:, strip]
        y = (part[0] * kr).add_(part[1], alpha=kg).add_(part[2], alpha=kb)
        # Half is added because the cast to uint8 cuts off.
        y = y.mul_(luma_scale).add_(luma_offset + 0.5).clamp_(0, form.top)
        y_out[strip].copy_(whole(y))
        mean = _halved(part)
        low_y = (mean[0] * kr).add_(mean[1], alpha=kg).add_(mean[2], alpha=kb)
        for plane, channel, weight in ((u_out, 2, kb), (v_out, 0, kr)):
            difference = (mean[channel] - low_y).mul_(chroma_scale / (2 * (1 - weight)))
            chroma = difference.add_(middle + 0.5).clamp_(0, form.top)
            plane[half].copy_(whole(chroma))


def rgba_planes_444(rgb: Tensor, alpha: Tensor, form: YuvFormat, out: Tensor) -> None:
    """Planar 4:4:4 with alpha (``yuva444p10le`` and its like) of one picture.

    Colour where alpha is 0 becomes black.

    Args:
        rgb: floating ``[3, H, W]``, 0..1.
        alpha: floating ``[H, W]``, 0..1; in the file it spans the full range.
        out: int16 ``[4*H*W]``, written to: Y, U, V, A.
    """
    kr, kb = form.weights
    kg = 1 - kr - kb
    luma_scale, luma_offset = form.luma
    chroma_scale, middle = form.chroma
    top = form.top
    y_out, u_out, v_out, a_out = out.view(4, *alpha.shape)
    a_out.copy_(alpha.mul(top).add_(0.5).clamp_(0, top))
    shown = rgb * (a_out > 0)
    y = (shown[0] * kr).add_(shown[1], alpha=kg).add_(shown[2], alpha=kb)
    for plane, channel, weight in ((u_out, 2, kb), (v_out, 0, kr)):
        difference = (shown[channel] - y).mul_(chroma_scale / (2 * (1 - weight)))
        plane.copy_(difference.add_(middle + 0.5).clamp_(0, top))
    y_out.copy_(y.mul_(luma_scale).add_(luma_offset + 0.5).clamp_(0, top))


def _yuv420(rgb: Tensor, opacity: Tensor, form: YuvFormat) -> tuple[Tensor, Tensor, Tensor]:
    """Floats ``[3, H, W]`` 0..1 and ``[H, W]`` 0..top, whole -> floats that a cast rounds."""
    kr, kb = form.weights
    kg = 1 - kr - kb
    luma_scale, luma_offset = form.luma
    chroma_scale, middle = form.chroma
    red, green, blue = rgb
    y = (red * kr).add_(green, alpha=kg).add_(blue, alpha=kb).clamp_(0, 1)
    # As a factor of 0 or 1, not as a bool, which PyTorch multiplies by one by one.
    y = y.mul_(luma_scale).mul_(opacity.clamp(max=1)).add_(luma_offset + 0.5)
    mean = _halved(rgb * opacity).div_(_halved(opacity).clamp_min_(1e-6))
    low_y = (mean[0] * kr).add_(mean[1], alpha=kg).add_(mean[2], alpha=kb)
    cb = (mean[2] - low_y).mul_(chroma_scale / (2 * (1 - kb))).add_(middle + 0.5)
    cr = (mean[0] - low_y).mul_(chroma_scale / (2 * (1 - kr))).add_(middle + 0.5)
    return y.clamp_(0, form.top), cb.clamp_(0, form.top), cr.clamp_(0, form.top)
