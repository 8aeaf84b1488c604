"""`video`: the whole picture, opaque: HEVC, H.264 or AV1 in MP4, with sound and tags."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from pipeline.deliverables.format import Format
from pipeline.deliverables.formats import VIDEO
from pipeline.deliverables.movie import Movie
from pipeline.encode.choice import encoder_options
from pipeline.pixels.color import rgb_planes
from pipeline.pixels.eyes import join_eyes
from pipeline.pixels.fine import one_colour
from pipeline.pixels.layers import Layers
from pipeline.verify.selfcheck import Decoded, Sample, grid


class Video(Movie):
    """See `pipeline.deliverables.base.Deliverable`."""

    format: ClassVar[Format] = VIDEO
    container: ClassVar[Literal["webm", "mp4", "mov"]] = "mp4"
    pixel_formats: ClassVar[tuple[str, ...]] = ("yuv420p",)

    def planes(self, layers: Layers) -> Tensor:
        rgb = join_eyes(layers.rgb, self._video.layout, self._video.right_first)
        fine, form = self._fine(layers), self._yuv()
        count, _, height, width = rgb.shape
        out = torch.empty(count, height * width * 3 // 2, dtype=form.kind, device=rgb.device)
        for t in range(count):
            left_out = None if fine is None else fine[t]
            rgb_planes(one_colour(rgb[t], left_out), form, out[t])
        return out.view(torch.uint8)

    def _encoder_options(self) -> list[str]:
        return encoder_options(
            self._settings.encoding,
            self._keyframe_interval,
            deep=self._deep,
            mastering=self._video.mastering,
        )

    def _expected(self, sample: Sample) -> Tensor:
        return sample.picture

    def _shown(self, picture: Decoded) -> Tensor:
        return grid(picture.rgb)
