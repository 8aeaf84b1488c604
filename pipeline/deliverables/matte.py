"""`matte`: alpha as a grey video without sound, to be laid over the source as a luma mask.

Grey as it is shown, over the full 0..255, is alpha: black is background, white is subject. In the
file that is luma of limited range (16 is alpha 0, 235 is alpha 1) and tagged so, because players
and editors take untagged and tagged H.264, HEVC and AV1 for that, but not all of them know the
other. Steps are 1/219, and 1/876 where the source has 10 bits. Frame k is frame k of every other
format, and of the range of the source.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from pipeline.deliverables.format import Format
from pipeline.deliverables.formats import MATTE
from pipeline.deliverables.movie import Movie
from pipeline.encode.choice import encoder_options
from pipeline.pixels.eyes import join_eyes
from pipeline.pixels.layers import Layers
from pipeline.verify.selfcheck import Decoded, Sample, grid


class Matte(Movie):
    """See `pipeline.deliverables.base.Deliverable`."""

    format: ClassVar[Format] = MATTE
    container: ClassVar[Literal["webm", "mp4", "mov"]] = "mp4"
    pixel_formats: ClassVar[tuple[str, ...]] = ("yuv420p",)
    channels: ClassVar[tuple[str, ...]] = ("alpha",)

    def planes(self, layers: Layers) -> Tensor:
        alpha = join_eyes(layers.matte.alpha, self._video.layout, self._video.right_first)
        count, _, height, width = alpha.shape
        pixels = height * width
        form = self._yuv()
        (steps, black), (_, no_colour) = form.luma, form.chroma
        out = torch.full(
            (count, pixels * 3 // 2), int(no_colour), dtype=form.kind, device=alpha.device
        )
        for t in range(count):
            luma = alpha[t].float().clamp(0, 1).mul_(steps).add_(black + 0.5)
            out[t, :pixels].copy_(luma.view(-1))
        return out.view(torch.uint8)

    def _expected(self, sample: Sample) -> Tensor:
        return sample.alpha

    def _shown(self, picture: Decoded) -> Tensor:
        return grid(picture.rgb[:, :1])

    def _encoder_options(self) -> list[str]:
        return encoder_options(self._settings.encoding, self._keyframe_interval, deep=self._deep)
