"""Read an MP4 or MOV back: frames, times, parameter sets, tags, sound. What `verify` trusts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import EncodeError

_ALLOWED = {"protocol_whitelist": "file,pipe", "format_whitelist": "mov"}


@dataclass(frozen=True, slots=True)
class MovieFacts:
    """What was found in a file.

    Attributes:
        pts_s: time stamp of each frame, seconds, in the order of the file.
        packets: sha256 of each coded picture, in that order.
        parameters: the codec's parameter sets, as the container holds them.
        codec, pixel_format: by FFmpeg's names.
        codec_tag: the container's four letters ("hvc1").
        color: (matrix, primaries, transfer, range) by FFmpeg's numbers.
        audio_s: (begin, end) of each audio track, seconds.
        ends: whether the first picture and the last group of pictures decode; None if not tried.
    """

    pts_s: tuple[float, ...]
    packets: tuple[bytes, ...]
    parameters: bytes
    codec: str
    pixel_format: str
    codec_tag: str
    size: tuple[int, int]
    color: tuple[int, int, int, int]
    audio_s: tuple[tuple[float, float], ...]
    ends: bool | None

    @property
    def num_frames(self) -> int:
        return len(self.pts_s)


def inspect_movie(path: Path, *, decode_ends: bool = False) -> MovieFacts:
    """Read every packet of `path`; with `decode_ends` decode its first and last frames too.

    Raises:
        EncodeError: FFmpeg cannot read it, or it is cut off.
    """
    import av

    pts: list[float] = []
    audio: dict[int, tuple[float, float]] = {}
    first_group: list[Any] = []
    last_group: list[Any] = []
    packets: list[bytes] = []
    try:
        with av.open(f"file:{path}", options=_ALLOWED) as container:
            (stream,) = container.streams.video
            tracks = [s.index for s in container.streams.audio]
            for packet in container.demux():
                if packet.pts is None or packet.size == 0 or packet.time_base is None:
                    continue
                if packet.is_corrupt:
                    raise EncodeError(f"{path.name} is cut off")
                seconds = float(packet.pts * packet.time_base)
                if packet.stream_index in tracks:
                    end = seconds + float((packet.duration or 0) * packet.time_base)
                    old = audio.get(packet.stream_index, (seconds, end))
                    audio[packet.stream_index] = (min(old[0], seconds), max(old[1], end))
                elif packet.stream_index == stream.index:
                    pts.append(seconds)
                    packets.append(hashlib.sha256(packet).digest())
                    if decode_ends:
                        if packet.is_keyframe:
                            last_group.clear()
                        last_group.append(packet)
                        if not first_group:
                            first_group.append(packet)
            context: Any = stream.codec_context
            facts = MovieFacts(
                tuple(pts),
                tuple(packets),
                bytes(context.extradata or b""),
                context.name,
                str(context.pix_fmt),
                str(context.codec_tag),
                (context.width, context.height),
                (
                    int(context.colorspace),
                    int(context.color_primaries),
                    int(context.color_trc),
                    int(context.color_range),
                ),
                tuple(audio.get(index, (0.0, 0.0)) for index in tracks),
                _decodes(context, [first_group, last_group]) if decode_ends and pts else None,
            )
    except (av.FFmpegError, ValueError) as error:
        raise EncodeError(f"cannot read back {path.name}: {error}") from error
    return facts


def _decodes(context: Any, groups: Sequence[list[Any]]) -> bool:
    return all(decode_group(context, group)[0] == len(group) for group in groups)


def decode_group(context: Any, packets: Sequence[Any]) -> tuple[int, Any]:
    """(number of frames, the last one) of packets that begin with a keyframe.

    One frame is held at a time: a group of 8K pictures would be gigabytes. The decoder may be used
    again.
    """
    count, last = 0, None
    for packet in (*packets, None):
        for frame in context.decode(packet):
            count, last = count + 1, frame
    context.flush_buffers()
    return count, last
