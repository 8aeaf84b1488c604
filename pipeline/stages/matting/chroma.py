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
from pipeline.errors import InputError, SettingsError
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.pixels.guided_filter import guided_filter
from pipeline.stages.matting.base import ClipSampler, Prepared
from pipeline.stages.matting.chroma_facts import ChromaOptions
from pipeline.stages.matting.facts import Suits
from pipeline.stages.matting.known_background import (
    dilate,
    erode,
    nearby_subject,
    project_alpha,
    spread,
    unmix,
    window_of,
)

_SAMPLES = 8  # frames looked at by prepare
_SAMPLE_SIDE = 512  # they are thinned out to this many pixels a side at the most
_BINS = 24  # of each axis of the chromaticity histogram
_BORDER_WEIGHT = 4  # a pixel near the border of the eye counts as often: there the screen is

#: A screen exceeds its other channels by this share of its primary, and by this much of the range.
_MIN_SATURATION, _MIN_DIFFERENCE = 0.25, 0.08
#: Smallest share of the sampled pixels that makes a screen.
_MIN_SHARE = 0.05
#: From which share on a screen fills the picture, so that `auto` keys it.
#: Nearly all of it is then at least so saturated, of the typical saturation: 0.99 in the demo's
#: clip, 0.8 in leaves and lawns.
_SCREEN_SHARE, _EVEN = 0.4, 0.88

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

_CHANNELS = {"green": 1, "blue": 2}
_NAMES = ("red", "green", "blue")


def load(
    matting: MattingSettings, processing: ProcessingSettings, device: torch.device
) -> ChromaKey:
    """Raises: SettingsError: `matting.chroma_color` is no colour that a screen can have."""
    return ChromaKey(matting.of(ChromaOptions).color, device, processing.intra_op_threads)


