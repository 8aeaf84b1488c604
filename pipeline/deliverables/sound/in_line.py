"""Gives the sound of a file whose clock leaps a clock that does not, as the picture has it.

ffmpeg bridges leaps too, but each stream's by itself: after some of them sound and picture would
be apart. The packets are copied, with their times changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer

from pipeline.contract import VideoInfo
from pipeline.errors import EncodeError, SoundFault
from pipeline.files.disk import writing
from pipeline.source.container import open_container, said_by
from pipeline.source.sound.clock import SoundClock
from pipeline.text import printable

_BEGIN_S = 10  # where the picture begins in the copy: sound may begin before it


@contextmanager
def sound_in_line(video: VideoInfo, folder: Path, name: str) -> Iterator[VideoInfo]:
    """The video whose sound is to be read: itself, or a copy of its tracks in `folder`, for a time.

    Raises:
        SoundFault: tracks cannot be copied; nothing is wrong with the picture.
        EncodeError: the source could not be read to its end.
        DiskError: the copy cannot be written.
    """
    if not any(track.shifts_s for track in video.audio):
        yield video
        return
    copy = folder / f"{name}.sound.mkv"
    try:
        with writing(copy):
            _copy(video, copy)
        yield replace(video, path=str(copy), begin_s=float(_BEGIN_S))
    finally:
        with suppress(OSError):
            copy.unlink()


def _copy(video: VideoInfo, target: Path) -> None:
    shown = printable(video.path)
    # By stream: when the last packet begins, and until when all play, counted by their lengths.
    played: dict[int, tuple[int, int]] = {}
    clocks = {track.stream: SoundClock() for track in video.audio}
    shifts = {track.stream: track.shifts_s for track in video.audio}
    with (
        open_container(Path(video.path), shown) as source,
        av.open(str(target), "w", format="matroska") as out,
    ):
        tracks = [source.streams[track.stream] for track in video.audio]
        # Streams keep their numbers, by which messages name them; others stay empty.
        copies = {}
        for number in range(max(clocks) + 1):
            like = source.streams[number] if number in clocks else tracks[0]
            with _held(like.index):
                copies[number] = out.add_stream_from_template(like)
        for packet in _packets(source, tracks, shown):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is None or not packet.size or packet.time_base is None:
                continue
            begin_s = float(stamp * packet.time_base)
            length_s = float((packet.duration or 0) * packet.time_base)
            stretch = clocks[packet.stream_index].note(begin_s, begin_s + length_s)
            own = shifts[packet.stream_index]
            shift_s = (own[stretch] if stretch < len(own) else 0.0) + _BEGIN_S - video.begin_s
            shift = round(Fraction(shift_s) / packet.time_base)
            length = packet.duration or 0
            begin = stamp + shift
            # A recording's sound may begin while the last one's still plays.
            last, until = played.get(packet.stream_index, (begin - 1, begin))
            if begin < until - length // 2 or begin <= last:
                continue
            played[packet.stream_index] = begin, max(begin, until) + length
            packet.pts = begin
            packet.dts = packet.pts
            packet.stream = copies[packet.stream_index]
            with _held(*clocks):  # the first packet's call writes the header, which is of all
                out.mux(packet)


def _packets(
    source: InputContainer, tracks: Sequence[av.stream.Stream], shown: str
) -> Iterator[av.Packet[av.stream.Stream]]:
    try:
        yield from source.demux(tracks)
    except av.FFmpegError as error:
        raise EncodeError(f"the sound of {shown} cannot be read ({said_by(error)})") from error


@contextmanager
def _held(*streams: int) -> Iterator[None]:
    """Tell what the copy cannot hold, by streams of the source, from what its disk cannot."""
    try:
        yield
    except OSError:
        raise
    except (av.FFmpegError, ValueError) as error:
        why = f"it cannot be copied ({said_by(error)})"
        raise SoundFault(
            "some of its sound cannot be had", "", dict.fromkeys(streams, why)
        ) from error
