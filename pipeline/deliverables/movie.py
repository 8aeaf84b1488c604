"""MP4 and MOV: one file a segment, joined by copying the coded pictures. What its kinds share.

Segments of one video have the same parameter sets, because the settings fix every option of the
encoder; each begins with a keyframe and needs nothing of its neighbours. That they do is looked at
when they are joined, and so is that the joined file holds their coded pictures, byte for byte.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor

from pipeline.color import output_tags
from pipeline.deliverables.audio import AudioPlan, SoundForm, plan_audio
from pipeline.deliverables.readback import MovieFacts, inspect_movie
from pipeline.deliverables.selfcheck import CheckedEncoder, PictureForm
from pipeline.disk import writing
from pipeline.encode import Encoder, PipeEncoder, ffmpeg_command, run_ffmpeg
from pipeline.errors import EncodeError
from pipeline.frames import FrameBatch, MatteBatch
from pipeline.spec import VideoInfo, VideoSettings

_SAMPLE_S = 10.0  # one frame out of so many seconds is decoded again and compared
_FINEST_TICKS = 1_000_000  # a second; a rate that needs more has odd numbers, and is rounded


class Movie(ABC):
    """See `pipeline.deliverables.base.Deliverable`; kinds say how pixels and sound are kept."""

    name: ClassVar[str]
    suffix: ClassVar[str]
    container: ClassVar[Literal["mp4", "mov"]]
    sound: ClassVar[SoundForm | None]
    formats: ClassVar[tuple[str, ...]]  # see `PictureForm`

    def __init__(self, video: VideoInfo, settings: VideoSettings) -> None:
        self._video = video
        self._settings = settings
        self._tags = output_tags(video)
        self._ticks = ticks_per_second(video.frame_rate)
        self._keyframe_interval = max(1, round(settings.encoding.keyframe_s * video.frame_rate))

    @abstractmethod
    def planes(self, frames: FrameBatch, matte: MatteBatch) -> Tensor:
        """uint8 ``[T, bytes of a frame]`` on the device of the frames."""

    @abstractmethod
    def _encoder_options(self) -> list[str]:
        """ffmpeg's options for the picture."""

    def _flat(self) -> tuple[float, float, float] | None:
        """The background's Y, U, V in 0..1 where it has one colour."""
        return None

    def open_segment(self, path: Path) -> Encoder:
        video = self._video
        size = f"{video.even_width}x{video.even_height}"
        command = ffmpeg_command(
            *("-f", "rawvideo", "-pix_fmt", self.formats[0], "-video_size", size),
            *("-framerate", str(video.frame_rate), *self._color_options(), "-i", "pipe:0"),
            *("-an", *self._encoder_options(), *self._color_options()),
            *("-video_track_timescale", str(self._ticks)),
            *("-fflags", "+bitexact", "-flags:v", "+bitexact"),
            *("-f", self.container, f"file:{path}"),
        )
        form = PictureForm(video.even_width, video.even_height, self.formats, self._flat())
        groups = max(1, round(_SAMPLE_S / self._settings.encoding.keyframe_s))
        every = self._keyframe_interval * groups
        return CheckedEncoder(PipeEncoder(command), path, form, every)

    def check_segment(self, path: Path, num_frames: int) -> None:
        found = inspect_movie(path).num_frames
        if found != num_frames:
            raise EncodeError(f"segment {path.name} holds {found} frames instead of {num_frames}")

    def join(self, segments: Sequence[Path], frames: Sequence[int], target: Path) -> None:
        folder = segments[0].parent
        concat = folder / f"{target.name}.txt"
        audio = self._audio(sum(frames))
        metadata = ["-map_metadata", "-1"]
        if self._video.title:
            metadata += ["-metadata", f"title={self._video.title}"]
        tag = ["-tag:v", "hvc1"] if self._is_hevc() else []
        command = ffmpeg_command(
            *("-f", "concat", "-safe", "1", "-auto_convert", "0", "-i", concat.name, *audio.input),
            *("-map", "0:v:0", "-c:v", "copy", *tag, *metadata, *audio.output),
            *("-video_track_timescale", str(self._ticks), "-movflags", "+faststart"),
            *("-fflags", "+bitexact", "-f", self.container, f"file:{target}"),
        )
        expected = _coded_pictures(segments)
        try:
            with writing(concat):
                concat.write_text(concat_list(segments, frames, self._video.frame_rate))
            run_ffmpeg(command, cwd=folder)
        finally:
            with suppress(OSError):  # what it cost is told by then
                concat.unlink()
        if inspect_movie(target).packets != expected:
            raise EncodeError(f"{target.name} does not hold the pictures of its segments")

    def verify(self, path: Path, num_frames: int) -> None:
        if wrong := self._wrong(inspect_movie(path, decode_ends=True), num_frames):
            raise EncodeError(f"the joined file for {self._video.path} has {wrong}")

    def _wrong(self, found: MovieFacts, num_frames: int) -> str | None:
        video = self._video
        rate = video.frame_rate
        size = (video.even_width, video.even_height)
        late = max((abs(t - k / rate) for k, t in enumerate(found.pts_s)), default=0.0)
        tracks = len(video.audio) if self.sound else 0
        if found.num_frames != num_frames:
            return f"{found.num_frames} frames instead of {num_frames}"
        if found.pixel_format not in self.formats:
            return f"{found.pixel_format} pictures instead of {self.formats[0]}"
        if found.size != size:
            return f"pictures of {found.size[0]}x{found.size[1]} instead of {size[0]}x{size[1]}"
        if self._is_hevc() and found.codec_tag != "hvc1":
            return f"the tag {found.codec_tag} instead of hvc1"
        if found.ends is not True:
            return "a first or last frame that does not decode"
        if late > 1.5 / self._ticks:
            return f"a frame {late * 1000:.1f} ms off its time"
        if len(found.audio_s) != tracks:
            return f"{len(found.audio_s)} audio tracks instead of {tracks}"
        picture_s = float(num_frames / rate)
        slack_s = float(1 / rate) + (self.sound.packet_s if self.sound else 0.0)
        for begin, end in found.audio_s:
            if abs(begin) > slack_s or abs(end - picture_s) > slack_s:
                return f"sound from {begin:.3f} to {end:.3f} s, picture to {picture_s:.3f} s"
        return None

    def _is_hevc(self) -> bool:
        return False

    def _audio(self, num_frames: int) -> AudioPlan:
        if self.sound is None:
            return AudioPlan()
        start = self._settings.start_frame
        kbps = self._settings.encoding.aac_kbps_per_channel
        return plan_audio(self._video, start, num_frames, kbps, self.sound)

    def _color_options(self) -> list[str]:
        tags = self._tags
        options = ["-color_range", "tv", "-colorspace", tags.matrix]
        if tags.primaries != "unspecified":
            options += ["-color_primaries", tags.primaries]
        if tags.transfer != "unspecified":
            options += ["-color_trc", tags.transfer]
        return options


