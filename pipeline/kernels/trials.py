"""Pictures of noise by which a way is compared with PyTorch's operations on the same device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor

from pipeline.kernels.way import TORCH, Way
from pipeline.pixels.color import YCGCO, YuvFormat
from pipeline.pixels.eyes import JoinedEyes

#: Of an eye: odd where it may be, and wider than one program's share.
_HEIGHT, _WIDTH = 46, 330


@dataclass(frozen=True, slots=True)
class Trial:
    """One piece of work.

    Attributes:
        name: the method of `Way`.
        what: in words.
        made: what a way makes of it.
    """

    name: str
    what: str
    made: Callable[[Way], tuple[Tensor, ...]]

    def difference(self, way: Way) -> str | None:
        """How `way` differs from PyTorch's operations, in words; None where no bit does."""
        worst = 0.0
        count = total = 0
        for ours, theirs in zip(self.made(way), self.made(TORCH), strict=True):
            total += ours.numel()
            count += int((ours != theirs).sum())
            worst = max(worst, float((ours.double() - theirs.double()).abs().max()))
        if count == 0:
            return None
        return f"{self.what}: {count} of {total} values differ, by {worst:.3g} at most"


class Noise:
    """Random tensors, the same on every device.

    Args:
        seed: of all that it gives.
    """

    def __init__(self, device: torch.device, seed: int = 1) -> None:
        self._device = device
        self._generator = torch.Generator().manual_seed(seed)

    def levels(self, *shape: int, bits: int = 8) -> Tensor:
        """uint8 ``shape``, or uint16 with more than 8 bits."""
        made = torch.randint(0, 1 << bits, shape, generator=self._generator, dtype=torch.int32)
        return made.to(torch.uint8 if bits == 8 else torch.uint16).to(self._device)

    def shares(self, *shape: int, kind: torch.dtype = torch.float16) -> Tensor:
        """Floats of 0..1, as many of them 0 and 1 as a matte has."""
        made = torch.rand(shape, generator=self._generator) * 1.6 - 0.3
        return made.clamp_(0, 1).to(kind).to(self._device)

    def lines(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator).to(self._device)

    def fine(self, *shape: int) -> Tensor:
        made = torch.randint(-128, 128, shape, generator=self._generator, dtype=torch.int32)
        return made.to(torch.int8).to(self._device)


def trials(device: torch.device) -> Iterator[Trial]:
    """All that a way is tried with before it is used on a device."""
    noise = Noise(device)
    for bits, full in ((8, False), (8, True), (10, False), (16, False)):
        form = YuvFormat("bt709", full, bits)
        yield colour_in(noise, form, (_HEIGHT + 1, 2 * _WIDTH + 1), (2, 2), semi_planar=bits != 10)
    yield colour_in(noise, YuvFormat(YCGCO, True), (_HEIGHT, _WIDTH), (1, 1))
    for kind in (torch.float16, torch.float32):
        yield drawn(noise, kind)
    for kind in (torch.uint8, torch.float16, torch.float32):
        yield shrunk(noise, kind)
    kinds: tuple[torch.dtype, ...] = (torch.float16, torch.uint8)
    for kind, bits in product(kinds, (8, 10)):
        form = YuvFormat("bt709", False, bits)
        yield rgba(noise, form, kind, fine=bits > 8)
        yield over_screen(noise, form, kind, fine=bits > 8)
        yield packed(noise, form, torch.float32 if bits > 8 else torch.uint8)
    yield over_screen(noise, YuvFormat("bt709", False), torch.float16, as_rgb=True)


