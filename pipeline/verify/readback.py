"""Reads a finished file back: coded pictures with their alpha, times, tags, sound, single frames.

What `verify` and the self-check trust.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipeline.errors import EncodeError
from pipeline.files.hashed_file import HashedFile
from pipeline.vr_tags.in_files import FoundTags, tags_of_frame

_ALLOWED = {"protocol_whitelist": "file,pipe", "format_whitelist": "mov,matroska"}
_BUFFER_BYTES = 1 << 18

#: Where the alpha of a WebM's picture is.
_VP9_ALPHA: Any = "matroska_block_additional"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What was found in a file.

    Attributes:
        pts_s: time stamp of each frame, seconds, in the order of the file.
        packets: sha256 of each coded picture, in that order: of all that a decoder is given of it,
            which is its alpha too where that comes beside it (Matroska's block additions).
        parameters: the codec's parameter sets, as the container holds them.
        codec: by FFmpeg's name.
        codec_tag: the container's four letters ("hvc1"), where it has such.
        alpha_mode: whether the container says that the pictures have alpha (WebM's tag).
        sample_aspect: width of a pixel, as a share of its height.
        timecode: of the first picture; empty where there is none.
        audio_s: (begin, end) of each audio track, seconds.
        sound: sha256 of the coded sound of each audio track, hexadecimal.
        tags: what it says of stereo and projection, seen on its first picture; None if not tried.
        ends: the pixel format of the first and of the last picture, decoded with all of the group
            before it; "" where that failed; None if not tried.
        digest: sha256 of the file as it was read, hexadecimal; None if not asked for.
    """

    pts_s: tuple[float, ...]
    packets: tuple[bytes, ...]
    parameters: bytes
    codec: str
    codec_tag: str
    alpha_mode: bool
    size: tuple[int, int]
    sample_aspect: Fraction
    timecode: str
    audio_s: tuple[tuple[float, float], ...]
    sound: tuple[str, ...]
    tags: FoundTags | None
    ends: tuple[str, str] | None
    digest: str | None = None

    @property
    def num_frames(self) -> int:
        return len(self.pts_s)


def inspect_file(path: Path, *, decode_ends: bool = False, hashed: bool = False) -> FileFacts:
    """Read every packet of `path`; with `decode_ends` decode its first and last frames too.

    Args:
        hashed: give the file's digest; the file is not read a second time for it.

    Raises:
        EncodeError: FFmpeg cannot read it, or it is cut off.
    """
    pts: list[float] = []
    audio: dict[int, tuple[float, float]] = {}
    first_group: list[Any] = []
    last_group: list[Any] = []
    packets: list[bytes] = []
    with opened(path, hashed=hashed) as (container, file):
        (stream,) = container.streams.video
        _require_known(container, path)
        sound = SoundDigests(container)
        tags = {key.lower(): value for key, value in stream.metadata.items()}
        tracks = [s.index for s in container.streams.audio]
        for packet in container.demux():
            if packet.pts is None or packet.size == 0 or packet.time_base is None:
                continue
            if packet.is_corrupt:
                raise EncodeError(f"{path.name} is cut off")
            sound.feed(packet)
            if packet.stream_index in tracks:
                _note_times(audio, packet)
            elif packet.stream_index == stream.index:
                pts.append(float(packet.pts * packet.time_base))
                packets.append(_digest_of(packet))
                if decode_ends:
                    if packet.is_keyframe:
                        last_group.clear()
                    last_group.append(packet)
                    if not first_group:
                        first_group.append(packet)
        context: Any = stream.codec_context
        ends = said = None
        if decode_ends and pts:
            decoder = _decoder(stream)
            first, last = (_last_frame(decoder, group) for group in (first_group, last_group))
            ends = (_format_of(first), _format_of(last))
            # By the stream's own decoder: another one does not know what the container says.
            first = _last_frame(stream.codec_context, first_group)
            said = tags_of_frame({} if first is None else first.side_data, stream.metadata)
        return FileFacts(
            tuple(pts),
            tuple(packets),
            bytes(context.extradata or b""),
            context.name,
            str(context.codec_tag),
            tags.get("alpha_mode") == "1",
            (context.width, context.height),
            Fraction(stream.sample_aspect_ratio or 1),
            tags.get("timecode", ""),
            tuple(audio.get(index, (0.0, 0.0)) for index in tracks),
            sound.found(),
            said,
            ends,
            None if file is None else file.digest(),
        )


def _require_known(container: Any, path: Path) -> None:
    """Raises EncodeError: a track of the file is none that can be read back."""
    for stream in container.streams:
        # FFmpeg has no codec for QuickTime's time codes.
        known = stream.type in ("video", "audio") and stream.codec_context is not None
        if not known and stream.type != "data":
            raise EncodeError(f"track {stream.index} of {path.name} cannot be read back")


