"""`hevc-alpha`: HEVC with alpha as a layer of its own in MP4, for Safari, Keynote and iOS.

It follows Apple's "HEVC Video with Alpha Interoperability Profile": one track tagged `hvc1`, layer
0 the picture, layer 1 alpha. Players that do not know of it show the picture on black. x265 tells
players that colours are straight and that alpha spans 0 to 255 (H.265, F.14.3.8: alpha channel
information, `alpha_channel_use_idc` 0), so that is what is given to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor

from pipeline.deliverables.alpha_layer import (
    CodedLayers,
    decoded_rgba_frames,
    first_rgba_frames,
    has_alpha_layer,
    read_layers,
)
from pipeline.deliverables.format import Format
from pipeline.deliverables.formats import HEVC_ALPHA
from pipeline.deliverables.movie import Coded, Transparent
from pipeline.encode.hdr import x265_parameters
from pipeline.errors import EncodeError
from pipeline.pixels.layers import Layers


class HevcAlpha(Transparent):
    """See `pipeline.deliverables.base.Deliverable`."""

    format: ClassVar[Format] = HEVC_ALPHA
    container: ClassVar[Literal["webm", "mp4", "mov"]] = "mp4"
    # The second is what a decoder shows that was not asked for alpha.
    pixel_formats: ClassVar[tuple[str, ...]] = ("yuva420p", "yuv420p")

    def planes(self, layers: Layers) -> Tensor:
        way = self._way(layers.rgb.device)
        return way.rgba_planes(*self._eyes_by_rows(layers), self._yuv(), self._fine(layers))

    def _encoder_options(self) -> list[str]:
        encoding = self._settings.encoding
        point = encoding.point()
        interval = self._keyframe_interval
        # With more than one frame thread the alpha of the same frames is not always the same.
        parameters = (
            f"log-level=error:info=0:pools={encoding.encoder_threads}:frame-threads=1:bframes=0"
            f":keyint={interval}:min-keyint={interval}:scenecut=0:open-gop=0"
            f"{x265_parameters(self._video.mastering)}"
        )
        return [
            *("-c:v", "libx265", "-preset", point.hevc_preset, "-crf", str(point.hevc_crf)),
            *("-x265-params", parameters, "-tag:v", "hvc1"),
            *("-pix_fmt", self._pixel_formats()[0]),
        ]

    def _sampled(self, path: Path, numbers: set[int]) -> Iterator[tuple[int, Any]]:
        return decoded_rgba_frames(path, numbers)

    def _coded(self, path: Path, *, hashed: bool = False) -> Coded:
        layers = _layers_with_alpha(path, hashed=hashed)
        return Coded(layers.parameters, layers.frames, layers.sound, layers.digest)

    def _copy_filters(self) -> str:
        # Without the filter the header of what is copied lacks all that is of layer 1. It also puts
        # the note on alpha before every keyframe, where a player that seeks sees it.
        return "hevc_mp4toannexb"

    def verify(self, path: Path, num_frames: int) -> str:
        digest = super().verify(path, num_frames)
        _layers_with_alpha(path)
        last_s = (num_frames - 1.5) / self._video.frame_rate
        ends: tuple[tuple[str, ...], ...] = ((), ("-ss", f"{float(last_s):.6f}"))
        for options in ends[: 2 if num_frames > 1 else 1]:
            if len(list(first_rgba_frames(path, 1, options))) != 1:
                raise EncodeError(f"an end of {path.name} does not decode with its alpha")
        return digest


def _layers_with_alpha(path: Path, *, hashed: bool = False) -> CodedLayers:
    """Raises EncodeError unless every frame of `path` has alpha, and its header says so."""
    layers = read_layers(path, hashed=hashed)
    if not has_alpha_layer(layers.parameters):
        raise EncodeError(f"{path.name} has no alpha in its header")
    return layers
