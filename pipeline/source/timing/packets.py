"""Reads the packets of a file without decoding: when each frame and each sound plays."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from pipeline.errors import InputError
from pipeline.source.container import said_by
from pipeline.source.plain_read import require_readable
from pipeline.source.sound.packets import SoundPackets
from pipeline.source.sound.trial import Room, Samples
from pipeline.source.timing.frame_index import FrameIndex, build_index
from pipeline.source.timing.recordings import (
    Frames,
    Packet,
    doubled,
    frames_in_order,
    in_recordings,
    without_doubles,
)
from pipeline.source.timing.two_pictures import two_pictures

_LONGEST_GAP_S = 3600.0
_MOST_FRAMES_PER_FRAME = 100  # output frames that one frame of the file may stand for, on average
_HIGHEST_RATE = 1000  # WebM's time stamps are in milliseconds
_LATEST_BEGIN_S = 1e10  # a clock that counts from 1970 is at 1.8e9
_UNSTAMPED = Fraction(1, 30)  # how long a frame lasts where nothing says it

#: What FFmpeg's demuxers say at a file's end, and where the data are no longer of the format.
_ENDS = (av.EOFError, av.InvalidDataError)

#: Containers whose clock may leap forward where another recording begins; elsewhere a gap is one.
_CLOCKS_THAT_LEAP = ("mpegts",)


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """Of a file's picture and sounds.

    Attributes:
        picture: those that hold pictures, in the order of the file.
        count: all packets of the picture's stream, with those that are not shown.
        sounds: by stream; streams without a packet, or of an unknown codec, are not in it.
    """

    picture: list[Packet]
    count: int
    sounds: dict[int, SoundPackets] = field(default_factory=dict)


def scan_packets(path: Path, container: Any, stream: Any, shown: str) -> Packets:
    """Read every packet of the picture's `stream` and of the sounds, without decoding.

    Args:
        path: of the file that is open as `container`.

    Raises:
        InputError: there is none of the picture's, or the file cannot be read to its end.
    """
    picture: list[Packet] = []
    sounds: dict[int, SoundPackets] = {}
    room = Room()
    sound = [s for s in container.streams.audio if s.codec_context is not None]
    time_base = stream.time_base or Fraction(1, 1000)
    count = ends_at = 0
    tick = 0
    try:
        for packet in container.demux([stream, *sound]):
            ends_at = max(ends_at, (packet.pos or 0) + packet.size)
            stamp = packet.pts if packet.pts is not None else packet.dts
            if packet.stream is not stream:
                if stamp is not None and packet.size:
                    begin = float(stamp * packet.time_base)
                    length = float((packet.duration or 0) * packet.time_base)
                    if packet.stream_index not in sounds:
                        sounds[packet.stream_index] = SoundPackets(Samples(room))
                    sounds[packet.stream_index].add(begin, begin + length, packet)
                continue
            if packet.size:
                count += 1
            if packet.size == 0 or packet.is_discard:
                continue
            if stamp is None:  # a frame all the same: after the one before it
                stamp = tick + (packet.duration or round(_UNSTAMPED / time_base))
            tick = stamp
            offset = -1 if packet.pos is None else packet.pos
            duration = packet.duration or 0
            picture.append(
                Packet(count - 1, stamp, packet.dts, packet.is_keyframe, duration, offset)
            )
    except _ENDS as error:
        if not picture:
            raise InputError(f"{shown} cannot be read ({said_by(error)})") from error
        # A cut-off file: what came before the cut is whole.
    except av.FFmpegError as error:
        raise InputError(
            f"{shown} cannot be read any further after frame {len(picture)} ({said_by(error)})",
            "check the disk that holds it, then run again",
        ) from error
    # FFmpeg takes an error within a packet for the end of the file.
    require_readable(path, ends_at)
    if not picture:
        raise InputError(f"{shown} holds no frames", "leave it out of the input")
    return Packets(picture, count, sounds)


def frames_of(packets: Packets, path: Path, container: Any, stream: Any, shown: str) -> Frames:
    """The frames of the picture's `stream`, in order.

    Raises:
        InputError: the time stamps are none that a person can have meant.
    """
    time_base = stream.time_base or Fraction(1, 1000)
    advice = "its time stamps are damaged: remux it, or cut it there"
    parts = in_recordings(
        packets.picture,
        time_base,
        resets=any(name in _CLOCKS_THAT_LEAP for name in container.format.name.split(",")),
        sound_leaps=[sound.clock.leaps for sound in packets.sounds.values()],
    )
    if (pair := doubled(parts)) and not two_pictures(path, stream.index, parts, pair):
        parts = without_doubles(parts)
    try:
        frames = frames_in_order(parts, time_base)
    except ValueError as error:
        raise InputError(f"{shown}: {error}", advice) from error
    # In float: two stamps may lie further apart than an int64 holds.
    seconds = frames.pts.astype(np.float64) * float(frames.time_base)
    if not abs(seconds[0]) < _LATEST_BEGIN_S:
        raise InputError(f"{shown} begins at {seconds[0]:.3g} s of its own clock", advice)
    gaps = np.diff(seconds)
    if len(gaps) and gaps.max() > _LONGEST_GAP_S:
        frame = int(gaps.argmax())
        raise InputError(
            f"{shown} leaps by {gaps[frame] / 3600:.3g} hours after frame {frame}", advice
        )
    return frames


def index_of_frames(frames: Frames, stream: Any, shown: str) -> FrameIndex:
    """The frame index of the picture's `stream`.

    Raises:
        InputError: the frame rate is none that a person can have meant.
    """
    advice = "its time stamps are damaged: remux it, or cut it there"
    index = build_index(frames, [r for r in (stream.average_rate, stream.base_rate) if r])
    if index.num_frames > _MOST_FRAMES_PER_FRAME * len(index.pts):
        raise InputError(
            f"{shown} claims {index.num_frames} frames at {float(index.frame_rate):.3f} frames/s,"
            f" but holds {len(index.pts)}",
            advice,
        )
    if index.frame_rate > _HIGHEST_RATE:
        raise InputError(
            f"{shown} claims {float(index.frame_rate):.0f} frames a second",
            f"at most {_HIGHEST_RATE} can be processed",
        )
    return index
