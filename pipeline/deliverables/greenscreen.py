"""`greenscreen`: the subject over one flat colour, for players that key it out, and for editors.

HEVC, H.264 or AV1 in MP4. The colour behind is plain "over" with the despilled foreground: at an
edge there is as much of it as alpha says, and no more.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from pipeline.color import YuvFormat, rgb_planes
from pipeline.deliverables.audio import MP4_SOUND, SoundForm
from pipeline.deliverables.movie import Movie
from pipeline.encoders import encoder_options
from pipeline.eyes import join_eyes
from pipeline.frames import FrameBatch, MatteBatch
from pipeline.spec import VideoInfo, VideoSettings


class GreenScreen(Movie):
    """See `pipeline.deliverables.base.Deliverable`."""

    name: ClassVar[str] = "greenscreen"
    suffix: ClassVar[str] = ".mp4"
    container: ClassVar[Literal["mp4", "mov"]] = "mp4"
    sound: ClassVar[SoundForm | None] = MP4_SOUND
    formats: ClassVar[tuple[str, ...]] = ("yuv420p",)

    def __init__(self, video: VideoInfo, settings: VideoSettings) -> None:
        super().__init__(video, settings)
        self._color = parse_color(settings.encoding.screen_color)
        self._form = YuvFormat(self._tags.matrix, full_range=False)

    def planes(self, frames: FrameBatch, matte: MatteBatch) -> Tensor:
        layout = self._video.layout
        rgb = frames.rgb if matte.foreground is None else join_eyes(matte.foreground, layout)
        alpha = join_eyes(matte.alpha, layout)
        behind = torch.tensor(self._color, device=rgb.device).view(3, 1, 1)
        count, _, height, width = rgb.shape
        out = torch.empty(count, height * width * 3 // 2, dtype=torch.uint8, device=rgb.device)
        for t in range(count):  # one frame at a time: at 8K a batch of floats would be gigabytes
            colour = rgb[t].float().div_(255) if rgb.dtype == torch.uint8 else rgb[t].float()
            rgb_planes(torch.lerp(behind, colour, alpha[t].float().clamp(0, 1)), self._form, out[t])
        return out

    def _encoder_options(self) -> list[str]:
        return encoder_options(self._settings.encoding, self._keyframe_interval)

    def _is_hevc(self) -> bool:
        return self._settings.encoding.codec == "hevc"

    def _flat(self) -> tuple[float, float, float]:
        flat = torch.tensor(self._color).view(3, 1, 1).expand(3, 2, 2)
        sample = torch.empty(6, dtype=torch.uint8)
        rgb_planes(flat, self._form, sample)
        y, u, v = (float(sample[k]) / 255 for k in (0, 4, 5))
        return y, u, v


def parse_color(text: str) -> tuple[float, float, float]:
    """``#rrggbb`` -> red, green and blue in 0..1."""
    red, green, blue = (int(text[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return red, green, blue