def ticks_per_second(rate: Fraction) -> int:
    """A time scale in which every frame of that rate begins at a whole tick, 0.1 ms or finer."""
    ticks = rate.numerator
    if ticks > _FINEST_TICKS:
        return _FINEST_TICKS
    while ticks < 10_000:
        ticks *= 2
    return ticks


def concat_list(segments: Sequence[Path], frames: Sequence[int], rate: Fraction) -> str:
    """The list of ffmpeg's concat demuxer: our own names, beside it, each with its duration.

    A duration is the difference of two places on the whole, each rounded to the microsecond that
    the demuxer counts in, so that what is rounded off does not add up.
    """
    lines = ["ffconcat version 1.0"]
    done = 0
    for segment, count in zip(segments, frames, strict=True):
        begin, end = (round(k / rate * 1_000_000) for k in (done, done + count))
        lines += [f"file '{segment.name}'", f"duration {(end - begin) / 1_000_000:.6f}"]
        done += count
    return "\n".join(lines) + "\n"


def _coded_pictures(segments: Sequence[Path]) -> tuple[bytes, ...]:
    """The digest of every coded picture of the segments, in order.

    Raises:
        EncodeError: their parameter sets differ, so that they are no one stream.
    """
    found = [inspect_movie(segment) for segment in segments]
    if len({facts.parameters for facts in found}) != 1:
        raise EncodeError(
            f"the segments in {segments[0].parent.name} were made by different encoders",
            "run again with --fresh",
        )
    return tuple(digest for facts in found for digest in facts.packets)
