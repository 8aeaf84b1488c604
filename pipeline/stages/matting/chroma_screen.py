"""Finds the single-coloured screen of a video in a few of its frames. Knows no matte.

`chroma` keys the colour that is found; `auto` asks whether a screen fills the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import MattingSettings
from pipeline.errors import SettingsError
from pipeline.stages.matting.base import ClipSampler
from pipeline.stages.matting.chroma_facts import ChromaOptions
from pipeline.stages.matting.facts import Suits

_SAMPLES = 8  # frames looked at by prepare
_SAMPLE_SIDE = 512  # they are thinned out to this many pixels a side at the most
_BINS = 24  # of each axis of the chromaticity histogram
_BORDER_WEIGHT = 4  # a pixel near the border of the eye counts as often: there the screen is

#: A screen exceeds its other channels by this share of its primary, and by this much of the range.
_MIN_SATURATION, _MIN_DIFFERENCE = 0.25, 0.08
#: From which share on a screen fills the picture, so that `auto` keys it.
#: Nearly all of it is then at least so saturated, of its typical saturation: 0.99 in the demo's
#: drawn clip; 0.79 in leaves, 0.87 and 0.92 in what little green or blue two rooms hold.
_SCREEN_SHARE, _EVEN = 0.4, 0.88

_CHANNELS = {"green": 1, "blue": 2}
_NAMES = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class Screen:
    """The commonest saturated colour of some frames.

    Attributes:
        share: of all sampled pixels, those near the border counted several times, 0..1.
        channel: its primary: 0 red, 1 green, 2 blue.
        colour: float32 ``[3]``, 0..1.
        relative: saturation of its pixels, of the colour's, ascending, ``[N]``.
    """

    share: float
    channel: int
    colour: Tensor
    relative: Tensor


def suits(matting: MattingSettings, clip: ClipSampler) -> Suits:
    """Whether a screen fills the picture, and is as saturated everywhere, as no lawn is."""
    found = ScreenFinder(matting.of(ChromaOptions).color).find(clip)
    nearly_all = float(found.relative[int(0.05 * len(found.relative))])
    if found.share < _SCREEN_SHARE or nearly_all < _EVEN:
        return Suits(False, "no green or blue screen fills the picture")
    return Suits(
        True, f"a {_NAMES[found.channel]} screen fills {found.share:.0%} of the sampled frames"
    )


class ScreenFinder:
    """Looks for a screen.

    Args:
        colour: ``auto``, ``green``, ``blue``, or the screen's ``#rrggbb``.

    Raises:
        SettingsError: it is no colour that a screen can have.
    """

    def __init__(self, colour: str) -> None:
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

    @property
    def kinds(self) -> str:
        """The screens that are looked for, in words."""
        return " or ".join(_NAMES[channel] for channel in self._channels)

    def find(self, clip: ClipSampler) -> Screen:
        """The largest one; its share is 0 where no colour is saturated enough."""
        pixels, weight = _sample(clip)
        colour = None if self._wanted is None else torch.tensor(self._wanted)
        found = [_find(pixels, weight, channel, colour) for channel in self._channels]
        return max(found, key=lambda screen: screen.share)


def _sample(clip: ClipSampler) -> tuple[Tensor, Tensor]:
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


def excess(picture: Tensor, channel: int, dim: int) -> Tensor:
    """By how much `channel` exceeds the larger of the other two."""
    first, second = (at for at in range(3) if at != channel)
    others = torch.maximum(picture.select(dim, first), picture.select(dim, second))
    return picture.select(dim, channel) - others


def _find(pixels: Tensor, weight: Tensor, channel: int, wanted: Tensor | None) -> Screen:
    """The commonest saturated colour whose primary is `channel`."""
    primary = pixels[:, channel]
    above = excess(pixels, channel, 1)
    saturated = (above > _MIN_DIFFERENCE) & (above > _MIN_SATURATION * primary)
    pixels, kept_weight = pixels[saturated], weight[saturated]
    if len(pixels) == 0:
        return Screen(0.0, channel, torch.zeros(3), torch.zeros(1))
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
        return Screen(0.0, channel, torch.zeros(3), torch.zeros(1))
    colour = pixels[near].median(dim=0).values
    saturation = excess(pixels[near], channel, 1) / pixels[near][:, channel]
    typical = excess(colour, channel, 0) / colour[channel]
    return Screen(share, channel, colour, (saturation / typical).sort().values)
