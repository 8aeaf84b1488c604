"""`alphapack`: a fisheye with the matte in its corners, for headsets: passthrough from one file.

The real background is kept, so that the file plays as it is as well. A source of 180 degrees
becomes an equidistant fisheye of 180; a fisheye keeps its lens. See `pipeline/pixels/alphapack.py`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from pipeline.contract import VideoInfo, VideoSettings
from pipeline.deliverables.format import Format
from pipeline.deliverables.formats import ALPHAPACK
from pipeline.deliverables.movie import Movie
from pipeline.encode.choice import encoder_options
from pipeline.pixels.alphapack import unpack
from pipeline.pixels.batches import FrameBatch
from pipeline.pixels.eyes import split_eyes
from pipeline.pixels.fine import with_fine
from pipeline.pixels.layers import Layers
from pipeline.pixels.projection import Projection, named_projection
from pipeline.pixels.sampling import project
from pipeline.verify.selfcheck import Decoded, Sample, grid, shown_picture


class AlphaPack(Movie):
    """See `pipeline.deliverables.base.Deliverable`."""

    format: ClassVar[Format] = ALPHAPACK
    container: ClassVar[Literal["webm", "mp4", "mov"]] = "mp4"
    pixel_formats: ClassVar[tuple[str, ...]] = ("yuv420p",)
    channels: ClassVar[tuple[str, ...]] = ("red", "green", "blue", "packed alpha")

    def __init__(self, video: VideoInfo, settings: VideoSettings) -> None:
        """Raises InputError where `packed_picture` does."""
        super().__init__(video, settings)
        self._height = self._picture.height

    def _projections(self, height: int, width: int, target: int) -> tuple[Projection, Projection]:
        """(of the source's eye at that size, of the square that it becomes)."""
        source = named_projection(self._video.projection, height, width)
        square = named_projection(self._picture.projection, target, target)
        assert source is not None  # `packed_picture` refuses what is flat
        assert square is not None
        return source, square

    def planes(self, layers: Layers) -> Tensor:
        video, height = self._video, self._height
        source = video.eye_size
        eyes, alphas, form = layers.rgb, layers.matte.alpha, self._yuv()
        views = self._projections(*source, height)
        made = []
        for t in range(len(eyes)):  # one frame at a time: at 8K a batch would be gigabytes
            own = eyes[t]
            if self._deep and layers.fine is not None:
                own = with_fine(own.float().div_(255), layers.fine[t])
            alpha = _shown_in(alphas[t].float().clamp(0, 1), views)
            way = self._way(eyes.device)
            made.append(way.packed_planes(_shown_in(own, views)[None], alpha[None], form))
        return torch.cat(made)

    def _encoder_options(self) -> list[str]:
        return encoder_options(
            self._settings.encoding,
            self._keyframe_interval,
            deep=self._deep,
            mastering=self._video.mastering,
        )

    def _read(self, frame: object) -> Decoded:
        whole = shown_picture(frame, "mono", False).rgb
        return Decoded(split_eyes(FrameBatch(whole, 0), "sbs").rgb[0], unpack(whole)[0])

    def _shown(self, picture: Decoded) -> Tensor:
        assert picture.alpha is not None
        cells = grid(picture.rgb)
        alpha = grid(picture.alpha, size=(cells.shape[2], cells.shape[3]))
        return _within(torch.cat([cells, alpha], dim=1))

    def _expected(self, sample: Sample) -> Tensor:
        given = torch.cat([sample.picture, sample.alpha], dim=1)
        height, width = given.shape[2:]
        views = self._projections(height, width, max(height, width))
        return _within(project(given, *views))


def _within(cells: Tensor) -> Tensor:
    """Those of ``[E, C, h, h]`` that lie in the circle as a whole; the others are 0."""
    size = cells.shape[2]
    edges = (torch.arange(size) + 0.5 - size / 2).abs() + 1
    return cells * (torch.hypot(edges[:, None], edges) <= size / 2)


def _shown_in(eyes: Tensor, views: tuple[Projection, Projection]) -> Tensor:
    source, target = views
    return eyes if source == target else project(eyes, source, target)
