"""Reads the packets of a file without decoding: when each frame and each sound plays."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from pipeline.errors import InputError
from pipeline.source.container import said_by
from pipeline.source.frame_index import FrameIndex, build_index

_LONGEST_GAP_S = 3600.0
_MOST_FRAMES_PER_FRAME = 100  # output frames that one frame of the file may stand for, on average
_HIGHEST_RATE = 1000  # WebM's time stamps are in milliseconds
_LATEST_BEGIN_S = 1e10  # a clock that counts from 1970 is at 1.8e9


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """Of a file's picture and sounds; ticks are those of the picture's stream.

    Attributes:
        pts: of each frame, in ticks, ascending.
        keyframes: the places in `pts` where decoding can begin.
        seek_ticks: for each of `keyframes`, the tick at which a demuxer finds it.
        last_duration: ticks that the last frame is shown; 0 where the file does not say.
        audio_s: by stream, when its first packet begins and its last ends, in seconds of the
            file's clock; streams without a packet, or of an unknown codec, are not in it.
    """

    pts: np.ndarray[Any, np.dtype[np.int64]]
    keyframes: np.ndarray[Any, np.dtype[np.int64]]
    seek_ticks: np.ndarray[Any, np.dtype[np.int64]]
    last_duration: int
    audio_s: dict[int, tuple[float, float]]


def scan_packets(container: Any, stream: Any, shown: str) -> Packets:
    """Read every packet of the picture's `stream` and of the sounds, without decoding.

    Raises:
        InputError: there is none of the picture's.
    """
    stamps: dict[int, tuple[int, bool, int]] = {}  # pts -> (seek tick, keyframe, duration)
    audio_s: dict[int, tuple[float, float]] = {}
    sound = [s for s in container.streams.audio if s.codec_context is not None]
    try:
        for packet in container.demux([stream, *sound]):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is None or packet.size == 0:
                continue
            if packet.stream is not stream:
                begin = float(stamp * packet.time_base)
                end = begin + float((packet.duration or 0) * packet.time_base)
                old = audio_s.get(packet.stream_index, (begin, end))
                audio_s[packet.stream_index] = (min(old[0], begin), max(old[1], end))
            elif not packet.is_discard:
                seek = min(stamp, packet.dts) if packet.dts is not None else stamp
                stamps[stamp] = (seek, packet.is_keyframe, packet.duration or 0)
    except av.FFmpegError as error:
        if not stamps:
            raise InputError(f"{shown} cannot be read ({said_by(error)})") from error
        # A cut-off file: what came before the cut is whole.
    if not stamps:
        raise InputError(f"{shown} holds no frames", "leave it out of the input")
    ordered = sorted(stamps)
    keyframes = [i for i, stamp in enumerate(ordered) if stamps[stamp][1]]
    return Packets(
        pts=np.asarray(ordered, dtype=np.int64),
        keyframes=np.asarray(keyframes, dtype=np.int64),
        seek_ticks=np.asarray([stamps[ordered[i]][0] for i in keyframes], dtype=np.int64),
        last_duration=stamps[ordered[-1]][2],
        audio_s=audio_s,
    )


def index_of_packets(packets: Packets, stream: Any, shown: str) -> FrameIndex:
    """The frame index of the picture's `stream`.

    Raises:
        InputError: the time stamps are none that a person can have meant.
    """
    time_base = stream.time_base or Fraction(1, 1000)
    advice = "its time stamps are damaged: remux it, or cut it there"
    # In float: two stamps may lie further apart than an int64 holds.
    seconds = packets.pts.astype(np.float64) * float(time_base)
    if not abs(seconds[0]) < _LATEST_BEGIN_S:
        raise InputError(f"{shown} begins at {seconds[0]:.3g} s of its own clock", advice)
    gaps = np.diff(seconds)
    if len(gaps) and gaps.max() > _LONGEST_GAP_S:
        frame = int(gaps.argmax())
        raise InputError(
            f"{shown} leaps by {gaps[frame] / 3600:.3g} hours after frame {frame}", advice
        )
    index = build_index(
        packets.pts,
        packets.keyframes,
        packets.seek_ticks,
        packets.last_duration,
        time_base,
        [r for r in (stream.average_rate, stream.base_rate) if r],
    )
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
