"""Finds out whether two packets of one time stamp are two frames, or the parts of one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import av

from pipeline.source.container import open_container
from pipeline.source.timing.recordings import Packet
from pipeline.text import printable

_MOST_PACKETS = 600  # that a decoder may want before it gives the second picture


def two_pictures(
    path: Path, stream: int, parts: Sequence[Sequence[Packet]], pair: tuple[Packet, Packet]
) -> bool:
    """Decode them.

    The two fields of a picture may come as two packets; so do two frames that a program wrote down
    at one time. Where neither can be decoded they count, as packets that are damaged do.

    Args:
        parts: the recordings, see `in_recordings`.
        pair: two packets of one time in one of them.
    """
    wanted = pair[0].tick
    numbers = [packet.number for packet in pair]
    keys = (p.number for part in parts for p in part if p.keyframe and p.number <= min(numbers))
    first, pictures, number = max(keys, default=0), 0, -1
    with open_container(path, printable(str(path))) as container:
        picture = container.streams[stream]
        picture.codec_context.thread_count = 1
        for packet in container.demux(picture):
            number += bool(packet.size)
            if number < first:
                continue
            with suppress(av.FFmpegError):
                pictures += sum(frame.pts == wanted for frame in packet.decode())
            if pictures > 1 or number > max(numbers) + _MOST_PACKETS:
                break
    return pictures != 1
