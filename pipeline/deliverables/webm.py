"""`webm`: VP9 with alpha in WebM, for browsers, OBS and editors.

The colour is straight (not multiplied by alpha) and black where alpha is 0. Segments are encoded
one by one and joined without encoding again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from pipeline.color import YuvFormat, output_tags, rgba_planes
from pipeline.deliverables.audio import AudioPlan, plan_audio
from pipeline.deliverables.inspect import inspect_webm
from pipeline.disk import writing
from pipeline.encode import Encoder, PipeEncoder, ffmpeg_command, run_ffmpeg
from pipeline.errors import EncodeError
from pipeline.eyes import join_eyes
from pipeline.frames import FrameBatch, MatteBatch
from pipeline.spec import VideoInfo, VideoSettings

_STEREO_MODE = {"mono": "mono", "sbs": "left_right", "tb": "top_bottom"}
_TICK_S = 0.001  # Matroska's time stamps are in milliseconds


class WebM:
    """See `pipeline.deliverables.base.Deliverable`."""

    name: ClassVar[str] = "webm"
    suffix: ClassVar[str] = ".webm"

    def __init__(self, video: VideoInfo, settings: VideoSettings) -> None:
        self._video = video
        self._settings = settings
        self._tags = output_tags(video)

    def planes(self, frames: FrameBatch, matte: MatteBatch) -> Tensor:
        layout = self._video.layout
        rgb = frames.rgb if matte.foreground is None else join_eyes(matte.foreground, layout)
        form = YuvFormat(self._tags.matrix, full_range=False)
        return rgba_planes(rgb, join_eyes(matte.alpha, layout), form)

    def open_segment(self, path: Path) -> Encoder:
        video, encoding = self._video, self._settings.encoding
        size = f"{video.even_width}x{video.even_height}"
        keyframe_interval = max(1, round(encoding.keyframe_s * video.frame_rate))
        command = ffmpeg_command(
            *("-f", "rawvideo", "-pix_fmt", "yuva420p", "-video_size", size),
            *("-framerate", str(video.frame_rate), *self._color_options(), "-i", "pipe:0"),
            *("-an", "-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-auto-alt-ref", "0"),
            # Frames looked ahead at are of use to alternate references only, and 3 GB at 8K.
            *("-lag-in-frames", "0"),
            *("-deadline", encoding.vp9_deadline, "-cpu-used", str(encoding.vp9_cpu_used)),
            *("-crf", str(encoding.vp9_crf), "-b:v", "0", "-g", str(keyframe_interval)),
            *("-threads", str(encoding.vp9_threads), "-row-mt", "1"),
            *("-tile-columns", str(tile_columns(video.even_width)), *self._color_options()),
            *("-fflags", "+bitexact", "-flags:v", "+bitexact", "-f", "webm", f"file:{path}"),
        )
        return PipeEncoder(command)

    def check_segment(self, path: Path, num_frames: int) -> None:
        found = inspect_webm(path).num_frames
        if found != num_frames:
            raise EncodeError(f"segment {path.name} holds {found} frames instead of {num_frames}")

    def join(self, segments: Sequence[Path], frames: Sequence[int], target: Path) -> None:
        # A list of our own names beside the segments. Each duration is given, because the one in
        # a segment's header is rounded to the millisecond, and a night of them would add up.
        folder = segments[0].parent
        concat = folder / f"{target.name}.txt"
        lines = ["ffconcat version 1.0"]
        for segment, count in zip(segments, frames, strict=True):
            lines += [
                f"file '{segment.name}'",
                f"duration {float(count / self._video.frame_rate):.9f}",
            ]
        audio = self._audio(sum(frames))
        metadata = ["-map_metadata", "-1", "-metadata:s:v:0", "alpha_mode=1"]
        metadata += ["-metadata:s:v:0", f"stereo_mode={_STEREO_MODE[self._video.layout]}"]
        if self._video.title:
            metadata += ["-metadata", f"title={self._video.title}"]
        command = ffmpeg_command(
            *("-f", "concat", "-safe", "1", "-i", concat.name, *audio.input),
            *("-map", "0:v:0", "-c:v", "copy", *metadata, *audio.output),
            *("-fflags", "+bitexact", "-f", "webm", f"file:{target}"),
        )
        try:
            with writing(concat):
                concat.write_text("\n".join(lines) + "\n")
            run_ffmpeg(command, cwd=folder)
        finally:
            with suppress(OSError):  # what it cost is told by then
                concat.unlink()

    def verify(self, path: Path, num_frames: int) -> None:
        found = inspect_webm(path, decode_ends=True)
        rate = self._video.frame_rate
        frame_s = float(1 / rate)
        wrong = None
        if found.num_frames != num_frames:
            wrong = f"{found.num_frames} frames instead of {num_frames}"
        elif not found.alpha_mode:
            wrong = "no ALPHA_MODE tag"
        elif found.ends_with_alpha is not True:
            wrong = "its first or last frame does not decode with alpha"
        elif (late := _most_off(found.pts_s, rate)) > 2 * _TICK_S:
            wrong = f"a frame {late * 1000:.1f} ms off its time"
        elif len(found.audio_s) != len(self._video.audio):
            wrong = f"{len(found.audio_s)} audio tracks instead of {len(self._video.audio)}"
        else:
            picture_s = num_frames * frame_s
            for begin, end in found.audio_s:
                # An audio packet is a whole one: 20 ms of Opus, or what the source had.
                if abs(begin) > frame_s + 0.02 or abs(end - picture_s) > frame_s + 0.02:
                    wrong = f"sound from {begin:.3f} to {end:.3f} s, picture to {picture_s:.3f} s"
        if wrong:
            raise EncodeError(f"the joined file for {self._video.path} has {wrong}")

    def _audio(self, num_frames: int) -> AudioPlan:
        return plan_audio(
            self._video,
            self._settings.start_frame,
            num_frames,
            self._settings.encoding.opus_kbps_per_channel,
        )

    def _color_options(self) -> list[str]:
        tags = self._tags
        options = ["-color_range", "tv", "-colorspace", tags.matrix]
        if tags.primaries != "unspecified":
            options += ["-color_primaries", tags.primaries]
        if tags.transfer != "unspecified":
            options += ["-color_trc", tags.transfer]
        return options


def tile_columns(width: int) -> int:
    """log2 of the VP9 tile columns: a constant of the frame's width, for it may alter the bits."""
    return max(0, min(4, int(math.log2(width / 960)))) if width >= 960 else 0


def _most_off(pts_s: Sequence[float], rate: Fraction) -> float:
    return max((abs(t - k / rate) for k, t in enumerate(pts_s)), default=0.0)
