"""`hevc-alpha`: HEVC with alpha as a layer of its own in MP4, for Safari, Keynote and iOS.

It follows Apple's "HEVC Video with Alpha Interoperability Profile": one track tagged `hvc1`, layer
0 the picture, layer 1 alpha. Players that do not know of it show the picture on black. x265 tells
players that colours are straight and that alpha spans 0 to 255 (H.265, F.14.3.8: alpha channel
information, `alpha_channel_use_idc` 0), so that is what is given to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor

from pipeline.color import YuvFormat, rgba_planes
from pipeline.deliverables.alpha_layer import (
    Layers,
    decoded_rgba_frames,
    first_rgba_frames,
    has_alpha_layer,
    read_layers,
    read_parameters,
)
from pipeline.deliverables.audio import MP4_SOUND, SoundForm
from pipeline.deliverables.movie import Transparent, concat_list
from pipeline.deliverables.selfcheck import Sample
from pipeline.disk import writing
from pipeline.encode import ffmpeg_command, run_ffmpeg
from pipeline.errors import EncodeError
from pipeline.frames import FrameBatch, MatteBatch
from pipeline.spherical import write_tags


class HevcAlpha(Transparent):
    """See `pipeline.deliverables.base.Deliverable`."""

    name: ClassVar[str] = "hevc-alpha"
    suffix: ClassVar[str] = ".mp4"
    container: ClassVar[Literal["webm", "mp4", "mov"]] = "mp4"
    sound: ClassVar[SoundForm | None] = MP4_SOUND
    # The second is what a decoder shows that was not asked for alpha.
    formats: ClassVar[tuple[str, ...]] = ("yuva420p", "yuv420p")

    def planes(self, frames: FrameBatch, matte: MatteBatch) -> Tensor:
        form = YuvFormat(self._tags.matrix, full_range=False)
        return rgba_planes(*self._eyes_joined(frames, matte), form)

    def _is_hevc(self) -> bool:
        return True

    def _encoder_options(self) -> list[str]:
        encoding = self._settings.encoding
        interval = self._keyframe_interval
        # With more than one frame thread the alpha of the same frames is not always the same.
        parameters = (
            f"log-level=error:info=0:pools={encoding.encoder_threads}:frame-threads=1:bframes=0"
            f":keyint={interval}:min-keyint={interval}:scenecut=0:open-gop=0"
        )
        return [
            *("-c:v", "libx265", "-preset", encoding.preset, "-crf", str(encoding.hevc_crf)),
            *("-x265-params", parameters, "-tag:v", "hvc1", "-pix_fmt", "yuva420p"),
        ]

    def check_segment(self, path: Path, num_frames: int, samples: Sequence[Sample]) -> None:
        found = len(_layers_with_alpha(path).frames)
        if found != num_frames:
            raise EncodeError(f"segment {path.name} holds {found} frames instead of {num_frames}")
        given = {sample.frame: sample for sample in samples}
        for number, frame in decoded_rgba_frames(path, set(given)):
            try:
                picture = self._read(frame)
            except ValueError as error:
                raise EncodeError(f"{path.name} cannot be shown: {error}") from error
            if problem := self._problem(given.pop(number), picture):
                raise EncodeError(f"frame {number} of {path.name} is not what was made: {problem}")
        if given:
            raise EncodeError(f"frame {min(given)} of {path.name} is not there")

    def join(self, segments: Sequence[Path], frames: Sequence[int], target: Path) -> None:
        folder = segments[0].parent
        concat = folder / f"{target.name}.txt"
        audio = self._audio(sum(frames))
        command = ffmpeg_command(
            *("-f", "concat", "-safe", "1", "-auto_convert", "0", "-i", concat.name, *audio.input),
            # Without the filter the header of what is copied lacks all that is of layer 1. It
            # also puts the note on alpha before every keyframe, where a player that seeks sees it.
            *("-map", "0:v:0", "-c:v", "copy", "-bsf:v", "hevc_mp4toannexb"),
            *(*self._metadata(), *audio.output, *self._time_scale(), "-movflags", "+faststart"),
            *("-fflags", "+bitexact", "-f", self.container, f"file:{target}"),
        )
        if len({read_parameters(segment) for segment in segments}) != 1:
            raise EncodeError(
                f"the segments in {folder.name} were made by different encoders",
                "run again with --fresh",
            )
        expected = tuple(f for segment in segments for f in _layers_with_alpha(segment).frames)
        try:
            with writing(concat):
                concat.write_text(concat_list(segments, frames, self._video.frame_rate))
            run_ffmpeg(command, cwd=folder)
        finally:
            with suppress(OSError):  # what it cost is told by then
                concat.unlink()
        write_tags(target, self.container, self._spherical())
        if read_layers(target).frames != expected:
            raise EncodeError(f"{target.name} does not hold the pictures of its segments")

    def verify(self, path: Path, num_frames: int) -> None:
        super().verify(path, num_frames)
        _layers_with_alpha(path)
        last_s = (num_frames - 1.5) / self._video.frame_rate
        ends: tuple[tuple[str, ...], ...] = ((), ("-ss", f"{float(last_s):.6f}"))
        for options in ends[: 2 if num_frames > 1 else 1]:
            if len(list(first_rgba_frames(path, 1, options))) != 1:
                raise EncodeError(f"an end of {path.name} does not decode with its alpha")


def _layers_with_alpha(path: Path) -> Layers:
    """Raises EncodeError unless every frame of `path` has alpha, and its header says so."""
    layers = read_layers(path)
    if not has_alpha_layer(layers.parameters):
        raise EncodeError(f"{path.name} has no alpha in its header")
    return layers