def suits(matting: MattingSettings, clip: ClipSampler) -> Suits:
    """Whether a screen fills the picture, and is as saturated everywhere, as no lawn is."""
    key = ChromaKey(matting.of(ChromaOptions).color, torch.device("cpu"), threads=1)
    share, channel, _, relative = key.find(clip)
    if share < _SCREEN_SHARE or float(relative[int(0.05 * len(relative))]) < _EVEN:
        return Suits(False, "no green or blue screen fills the picture")
    return Suits(True, f"a {_NAMES[channel]} screen fills {share:.0%} of the sampled frames")


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
        self._channels: tuple[int, ...] = (1, 2)
        self._wanted: tuple[float, float, float] | None = None
        if colour in _CHANNELS:
            self._channels = (_CHANNELS[colour],)
        elif colour != "auto":
            red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
            self._wanted = (red, green, blue)
            channel = max(range(3), key=self._wanted.__getitem__)
            others = max(value for at, value in enumerate(self._wanted) if at != channel)
            excess = self._wanted[channel] - others
            if excess < max(_MIN_DIFFERENCE, _MIN_SATURATION * self._wanted[channel]):
                raise SettingsError(
                    f"matting.chroma_color {colour} cannot be keyed: none of its channels stands"
                    " out",
                    "give the screen's colour, a saturated green or blue, or auto",
                )
            self._channels = (channel,)

    def prepare(self, clip: ClipSampler) -> Prepared:
        """Find the screen in a few frames.

        Returns:
            ``screen`` float32 ``[3]``, 0..1, and ``clip`` float32 ``[2]``: black and white point.

        Raises:
            InputError: there is no screen in the sampled frames.
        """
        share, _, screen, relative = self.find(clip)
        if share < _MIN_SHARE:
            kinds = " or ".join(_NAMES[channel] for channel in self._channels)
            raise InputError(
                f"no {kinds} screen found: its colour fills {share:.1%} of the sampled frames",
                "set matting.chroma_color to the screen's #rrggbb, or use another model",
            )
        # Nearly all of the screen's own noise lies above the black point, compression included.
        noise_floor = float(relative[int(0.01 * len(relative))])
        black = min(max(noise_floor - 0.02, 0.6), 0.92)
        return {"screen": screen, "clip": torch.tensor([black, _WHITE])}

    def find(self, clip: ClipSampler) -> tuple[float, int, Tensor, Tensor]:
        """See `_find_screen`, of the channel whose screen is the largest."""
        pixels, border = self._sample(clip)
        best = (0.0, self._channels[0], torch.zeros(3), torch.zeros(0))
        for channel in self._channels:
            colour = self._wanted and torch.tensor(self._wanted)
            best = max(best, _find_screen(pixels, border, channel, colour), key=lambda b: b[0])
        return best

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

    def _sample(self, clip: ClipSampler) -> tuple[Tensor, Tensor]:
        """Colours float32 ``[N, 3]``, 0..1, on the CPU, and how much each counts, ``[N]``."""
        step = -(-max(clip.height, clip.width) // _SAMPLE_SIDE)
        count = min(_SAMPLES, clip.num_frames)
        numbers = sorted({(2 * n + 1) * clip.num_frames // (2 * count) for n in range(count)})
        # Copies, not views, which would hold the whole pictures.
        pictures = torch.cat(
            [clip.sample([n]).rgb[0, ..., ::step, ::step].cpu().clone() for n in numbers]
        )
        height, width = pictures.shape[2:]
        weight = torch.full((height, width), float(_BORDER_WEIGHT))
        ring = max(1, min(height, width) // 10)
        weight[ring:-ring, ring:-ring] = 1
        pixels = pictures.permute(0, 2, 3, 1).reshape(-1, 3).float() / 255
        return pixels, weight.flatten().repeat(len(pictures))


def _excess(picture: Tensor, channel: int, dim: int) -> Tensor:
    """By how much `channel` exceeds the larger of the other two."""
    first, second = (at for at in range(3) if at != channel)
    others = torch.maximum(picture.select(dim, first), picture.select(dim, second))
    return picture.select(dim, channel) - others


def _find_screen(
    pixels: Tensor, weight: Tensor, channel: int, wanted: Tensor | None
) -> tuple[float, int, Tensor, Tensor]:
    """The commonest saturated colour whose primary is `channel`.

    Returns:
        The share of all pixels that have it (weighted), `channel`, the colour ``[3]``, and the
        differences of its pixels relative to the colour's, ascending.
    """
    primary = pixels[:, channel]
    excess = _excess(pixels, channel, 1)
    saturated = (excess > _MIN_DIFFERENCE) & (excess > _MIN_SATURATION * primary)
    pixels, kept_weight = pixels[saturated], weight[saturated]
    if len(pixels) == 0:
        return 0.0, channel, torch.zeros(3), torch.zeros(1)
    others = [at for at in range(3) if at != channel]
    # Chromaticity does not change with the light: both other channels as shares of the primary.
    place = pixels[:, others] / pixels[:, channel : channel + 1]
    if wanted is None:
        cell = (place * _BINS).long().clamp_(max=_BINS - 1)
        index = cell[:, 0] * _BINS + cell[:, 1]
        counts = torch.bincount(index, weights=kept_weight.double(), minlength=_BINS * _BINS)
        smooth = F.avg_pool2d(counts.view(1, 1, _BINS, _BINS), 3, 1, 1).flatten()
        peak = int(smooth.argmax())
        centre = (torch.tensor([peak // _BINS, peak % _BINS]) + 0.5) / _BINS
    else:
        centre = wanted[others] / wanted[channel]
    near = (place - centre).abs().amax(dim=1) < 3 / _BINS
    share = float(kept_weight[near].sum() / weight.sum())
    if not bool(near.any()):
        return 0.0, channel, torch.zeros(3), torch.zeros(1)
    screen = pixels[near].median(dim=0).values
    saturation = _excess(pixels[near], channel, 1) / pixels[near][:, channel]
    typical = _excess(screen, channel, 0) / screen[channel]
    return share, channel, screen, (saturation / typical).sort().values


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
    difference = _excess(picture, key.channel, 1).unsqueeze(1)
    screen_difference = _excess(screen, key.channel, 1).unsqueeze(1)
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
        difference = _excess(part, key.channel, 0)
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
    spill = _excess(foreground, channel, 1).clamp_(min=0)
    foreground[:, channel] -= spill
    return foreground
