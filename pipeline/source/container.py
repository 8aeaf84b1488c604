"""Opens a file as an FFmpeg container with care; finds the first frame of a stream.

What cannot be matted is refused here: too many streams, a picture of a size that nobody means.
`shown` is the file's name as messages show it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av

from pipeline.errors import InputError
from pipeline.source.signature import CONTAINERS, Container
from pipeline.text import printable

#: Pixels a side, at most and at least; codecs end there or earlier, and an eye must hold something.
LARGEST_SIDE = 16384
SMALLEST_SIDE = 16
_MOST_STREAMS = 64
_MOST_REFUSED_PACKETS = 600  # at the beginning: as many as a segment has


def open_container(path: Path, shown: str) -> Any:
    """The file as PyAV's container; it can lead to no other file, and to no network."""
    try:
        return av.open(
            f"file:{path}",  # keeps a name like "http:x.mp4" a name
            options={
                "protocol_whitelist": "file,pipe",
                "format_whitelist": ",".join(CONTAINERS),
                "max_streams": str(_MOST_STREAMS + 1),
            },
            metadata_errors="replace",
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{shown} is not a video that FFmpeg can read ({said_by(error)})",
            "it may be damaged; try to play it or to remux it",
        ) from error


def require_container(container: Any, expected: Container, shown: str) -> None:
    """FFmpeg must see what we see: another reader may otherwise see a third thing."""
    if expected not in container.format.name.split(","):
        raise InputError(
            f"{shown} begins like {expected} and goes on like {container.format.name}",
            "leave it out of the input",
        )
    if len(container.streams) > _MOST_STREAMS:
        raise InputError(
            f"{shown} holds more than {_MOST_STREAMS} streams", "remux those that are needed"
        )


def first_frame(path: Path, stream: int, shown: str) -> Any:
    """The first frame that can be decoded, as a decoder that passes over damage finds it.

    The file is opened anew: not every one can be wound back.
    """
    why: av.FFmpegError | None = None
    refused = 0
    with open_container(path, shown) as container:
        picture = container.streams[stream]
        picture.codec_context.thread_count = 1
        picture.codec_context.options = {"max_pixels": str(LARGEST_SIDE**2)}
        packets = container.demux(picture)
        while refused < _MOST_REFUSED_PACKETS:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                for frame in packet.decode():
                    _check_size(frame, shown)
                    return frame
            except av.FFmpegError as error:
                why = error
                refused += 1
    if why is not None:
        raise InputError(
            f"the first frames of {shown} cannot be decoded ({said_by(why)})",
            "it may be damaged; try to play it or to remux it",
        ) from why
    raise InputError(f"{shown} holds no frame that can be decoded", "leave it out of the input")


def said_by(error: BaseException) -> str:
    """What FFmpeg says of its error, in one line."""
    said = getattr(error, "strerror", None) or str(error)  # without errno and the path again
    return printable((said.splitlines() or [type(error).__name__])[0], 200)


def _check_size(frame: Any, shown: str) -> None:
    check_largest(frame, shown)
    if min(frame.width, frame.height) < SMALLEST_SIDE:
        raise InputError(
            f"{shown} has a picture of {frame.width}x{frame.height}",
            f"at least {SMALLEST_SIDE} pixels a side are needed",
        )


def check_largest(picture: Any, shown: str) -> None:
    """Refuse a picture, or a codec, of more pixels a side than any that is meant."""
    if max(picture.width, picture.height) > LARGEST_SIDE:
        raise InputError(
            f"{shown} claims a picture of {picture.width}x{picture.height}",
            f"at most {LARGEST_SIDE} pixels a side can be processed",
        )