def colour_in(
    noise: Noise,
    form: YuvFormat,
    size: tuple[int, int],
    step: tuple[int, int],
    *,
    semi_planar: bool = False,
) -> Trial:
    """Planes of a decoder, rows padded as decoders do, to a half of a picture.

    Args:
        semi_planar: U and V by turns, as NVDEC leaves them.
    """
    height, width = size
    low = -(-height // step[0]), -(-width // step[1])
    y = noise.levels(height, width + 6, bits=form.bit_depth)[:, :width]
    if semi_planar:
        u, v = noise.levels(*low, 2, bits=form.bit_depth).unbind(2)
    else:
        u, v = (noise.levels(low[0], low[1] + 3, bits=form.bit_depth)[:, : low[1]] for _ in "uv")

    def made(way: Way) -> tuple[Tensor, ...]:
        pictures = torch.zeros(3, height, 2 * width, dtype=torch.uint8, device=y.device)
        fine = torch.zeros_like(pictures, dtype=torch.int8)
        half = pictures[:, :, width:]
        way.yuv_to_rgb((y, u, v), form, half, fine[:, :, width:] if form.bit_depth > 8 else None)
        return pictures, fine

    return Trial("yuv_to_rgb", f"colours of {form.bit_depth} bits", made)


def drawn(noise: Noise, kind: torch.dtype, size: tuple[int, int] = (_HEIGHT + 1, _WIDTH)) -> Trial:
    """Lines enlarged for two frames of two eyes that lie in one picture."""
    height, width = size
    whole = noise.levels(2, 3, height, 2 * width)
    pictures = whole.view(2, 3, height, 2, width).permute(0, 3, 1, 2, 4)
    slope, offset = (noise.lines(2, 2, 4, height // 5 + 1, width // 6 + 1) for _ in range(2))
    slope = slope / 255

    def made(way: Way) -> tuple[Tensor, ...]:
        foreground = torch.zeros(2, 2, 3, height, width, dtype=kind, device=whole.device)
        alpha = foreground.new_zeros(2, 2, 1, height, width)
        way.draw(pictures, slope, offset, foreground, alpha)
        return foreground, alpha

    return Trial("draw", f"mattes of {str(kind).removeprefix('torch.')}", made)


def shrunk(
    noise: Noise,
    kind: torch.dtype,
    size: tuple[int, int] = (_HEIGHT + 1, _WIDTH),
    low_size: tuple[int, int] = (8, 136),
) -> Trial:
    """Colours, or mattes, of two eyes that lie in one picture.

    Args:
        size: of an eye.
        low_size: of what is made of it.
    """
    height, width = size
    shape = 3 if kind == torch.uint8 else 1, height, 2 * width
    whole = noise.levels(*shape) if kind == torch.uint8 else noise.shares(*shape, kind=kind)
    planes = whole.view(-1, height, 2, width).permute(2, 0, 1, 3)

    def made(way: Way) -> tuple[Tensor, ...]:
        return (way.shrink(planes, low_size),)

    return Trial("shrink", f"smaller pictures of {str(kind).removeprefix('torch.')}", made)


def rgba(
    noise: Noise,
    form: YuvFormat,
    kind: torch.dtype,
    *,
    fine: bool = False,
    size: tuple[int, int] = (_HEIGHT, _WIDTH),
    layout: str = "sbs",
    right_first: bool = False,
) -> Trial:
    """Planes with alpha of two frames; see `_subject`."""
    subject = _subject(noise, kind, fine, size, layout, right_first)

    def made(way: Way) -> tuple[Tensor, ...]:
        colour, alpha, more = subject
        return (_samples(way.rgba_planes(colour, alpha, form, more), form),)

    return Trial("rgba_planes", f"planes with alpha of {form.bit_depth} bits", made)


def over_screen(
    noise: Noise,
    form: YuvFormat,
    kind: torch.dtype,
    *,
    fine: bool = False,
    size: tuple[int, int] = (_HEIGHT, _WIDTH),
    layout: str = "sbs",
    right_first: bool = False,
    as_rgb: bool = False,
) -> Trial:
    """Planes over a screen of two frames; see `_subject`."""
    subject = _subject(noise, kind, fine, size, layout, right_first)
    screen = (43 / 255, 230 / 255, 64 / 255)

    def made(way: Way) -> tuple[Tensor, ...]:
        colour, alpha, more = subject
        planes = way.screen_planes(colour, alpha, screen, form, more, as_rgb=as_rgb)
        return (_samples(planes, form),)

    return Trial("screen_planes", f"planes over a screen of {form.bit_depth} bits", made)


def packed(noise: Noise, form: YuvFormat, kind: torch.dtype, height: int = 122) -> Trial:
    """Planes with packed mattes of one frame."""
    eyes = (1, 2, 3, height, height)
    colour = noise.levels(*eyes) if kind == torch.uint8 else noise.shares(*eyes, kind=kind)
    alpha = noise.shares(1, 2, 1, height, height, kind=torch.float32)

    def made(way: Way) -> tuple[Tensor, ...]:
        return (_samples(way.packed_planes(colour, alpha, form), form),)

    return Trial("packed_planes", f"planes with packed mattes of {form.bit_depth} bits", made)


def _subject(
    noise: Noise,
    kind: torch.dtype,
    fine: bool,
    size: tuple[int, int],
    layout: str,
    right_first: bool,
) -> tuple[JoinedEyes, JoinedEyes, JoinedEyes | None]:
    """Colour, alpha and what 8 bits leave out of two frames, as formats are given them.

    Args:
        size: of an eye.
    """
    eyes = (2, 1 if layout == "mono" else 2)
    colour = (*eyes, 3, *size)
    joined = partial(JoinedEyes, layout=layout, right_first=right_first)  # type: ignore[arg-type]
    kinds = noise.levels(*colour) if kind == torch.uint8 else noise.shares(*colour, kind=kind)
    matte = torch.float16 if kind == torch.uint8 else kind
    return (
        joined(kinds),
        joined(noise.shares(*eyes, 1, *size, kind=matte)),
        joined(noise.fine(*colour)) if fine else None,
    )


def _samples(planes: Tensor, form: YuvFormat) -> Tensor:
    return planes.view(form.kind)
