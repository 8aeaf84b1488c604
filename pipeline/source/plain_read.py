"""Reads a part of a file in the plain way, to tell damage in it from a disk that fails.

FFmpeg's demuxers take a read that fails for the end of the file, where it happens within a packet.
Frames that were lost so would be painted over, or never be known of.
"""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.errors import InputError
from pipeline.text import printable

_CHUNK = 1 << 20
_MOST_BYTES = 64 << 20


def require_readable(path: Path, begin: int, most: int = _MOST_BYTES) -> None:
    """Read up to `most` bytes from `begin`.

    Raises:
        InputError: the disk, or the network behind it, does not give them.
    """
    try:
        with path.open("rb", buffering=0) as file:
            at = max(0, begin)
            while at < begin + most:
                read = len(os.pread(file.fileno(), _CHUNK, at))
                if read == 0:
                    return
                at += read
    except OSError as error:
        raise InputError(
            f"{printable(str(path))} cannot be read any further: {error.strerror}",
            "check the disk that holds it, then run again",
        ) from error
