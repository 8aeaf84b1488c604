"""`webm`: VP9 with alpha in WebM, for browsers, OBS and editors.

The colour is straight (not multiplied by alpha) and black where alpha is 0.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor

from pipeline.deliverables.format import Format
from pipeline.deliverables.formats import WEBM
from pipeline.deliverables.movie import Transparent
from pipeline.deliverables.sound.plan import AudioPlan
from pipeline.encode import vp9_alpha
from pipeline.pixels.color import YuvFormat
from pipeline.pixels.layers import Layers
from pipeline.verify.readback import FileFacts


class WebM(Transparent):
    """See `pipeline.deliverables.base.Deliverable`."""

    format: ClassVar[Format] = WEBM
    container: ClassVar[Literal["webm", "mp4", "mov"]] = "webm"
    pixel_formats: ClassVar[tuple[str, ...]] = ("yuva420p",)

    def planes(self, layers: Layers) -> Tensor:
        form = YuvFormat(self._tags.matrix, full_range=False)
        way = self._way(layers.rgb.device)
        return way.rgba_planes(*self._eyes_by_rows(layers), form)

    def _segment_command(self, path: Path) -> list[str]:
        options = [*self._encoder_options(), *self._color_options(), "-flags:v", "+bitexact"]
        return vp9_alpha.command(self._size(), self._video.frame_rate, options, str(path))

    def _encoder_options(self) -> list[str]:
        encoding = self._settings.encoding
        point = encoding.point()
        return [
            # Frames looked ahead at are of use to alternate references only, which alpha forbids,
            # and take 3 GB at 8K.
            *("-auto-alt-ref", "0", "-lag-in-frames", "0"),
            *("-deadline", point.vp9_deadline, "-cpu-used", str(point.vp9_cpu_used)),
            *("-crf", str(point.vp9_crf), "-b:v", "0", "-g", str(self._keyframe_interval)),
            *("-threads", str(encoding.vp9_threads), "-row-mt", "1"),
            *("-tile-columns", str(tile_columns(self._video.even_width))),
        ]

    def _metadata(self, plan: AudioPlan) -> list[str]:
        return [*super()._metadata(plan), "-metadata:s:v:0", "alpha_mode=1"]

    def _wrong(self, found: FileFacts, num_frames: int) -> str | None:
        if not found.alpha_mode:
            return "no ALPHA_MODE tag"
        return super()._wrong(found, num_frames)


def tile_columns(width: int) -> int:
    """log2 of the VP9 tile columns: a constant of the frame's width, for it may alter the bits."""
    return max(0, min(4, int(math.log2(width / 960)))) if width >= 960 else 0