class SoundDigests:
    """Digests of what each audio track of a container holds, packet after packet.

    Of one track's packets together: where one ends and the next begins is the container's affair
    for PCM. The same as ffmpeg's `streamhash` says of what goes into a file.
    """

    def __init__(self, container: Any) -> None:
        self._tracks = {stream.index: hashlib.sha256() for stream in container.streams.audio}

    def feed(self, packet: Any) -> None:
        """Take a packet of any stream."""
        if (track := self._tracks.get(packet.stream_index)) is not None:
            track.update(packet)

    def found(self) -> tuple[str, ...]:
        """In the order of the tracks, hexadecimal."""
        return tuple(track.hexdigest() for track in self._tracks.values())


def _digest_of(packet: Any) -> bytes:
    """Of a coded picture: sha256 of whether it is a keyframe, of its bytes and of its alpha's."""
    digest = hashlib.sha256(bytes([bool(packet.is_keyframe)]))
    parts = [packet]
    if packet.has_sidedata(_VP9_ALPHA):
        parts.append(packet.get_sidedata(_VP9_ALPHA))
    for part in parts:
        digest.update(part.buffer_size.to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def sound_times(path: Path) -> tuple[tuple[float, float], ...]:
    """(begin, end) of each audio track of a file, seconds, by its packets.

    Raises:
        EncodeError: FFmpeg cannot read it, or it is cut off.
    """
    audio: dict[int, tuple[float, float]] = {}
    with opened(path) as (container, _):
        tracks = [stream.index for stream in container.streams.audio]
        for packet in container.demux(container.streams.audio) if tracks else ():
            if packet.is_corrupt:
                raise EncodeError(f"{path.name} is cut off")
            _note_times(audio, packet)
    return tuple(audio.get(index, (0.0, 0.0)) for index in tracks)


def _note_times(audio: dict[int, tuple[float, float]], packet: Any) -> None:
    if packet.pts is None or packet.size == 0 or packet.time_base is None:
        return
    begin = float(packet.pts * packet.time_base)
    end = begin + float((packet.duration or 0) * packet.time_base)
    old = audio.get(packet.stream_index, (begin, end))
    audio[packet.stream_index] = (min(old[0], begin), max(old[1], end))


def packet_sizes(path: Path) -> list[tuple[int, bool]]:
    """Bytes of each coded picture, its alpha included, and whether it is a keyframe.

    Raises:
        EncodeError: FFmpeg cannot read the file.
    """
    sizes = []
    with opened(path) as (container, _):
        (stream,) = container.streams.video
        for packet in container.demux(stream):
            if packet.pts is not None and packet.size:
                size = packet.size
                if packet.has_sidedata(_VP9_ALPHA):
                    size += packet.get_sidedata(_VP9_ALPHA).buffer_size
                sizes.append((size, bool(packet.is_keyframe)))
    return sizes


def sampled_frames(path: Path, numbers: set[int]) -> Iterator[tuple[int, Any]]:
    """The frames of those numbers, decoded from the keyframe before each.

    Raises:
        EncodeError: FFmpeg cannot read the file, or one of them does not decode.
    """
    with opened(path) as (container, _):
        (stream,) = container.streams.video
        group: list[Any] = []
        number = -1
        for packet in container.demux(stream):
            if packet.pts is None or packet.size == 0:
                continue
            number += 1
            if packet.is_keyframe:
                group.clear()
            group.append(packet)
            if number in numbers:
                frame = _last_frame(_decoder(stream), group)
                if frame is None:
                    raise EncodeError(f"frame {number} of {path.name} does not decode")
                yield number, frame


@contextmanager
def opened(path: Path, *, hashed: bool = False) -> Iterator[tuple[Any, HashedFile | None]]:
    """A file as PyAV's container; with `hashed` also what tells its digest once it was read.

    Raises:
        EncodeError: FFmpeg cannot read it.
    """
    import av

    try:
        with ExitStack() as open_files:
            file = open_files.enter_context(HashedFile(path)) if hashed else None
            source = f"file:{path}" if file is None else file
            container = open_files.enter_context(
                av.open(source, options=_ALLOWED, buffer_size=_BUFFER_BYTES)
            )
            yield container, file
    except (av.FFmpegError, OSError, ValueError) as error:
        raise EncodeError(f"cannot read back {path.name}: {error}") from error


def _format_of(frame: Any) -> str:
    return "" if frame is None else str(frame.format.name)


def _decoder(stream: Any) -> Any:
    """A decoder that keeps alpha."""
    import av

    if stream.codec_context.name == "vp9":  # FFmpeg's own decoder drops it
        return av.CodecContext.create("libvpx-vp9", "r")
    return stream.codec_context


def _last_frame(decoder: Any, packets: Sequence[Any]) -> Any:
    """The last frame of packets that begin with a keyframe; None unless all of them decode.

    One frame is held at a time: a group of 8K pictures would be gigabytes. The decoder may be used
    again.
    """
    count, last = 0, None
    for packet in (*packets, None):
        for frame in decoder.decode(packet):
            count, last = count + 1, frame
    decoder.flush_buffers()
    return last if count == len(packets) else None
