"""`Movie`: what WebM, MP4 and MOV share: a file a segment, joined by copying coded pictures.

Segments of one video have the same parameter sets, because the settings fix every option of the
encoder; each begins with a keyframe and needs nothing of its neighbours. That they do is looked at
when they are joined, and so is that the joined file holds their coded pictures with all that comes
beside them, and the sound that ffmpeg gave it, byte for byte.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from pipeline.contract import VideoInfo, VideoSettings
from pipeline.deliverables.base import Joined
from pipeline.deliverables.cut import Form, Run, cut_movie
from pipeline.deliverables.format import Format
from pipeline.deliverables.sound.in_line import sound_in_line
from pipeline.deliverables.sound.make import make_sound
from pipeline.deliverables.sound.plan import KNOWN_PLACES_ONLY, AudioPlan, SoundForm, plan_sound
from pipeline.encode.choice import pipe_command
from pipeline.encode.ffmpeg_pipe import (
    Encoder,
    PipeEncoder,
    ffmpeg_command,
    raw_command,
    run_ffmpeg,
)
from pipeline.encode.keyframes import keyframe_interval
from pipeline.encode.raw_pictures import RawPictures
from pipeline.errors import EncodeError
from pipeline.files.disk import writing
from pipeline.kernels.choice import way_on
from pipeline.kernels.way import Way
from pipeline.pixels.color import YuvFormat, output_tags
from pipeline.pixels.eyes import JoinedEyes, join_eyes
from pipeline.pixels.layers import Layers
from pipeline.source.timing.timecode import counted_on
from pipeline.verify.readback import FileFacts, inspect_file, sampled_frames
from pipeline.verify.selfcheck import (
    Decoded,
    Sample,
    difference,
    grid,
    shown_picture,
)
from pipeline.vr_tags.in_files import SphericalTags, placeholder_options, readable, write_tags
from pipeline.vr_tags.mp4_header import stored_sound_fields
from pipeline.vr_tags.sa3d import ambisonics_of, sa3d_box

_FINEST_TICKS = 1_000_000  # a second; a rate that needs more has odd numbers, and is rounded
_INDEX_BYTES = 64  # of the container, for a frame and for a packet of sound, at the most


@dataclass(frozen=True, slots=True)
class Coded:
    """What a file holds that is copied when it is joined: the same afterwards.

    Attributes:
        said: what is said once of the stream of pictures.
        pictures: of each coded picture, with its alpha, in order.
        sound: sha256 of the coded sound of each track, hexadecimal.
        digest: sha256 of the whole file as it was read, hexadecimal; None if not asked for.
    """

    said: Hashable
    pictures: tuple[Hashable, ...]
    sound: tuple[str, ...] = ()
    digest: str | None = None


class Movie(ABC):
    """See `pipeline.deliverables.base.Deliverable`; kinds say how pixels and sound are kept.

    Attributes:
        format: its row in the catalogue.
        pixel_formats: FFmpeg's names: the one of the raw frames, then others that decoders may
            make of them; of a source of 8 bits, if its format can hold more.
        channels: what a picture of it shows, as the self-check names it.
    """

    format: ClassVar[Format]
    container: ClassVar[Literal["webm", "mp4", "mov"]]
    pixel_formats: ClassVar[tuple[str, ...]]
    channels: ClassVar[tuple[str, ...]] = ("red", "green", "blue")

    def __init__(self, video: VideoInfo, settings: VideoSettings) -> None:
        self._video = video
        self._settings = settings
        self._tags = output_tags(video)
        self._ticks = ticks_per_second(video.frame_rate)
        self._keyframe_interval = keyframe_interval(video, settings)
        self._picture = self.format.picture(video)
        #: Whether the source's samples have more than 8 bits, and the pictures too.
        self._deep = self.format.bits_of(video, settings.encoding) > 8

    @property
    def name(self) -> str:
        return self.format.name

    @property
    def suffix(self) -> str:
        return self.format.suffix

    @property
    def sound(self) -> SoundForm | None:
        return self.format.sound

    @abstractmethod
    def planes(self, layers: Layers) -> Tensor:
        """uint8 ``[T, bytes of a frame]`` on the device of the frames."""

    @abstractmethod
    def _encoder_options(self) -> list[str]:
        """ffmpeg's options for the picture."""

    @abstractmethod
    def _expected(self, sample: Sample) -> Tensor:
        """``[E, C, h, w]``: what `_shown` should give of that frame."""

    @abstractmethod
    def _shown(self, picture: Decoded) -> Tensor:
        """``[E, C, h, w]``: means over the grid of what a player shows."""

    def _size(self) -> tuple[int, int]:
        """(width, height) of its pictures."""
        return self._picture.width, self._picture.height

    def _pixel_formats(self) -> tuple[str, ...]:
        """`pixel_formats` of this video."""
        return tuple(f"{k}10le" for k in self.pixel_formats) if self._deep else self.pixel_formats

    def _yuv(self) -> YuvFormat:
        """How its planes mean colours."""
        return YuvFormat(self._tags.matrix, full_range=False, bit_depth=10 if self._deep else 8)

    def _is_hevc(self) -> bool:
        return self.format.codec_for(self._settings.encoding) == "hevc"

    def open_segment(self, path: Path) -> Encoder:
        return PipeEncoder(self._segment_command(path))

    def _segment_command(self, path: Path) -> list[str]:
        """What makes the file of raw frames that it is given."""
        pictures = RawPictures(
            self._size(),
            self._video.frame_rate,
            self._pixel_formats()[0],
            tuple(self._color_options()),
        )
        options = [*self._encoder_options(), *self._time_scale()]
        options += ["-fflags", "+bitexact", "-flags:v", "+bitexact"]
        command = raw_command
        if self.format.codec is None:
            command = pipe_command(self._settings.encoding)
        return command(pictures, options, self.container, str(path))

    def check_segment(self, path: Path, num_frames: int, samples: Sequence[Sample]) -> None:
        found = len(self._coded(path).pictures)
        if found != num_frames:
            raise EncodeError(f"segment {path.name} holds {found} frames instead of {num_frames}")
        given = {sample.frame: sample for sample in samples}
        for number, frame in self._sampled(path, set(given)):
            sample = given.pop(number)
            try:
                picture = self._read(frame)
            except ValueError as error:
                raise EncodeError(f"{path.name} cannot be shown: {error}") from error
            if problem := self._problem(sample, picture):
                raise EncodeError(f"frame {number} of {path.name} is not what was made: {problem}")
        if given:
            raise EncodeError(f"frame {min(given)} of {path.name} is not there")

    def _sampled(self, path: Path, numbers: set[int]) -> Iterator[tuple[int, Any]]:
        """Those frames, decoded with all that they hold."""
        return sampled_frames(path, numbers)

    def _coded(self, path: Path, *, hashed: bool = False) -> Coded:
        """What `path` holds.

        Raises:
            EncodeError: the file cannot be read.
        """
        facts = inspect_file(path, hashed=hashed)
        return Coded((facts.codec, facts.parameters), facts.packets, facts.sound, facts.digest)

    def _copy_filters(self) -> str:
        """FFmpeg's bitstream filters for coded pictures that are copied."""
        return "null"

    def _filter_options(self) -> list[str]:
        filters = self._copy_filters()
        return [] if filters == "null" else ["-bsf:v", filters]

    def _read(self, frame: object) -> Decoded:
        return shown_picture(frame, self._video.layout, self._video.right_first)

    def _problem(self, sample: Sample, picture: Decoded) -> str | None:
        """What is wrong with a picture, in words."""
        return difference(self._expected(sample), self._shown(picture), self.channels)

    def join(self, segments: Sequence[Path], frames: Sequence[int], target: Path) -> Joined:
        expected = self._coded_pictures(segments)
        folder, plan = segments[0].parent, self._audio(sum(frames))
        names = (f"{target.name}.txt", f"{target.name}.sound.txt", f".sound-{target.name}")
        concat, heard, sound = (folder / name for name in names)
        notes: tuple[str, ...] = ()
        try:
            if plan.tracks:
                notes = self._make_sound(sum(frames), sound)
            with writing(concat):
                concat.write_bytes(concat_list(segments, frames, self._video.frame_rate).encode())
            run_ffmpeg(self._join_command(concat, sound, heard, plan, target), cwd=folder)
            digests = _read_digests(heard) if plan.tracks else ()
        finally:
            for made in (concat, heard, sound):
                with suppress(OSError):  # what it cost is told by then
                    made.unlink(missing_ok=True)
        write_tags(target, self.container, self._spherical(), self._sound_tags(plan))
        found = self._coded(target, hashed=True)
        if (found.said, found.pictures) != (expected.said, expected.pictures):
            raise EncodeError(f"{target.name} does not hold the pictures of its segments")
        if found.sound != digests:
            raise EncodeError(f"{target.name} does not hold the sound that was made for it")
        return Joined(found.digest, notes)

    def cut(self, path: Path, runs: Sequence[Run], like: Path) -> str:
        joined = self._coded(path, hashed=True)
        said = self._coded(like).said
        if said != joined.said:
            raise EncodeError(
                f"{path.name} was made by another encoder than the new segments",
                "make all of the video again",
            )
        ticks = self._ticks if self._ticked else None
        form = Form(like, self.container, self._video.frame_rate, ticks, self._copy_filters())
        cut_movie(path, runs, form)
        for run in runs:
            found = self._coded(run.target)
            if (found.said, found.pictures) != (said, joined.pictures[run.start : run.stop]):
                raise EncodeError(f"{run.target.name} does not hold the pictures of {path.name}")
        assert joined.digest is not None
        return joined.digest

    def _make_sound(self, num_frames: int, path: Path) -> tuple[str, ...]:
        """Write the tracks, as `make_sound` does."""
        assert self.sound is not None
        with sound_in_line(self._video, path.parent, path.name) as source:
            plan = plan_sound(source, self._settings, num_frames, self.sound)
            return make_sound(self._video, plan, self.sound, self.container, path)

    def _join_command(
        self, concat: Path, sound: Path, heard: Path, plan: AudioPlan, target: Path
    ) -> list[str]:
        # What ffmpeg calls safe has no +, which names of formats may have; the list is our own.
        inputs = ["-f", "concat", "-safe", "0", "-auto_convert", "0", "-i", concat.name]
        output = ["-map", "0:v:0", "-c:v", "copy", *self._filter_options(), *self._metadata(plan)]
        digests: list[str] = []
        if plan.tracks:
            # Its clock is the picture's: it must not be moved to begin at 0. To seek would cost its
            # first packet, and channels without places must not be given any.
            inputs = ["-copyts", *inputs, *KNOWN_PLACES_ONLY, "-i", f"file:{sound.name}"]
            copied = ["-map", "1:a", "-c:a", "copy"]
            output += [*copied, *plan.labels]
            # What goes into the file, to be compared with what comes out of it.
            digests = [*copied, "-fflags", "+bitexact", "-f", "streamhash", "-hash", "sha256"]
            digests.append(heard.name)
        return ffmpeg_command(
            *(*inputs, *digests, *output),
            *(*self._time_scale(), *(("-movflags", "+faststart") if self._ticked else ())),
            *("-fflags", "+bitexact", "-f", self.container, f"file:{target}"),
        )

    def _sound_tags(self, plan: AudioPlan) -> tuple[bytes, ...]:
        """The box of each audio track that says that it is a sound field; WebM has no such box."""
        if not self._ticked:
            return ()
        return tuple(b"" if said is None else sa3d_box(said) for said in plan.sound_fields)

    def _coded_pictures(self, segments: Sequence[Path]) -> Coded:
        """What the segments hold, one after the other.

        Raises:
            EncodeError: their parameter sets differ, so that they are no one stream.
        """
        found = [self._coded(segment) for segment in segments]
        if len({coded.said for coded in found}) != 1:
            raise EncodeError(
                f"the segments in {segments[0].parent.name} were made by different encoders",
                "run again with --fresh",
            )
        pictures = tuple(picture for coded in found for picture in coded.pictures)
        return Coded(found[0].said, pictures)

    def _metadata(self, plan: AudioPlan) -> list[str]:
        tags = placeholder_options(self.container, self._spherical(), self._sound_tags(plan))
        options = ["-map_metadata", "-1", *tags]
        if self._is_hevc():
            options += ["-tag:v", "hvc1"]
        if self._video.title:
            options += ["-metadata", f"title={self._video.title}"]
        if self._timecode:
            options += ["-timecode", self._timecode]
        if self._sample_aspect != 1:
            width, height = self._size()
            shape = Fraction(width, height) * self._sample_aspect
            options += ["-aspect", f"{shape.numerator}:{shape.denominator}"]
        return options

    @property
    def _timecode(self) -> str:
        """Of its first frame; empty where the source or its container has none, and where there are
        so few frames that a second has no number for each."""
        video = self._video
        if self.container != "mov" or not video.timecode or round(video.frame_rate) < 1:
            return ""
        frames = video.phase + self._settings.first_frame * video.every
        return counted_on(video.timecode, video.frame_rate * video.every, frames, video.every)

    @property
    def _sample_aspect(self) -> Fraction:
        """Of its pixels; players spread what is not flat by pixels alone."""
        return self._video.sample_aspect if self._picture.projection == "flat" else Fraction(1)

    def _spherical(self) -> SphericalTags:
        """What players are told of its pictures."""
        shown = self._picture
        return SphericalTags(shown.layout, shown.right_first, shown.projection, self._video.pose)

    def overhead_bytes(self, num_frames: int) -> int:
        """What joining takes besides the coded pictures, at the most: index, and sound twice."""
        seconds = float(num_frames / self._video.frame_rate)
        total = _INDEX_BYTES * num_frames + 1_000_000.0
        if self.sound is not None:
            kbps = self.sound.kbps_per_channel(self._settings.encoding)
            for track in self._audio(num_frames).tracks:
                total += 2 * seconds * (track.channels * kbps * 125 + 100 * _INDEX_BYTES)
        return round(total)

    def verify(self, path: Path, num_frames: int) -> str:
        found = inspect_file(path, decode_ends=True, hashed=True)
        if wrong := self._wrong(found, num_frames) or self._sound_tag_problem(path, num_frames):
            raise EncodeError(f"the joined file for {self._video.path} has {wrong}")
        assert found.digest is not None
        return found.digest

    def _wrong(self, found: FileFacts, num_frames: int) -> str | None:
        rate = self._video.frame_rate
        size = self._size()
        late = max((abs(t - k / rate) for k, t in enumerate(found.pts_s)), default=0.0)
        if found.num_frames != num_frames:
            return f"{found.num_frames} frames instead of {num_frames}"
        if found.size != size:
            return f"pictures of {found.size[0]}x{found.size[1]} instead of {size[0]}x{size[1]}"
        if not found.ends or "" in found.ends:
            return "a first or last frame that does not decode"
        for kind in found.ends:
            if kind not in self._pixel_formats():
                return f"{kind} pictures instead of {self._pixel_formats()[0]}"
        if self._is_hevc() and found.codec_tag != "hvc1":
            return f"the tag {found.codec_tag} instead of hvc1"
        # Matroska's time stamps are in milliseconds.
        if late > (1.5 / self._ticks if self._ticked else 0.002):
            return f"a frame {late * 1000:.1f} ms off its time"
        if problem := self._sound_problem(found, num_frames):
            return problem
        if abs(found.sample_aspect / self._sample_aspect - 1) > Fraction(1, size[0]):
            return f"pixels of {found.sample_aspect} instead of {self._sample_aspect}"
        if found.timecode != self._timecode:
            return f"the time code {found.timecode!r} instead of {self._timecode!r}"
        if found.tags != readable(self.container, self._spherical()):
            return "stereo or projection tags that do not read back"
        return None

    def _sound_problem(self, found: FileFacts, num_frames: int) -> str | None:
        plan = self._audio(num_frames)
        if len(found.audio_s) != len(plan.tracks):
            return f"{len(found.audio_s)} audio tracks instead of {len(plan.tracks)}"
        # An audio packet is a whole one.
        slack_s = float(1 / self._video.frame_rate) + (self.sound.packet_s if self.sound else 0.0)
        for begin, end in found.audio_s:
            if abs(begin) > slack_s or abs(end - plan.length_s) > slack_s:
                return f"sound from {begin:.3f} to {end:.3f} s, picture to {plan.length_s:.3f} s"
        return None

    def _sound_tag_problem(self, path: Path, num_frames: int) -> str | None:
        fields = self._audio(num_frames).sound_fields
        if not self._ticked or not any(fields):
            return None
        stored = tuple(ambisonics_of(content) for content in stored_sound_fields(path))
        return None if stored == fields else "tags of a sound field that do not read back"

    def _audio(self, num_frames: int) -> AudioPlan:
        return plan_sound(self._video, self._settings, num_frames, self.sound)

    @property
    def _ticked(self) -> bool:
        """Whether the container's time scale is ours to choose."""
        return self.container != "webm"

    def _time_scale(self) -> list[str]:
        return ["-video_track_timescale", str(self._ticks)] if self._ticked else []

    def _color_options(self) -> list[str]:
        tags = self._tags
        options = ["-color_range", "tv", "-colorspace", tags.matrix]
        if tags.primaries != "unspecified":
            options += ["-color_primaries", tags.primaries]
        if tags.transfer != "unspecified":
            options += ["-color_trc", tags.transfer]
        return options

    def _eyes_by_rows(self, layers: Layers) -> tuple[Tensor | JoinedEyes, JoinedEyes]:
        """As `_eyes_joined`, without a copy of whole pictures."""
        layout, swapped = self._video.layout, self._video.right_first
        alpha = JoinedEyes(layers.matte.alpha, layout, swapped)
        if layers.foreground is None:
            return join_eyes(layers.rgb, layout, swapped), alpha
        return JoinedEyes(layers.foreground, layout, swapped), alpha

    def _eyes_joined(self, layers: Layers) -> tuple[Tensor, Tensor]:
        """(colour, alpha) of whole pictures, ``[T, 3, H, W]`` and ``[T, 1, H, W]``.

        Colour that no stage has touched is a view of the decoded picture, not a copy.
        """
        layout, swapped = self._video.layout, self._video.right_first
        alpha = join_eyes(layers.matte.alpha, layout, swapped)
        colour = layers.rgb if layers.foreground is None else layers.foreground
        return join_eyes(colour, layout, swapped), alpha

    def _fine(self, layers: Layers) -> Tensor | None:
        """What 8 bits leave out of the colour of whole pictures, where the file holds more."""
        if layers.fine is None or not self._deep:
            return None
        return join_eyes(layers.fine, self._video.layout, self._video.right_first)

    def _way(self, device: torch.device) -> Way:
        """What makes its planes there."""
        return way_on(device, self._settings.processing.kernels)


class Transparent(Movie):
    """Kinds with alpha: the colour is straight, and black where alpha is 0."""

    channels: ClassVar[tuple[str, ...]] = ("red", "green", "blue", "alpha")

    def _expected(self, sample: Sample) -> Tensor:
        return torch.cat([sample.subject, sample.alpha], dim=1)

    def _shown(self, picture: Decoded) -> Tensor:
        if picture.alpha is None:
            raise EncodeError(f"a segment of {self._video.path} lost its alpha")
        return torch.cat([grid(picture.rgb, picture.alpha), grid(picture.alpha)], dim=1)


def ticks_per_second(rate: Fraction) -> int:
    """A time scale in which every frame of that rate begins at a whole tick, 0.1 ms or finer."""
    ticks = rate.numerator
    if ticks > _FINEST_TICKS:
        return _FINEST_TICKS
    while ticks < 10_000:
        ticks *= 2
    return ticks


def _read_digests(path: Path) -> tuple[str, ...]:
    """Of a file that ffmpeg wrote as `streamhash`: lines of ``0,a,SHA256=...``, in order."""
    with writing(path):
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    return tuple(line.rpartition("=")[2].lower() for line in lines if not line.startswith("#"))


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
