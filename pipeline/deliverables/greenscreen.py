"""`greenscreen`: the subject over one flat colour, for players that key it out, and for editors.

HEVC, H.264 or AV1 in MP4. The colour behind is plain "over" with the despilled foreground: at an
edge there is as much of it as alpha says, and no more.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pipeline.contract import VideoInfo, VideoSettings
from pipeline.deliverables.format import Format
from pipeline.deliverables.formats import GREENSCREEN
from pipeline.deliverables.movie import Movie
from pipeline.encode.choice import encoder_options
from pipeline.encode.ffmpeg_pipe import Encoder
from pipeline.encode.nvenc import DeviceEncoder
from pipeline.pixels.layers import Layers
from pipeline.verify.selfcheck import Decoded, Sample, grid

_NEAR = 32 / 255  # what keyers take for the screen at the very least
_COVERAGE_TOLERANCE = 0.02


class GreenScreen(Movie):
    """See `pipeline.deliverables.base.Deliverable`."""

    format: ClassVar[Format] = GREENSCREEN
    container: ClassVar[Literal["webm", "mp4", "mov"]] = "mp4"
    pixel_formats: ClassVar[tuple[str, ...]] = ("yuv420p",)

    def __init__(self, video: VideoInfo, settings: VideoSettings) -> None:
        super().__init__(video, settings)
        self._color = parse_color(settings.encoding.screen_color)
        #: Its planes are red, green and blue, and its encoder takes them from the GPU's memory.
        self.stays_on_device = (
            settings.encoding.encoder == "nvenc" and settings.encoding.nvenc_input == "gpu"
        )

    def planes(self, layers: Layers) -> Tensor:
        return self._way(layers.rgb.device).screen_planes(
            *self._eyes_by_rows(layers),
            self._color,
            self._yuv(),
            self._fine(layers),
            as_rgb=self.stays_on_device,
        )

    def open_segment(self, path: Path) -> Encoder:
        if not self.stays_on_device:
            return super().open_segment(path)
        options = [*self._encoder_options(), *self._color_options(), *self._time_scale()]
        options += ["-fflags", "+bitexact", "-flags:v", "+bitexact"]
        rate = self._video.frame_rate
        return DeviceEncoder(path, self._size(), rate, options, container=self.container)

    def _encoder_options(self) -> list[str]:
        return encoder_options(
            self._settings.encoding,
            self._keyframe_interval,
            deep=self._deep,
            mastering=self._video.mastering,
        )

    def _expected(self, sample: Sample) -> Tensor:
        return sample.subject + (1 - sample.alpha) * self._screen()

    def _shown(self, picture: Decoded) -> Tensor:
        return grid(picture.rgb)

    def _problem(self, sample: Sample, picture: Decoded) -> str | None:
        # Averages do not see a screen that is speckled.
        near = (picture.rgb.float() / 255 - self._screen()).abs().amax(dim=1) <= _NEAR
        for covered, empty in zip(near.flatten(1).float().mean(dim=1), sample.empty, strict=True):
            if covered < empty - _COVERAGE_TOLERANCE:
                return f"{float(covered):.1%} of flat screen instead of {float(empty):.1%}"
        return super()._problem(sample, picture)

    def _screen(self) -> Tensor:
        return torch.tensor(self._color).view(3, 1, 1)


def parse_color(text: str) -> tuple[float, float, float]:
    """``#rrggbb`` -> red, green and blue in 0..1."""
    red, green, blue = (int(text[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return red, green, blue
