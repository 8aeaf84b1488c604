"""The `chroma` model: a colour-difference key for green, blue or other single-coloured screens.

Needs no weights and no memory of earlier frames. The key is Vlahos' colour difference (US patents
3,158,477 and 4,100,569, as laid out by Smith and Blinn, "Blue Screen Matting", SIGGRAPH 1996): by
how much the screen's primary exceeds the larger of the other two, relative to the empty screen
*at that place*, so that uneven light does not show. At edges, where a red shirt pulls the
difference below zero and would eat into a plain key, alpha is solved from the screen's and the
nearby subject's colours instead.

Limits: the screen must be more saturated than anything worn; shadows on it that halve its light
remain; glass and smoke are keyed but lose their tint; the subject's own colours are changed where
they are nearer to the screen's primary than to any other (despill).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.errors import InputError
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.pixels.guided_filter import guided_filter
from pipeline.stages.matting.base import ClipSampler, Prepared
from pipeline.stages.matting.chroma_facts import ChromaOptions
from pipeline.stages.matting.chroma_screen import ScreenFinder, excess
from pipeline.stages.matting.known_background import (
    dilate,
    erode,
    nearby_subject,
    project_alpha,
    spread,
    unmix,
    window_of,
)

#: Smallest share of the sampled pixels that makes a screen.
_MIN_SHARE = 0.05

#: Relative difference up to which a pixel is subject and nothing else.
_WHITE = 0.1
#: The same for alpha that is solved from the neighbouring colours: below, above: 0, 1.
_SOLVED_BLACK, _SOLVED_WHITE = 0.04, 0.82
_MISFIT = 0.06  # squared distance in RGB at which a solved alpha is not believed
_LUMA = (0.2126, 0.7152, 0.0722)  # BT.709

#: An eye with more pixels is keyed by tiles, (rows, columns): what is kept of one at a time fills
#: dozens of planes of floats. Rows looked through for the screen at once.
_WHOLE_PIXELS, _SURE_ROWS = 1 << 20, 64
_TILE = (512, 512)
_CELL = 4  # side of a pixel of the small planes

#: The colours of an eye with more pixels are kept in 16 bits: 0.2 GB less for both at 8K. They are
#: then off by 2^-12 at the most, a sixteenth of a step of the file's.
_LARGE_PIXELS = 2880 * 2880

#: Tiles at once on a CPU, where it has so many cores. Each is computed as it would be alone, so
#: that their number alters nothing; all lanes of a worker share them, and so does memory.
_TILES_AT_ONCE = 4

#: Calls a function with each of some numbers.
_AtOnce = Callable[[Callable[[int], None], Sequence[int]], None]


def load(
    matting: MattingSettings, processing: ProcessingSettings, device: torch.device
) -> ChromaKey:
    """Raises: SettingsError: `matting.chroma_color` is no colour that a screen can have."""
    return ChromaKey(matting.of(ChromaOptions).color, device, processing.intra_op_threads)


@dataclass(frozen=True, slots=True)
class _Key:
    """Of one video: what `prepare` found, as plain numbers.

    Attributes:
        screen: typical colour, 0..1.
        channel: its primary: 0 red, 1 green, 2 blue.
        difference: by how much the primary exceeds the others there, 0..1.
        black: relative difference from which on a pixel is screen and nothing else.
        white: relative difference up to which it is subject and nothing else.
    """

    screen: tuple[float, float, float]
    channel: int
    difference: float
    black: float
    white: float


class ChromaKey:
    """See the module. Holds no tensors; every method may be called from several threads.

    Args:
        threads: of one operation.
    """

    name: ClassVar[str] = "chroma"
    warmup_frames = 0

    def __init__(self, colour: str, device: torch.device, threads: int) -> None:
        self._device = device
        self._tiles = ThreadPoolExecutor(
            min(_TILES_AT_ONCE, len(os.sched_getaffinity(0))),
            "chroma",
            initializer=torch.set_num_threads,
            initargs=(threads,),
        )
        self._finder = ScreenFinder(colour)

    def prepare(self, clip: ClipSampler) -> Prepared:
        """Find the screen in a few frames.

        Returns:
            ``screen`` float32 ``[3]``, 0..1, and ``clip`` float32 ``[2]``: black and white point.

        Raises:
            InputError: there is no screen in the sampled frames.
        """
        found = self._finder.find(clip)
        if found.share < _MIN_SHARE:
            raise InputError(
                f"no {self._finder.kinds} screen found: its colour fills {found.share:.1%} of the"
                " sampled frames",
                "set matting.chroma_color to the screen's #rrggbb, or use another model",
            )
        # Nearly all of the screen's own noise lies above the black point, compression included.
        noise_floor = float(found.relative[int(0.01 * len(found.relative))])
        black = min(max(noise_floor - 0.02, 0.6), 0.92)
        return {"screen": found.colour, "clip": torch.tensor([black, _WHITE])}

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> _Key:
        red, green, blue = prepared["screen"].tolist()
        black, white = prepared["clip"].tolist()
        screen = (red, green, blue)
        channel = max(range(3), key=screen.__getitem__)
        others = max(value for at, value in enumerate(screen) if at != channel)
        return _Key(screen, channel, screen[channel] - others, black, white)

    def matte(self, eyes: EyeBatch, state: _Key) -> MatteBatch:
        """float32 alpha and despilled foreground, of large eyes float16; each frame by itself."""
        frames, views, _, height, width = eyes.rgb.shape
        alpha = torch.empty(frames, views, 1, height, width, device=eyes.rgb.device)
        kept = torch.float16 if height * width > _LARGE_PIXELS else torch.float32
        foreground = torch.empty(
            frames, views, 3, height, width, dtype=kept, device=eyes.rgb.device
        )
        for frame in range(frames):
            for eye in range(views):
                made = alpha[frame, eye], foreground[frame, eye]
                _key(eyes.rgb[frame, eye], state, *made, self._at_once)
        return MatteBatch(alpha, foreground, eyes.start)

    def _at_once(self, key_tile: Callable[[int], None], places: Sequence[int]) -> None:
        if len(places) == 1:
            key_tile(places[0])
            return
        for _ in self._tiles.map(key_tile, places):
            pass  # raises what a tile raised


def _key(picture: Tensor, key: _Key, alpha: Tensor, foreground: Tensor, at_once: _AtOnce) -> None:
    """Key one eye, uint8 ``[3, H, W]``, into ``[1, H, W]`` and ``[3, H, W]``, both 0..1.

    By tiles, with as many pixels around them as alpha can depend on: the planes of a whole eye
    would fill 2 GB at 8K.
    """
    height, width = picture.shape[1:]
    reach = max(4, max(height, width) // 64)
    level = _local_screen(picture, key)
    # Twice: the edges are solved from what is nearby, the colours from the solved edges.
    margin = _whole_cells(2 * (reach + _CELL) + 8)
    rows, columns = _tile_size(height, width, picture.device)

    def key_rows(top: int) -> None:
        first, last = max(0, top - margin), min(height, top + rows + margin)
        screen = _enlarged(level, (height, width), first, last)

        def key_tile(left: int) -> None:
            start, stop = max(0, left - margin), min(width, left + columns + margin)
            part = picture[None, :, first:last, start:stop].float().div_(255)
            made = _key_tile(part, screen[..., start:stop], key, reach)
            for out, tile in zip((alpha, foreground), made, strict=True):
                place = out[:, top : top + rows, left : left + columns]
                inner = tile[0, :, top - first :, left - start :]
                place.copy_(inner[:, : place.shape[1], : place.shape[2]])

        at_once(key_tile, range(0, width, columns))

    for top in range(0, height, rows):
        key_rows(top)


def _tile_size(height: int, width: int, device: torch.device) -> tuple[int, int]:
    if height * width <= _WHOLE_PIXELS:
        return height, width
    if height % _CELL or width % _CELL or device.type != "cpu":
        # Cells that do not fill an eye are stretched over its width, which is not to be divided;
        # and a GPU is slowed by many small steps.
        return _whole_cells(max(1, _WHOLE_PIXELS // width)), width
    return _share(height, _TILE[0]), _share(width, _TILE[1])


def _share(length: int, most: int) -> int:
    """Of as few shares as can be, all alike but for whole cells."""
    return _whole_cells(-(-length // -(-length // most)))


def _key_tile(picture: Tensor, screen: Tensor, key: _Key, reach: int) -> tuple[Tensor, Tensor]:
    """Alpha ``[1, 1, h, W]`` and foreground ``[1, 3, h, W]`` of pictures, all 0..1."""
    difference = excess(picture, key.channel, 1).unsqueeze(1)
    screen_difference = excess(screen, key.channel, 1).unsqueeze(1)
    relative = difference.div_(screen_difference.clamp_(min=0.25 * key.difference))
    alpha = relative.neg_().add_(key.black).div_(key.black - key.white).clamp_(0, 1)
    foreground = picture.clone()
    rows, columns = (_on_cells(part) for part in window_of(alpha, 2 * reach))
    own, own_alpha = picture[..., rows, columns], alpha[..., rows, columns]
    if own.numel():
        back = screen[..., rows, columns]
        own_alpha = _solve_edges(own, own_alpha, back, reach)
        alpha[..., rows, columns] = own_alpha
        foreground[..., rows, columns] = unmix(own, own_alpha, back, reach)
    return alpha, _despill(foreground, key.channel)


def _whole_cells(rows: int) -> int:
    return -(-rows // _CELL) * _CELL


def _on_cells(part: slice) -> slice:
    """Wider, so that the small planes have the same cells whatever the window."""
    return slice(part.start // _CELL * _CELL, _whole_cells(part.stop))


def _solve_edges(picture: Tensor, alpha: Tensor, screen: Tensor, reach: int) -> Tensor:
    """The key's alpha with its soft pixels, and those next to the screen, solved anew."""
    inside = erode((alpha >= 1).float(), 2)
    band = dilate((alpha <= 0).float(), 3) * (alpha > 0)
    colour, support = nearby_subject(picture, inside, reach)
    solved, contrast = project_alpha(picture, screen, colour)
    misfit = (picture - torch.lerp(screen, colour, solved)).square_().sum(dim=1, keepdim=True)
    # Spill keeps the subject's own edge off its clean colour, hence the low white point.
    solved = ((solved - _SOLVED_BLACK) / (_SOLVED_WHITE - _SOLVED_BLACK)).clamp_(0, 1)
    # Only where the mix explains the pixel: a dark beard above a pale collar is no mix of either.
    belief = (1 - misfit / _MISFIT).clamp_(min=0) * (contrast / 0.1).clamp_(max=1)
    alpha = torch.lerp(alpha, solved, belief.mul_(band).mul_(support))

    # The key has the resolution of the colour planes, often half the picture's; brightness has all.
    grey = (picture * picture.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    smooth = guided_filter(grey, alpha, 1, 1e-4).clamp_(0, 1)
    edge = dilate(((alpha > 0) & (alpha < 1)).float(), 1)
    return torch.lerp(alpha, smooth, edge)


def _local_screen(picture: Tensor, key: _Key) -> Tensor:
    """The empty screen's colour all over this frame, ``[1, 3, h, w]``, small, 0..1.

    Taken from the pixels that are surely screen, on small planes; carried on behind the subject.

    Args:
        picture: uint8 ``[3, H, W]``.
    """
    height, width = picture.shape[1:]
    shrink = max(1, round(max(height, width) / 160))
    size = (-(-height // shrink), -(-width // shrink))
    typical = key.difference / key.screen[key.channel]
    sure = torch.empty(1, 1, height, width, device=picture.device)
    for top in range(0, height, _SURE_ROWS):
        part = picture[:, top : top + _SURE_ROWS].float().div_(255)
        difference = excess(part, key.channel, 0)
        saturation = difference / part[key.channel].clamp_(min=0.02)
        is_sure = (saturation > 0.8 * typical) & (difference > 0.4 * key.difference)
        sure[0, 0, top : top + _SURE_ROWS] = is_sure
    weight = F.interpolate(sure, size=size, mode="area")
    colour = torch.cat(
        [
            F.interpolate(channel[None, None].float().div_(255).mul_(sure), size=size, mode="area")
            for channel in picture
        ],
        dim=1,
    )
    colour = colour / weight.clamp(min=1e-6)
    weight = ((weight - 0.8) * 5).clamp_(min=0)  # not from cells that hold an edge
    typical_colour = colour.new_tensor(key.screen).view(1, 3, 1, 1)
    return spread(colour, weight, (2, 6, 18, 54), typical_colour)


def _enlarged(level: Tensor, size: tuple[int, int], first: int, last: int) -> Tensor:
    """Rows first..last of ``[1, C, h, w]`` enlarged to that size, bilinearly."""
    rows = torch.arange(first, last, device=level.device, dtype=torch.float64)
    at = ((rows + 0.5) * (level.shape[2] / size[0]) - 0.5).clamp_(0, level.shape[2] - 1)
    above = at.floor()
    below = (above + 1).clamp_(max=level.shape[2] - 1)
    share = (at - above).to(level.dtype).view(-1, 1)
    strip = torch.lerp(level[:, :, above.long()], level[:, :, below.long()], share)
    # What stays as high as it is is only enlarged along its rows.
    return F.interpolate(strip, (last - first, size[1]), mode="bilinear", align_corners=False)


def _despill(foreground: Tensor, channel: int) -> Tensor:
    """Take away what the screen's primary has over the larger of the others."""
    spill = excess(foreground, channel, 1).clamp_(min=0)
    foreground[:, channel] -= spill
    return foreground
