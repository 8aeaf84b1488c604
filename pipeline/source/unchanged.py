"""Checks that a source is a regular file, and still the one that was probed.

A file that is written on while it is read makes no output.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from pipeline.contract import VideoInfo
from pipeline.errors import InputError
from pipeline.text import printable

_FINGERPRINT_BYTES = 1 << 20


def regular_file(path: Path) -> os.stat_result:
    """The status of a file that can be opened without harm: no pipe, device, socket or folder.

    Raises:
        InputError: it is none.
        OSError: it is not there.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{printable(str(path))} is not a file", "leave it out of the input")
    return status


def require_unchanged(video: VideoInfo) -> None:
    """See to it that the source has still the size and the time of change that the probe saw.

    Raises:
        InputError: it was changed or replaced, or is gone.
        ValueError: `video` names no absolute path, which a decoder could take for an address.
    """
    path = Path(video.path)
    if not path.is_absolute():
        raise ValueError(f"not an absolute path: {video.path!r}")
    shown = printable(video.path)
    try:
        status = regular_file(path)
    except OSError as error:
        raise InputError(
            f"{shown} cannot be read any more: {error.strerror}",
            "bring it back, then run again",
        ) from error
    if (status.st_size, status.st_mtime_ns) != (video.size_bytes, video.mtime_ns):
        raise InputError(
            f"{shown} was changed while it was worked on",
            "let it be whole first, then run again: it begins anew",
        )


def fingerprint(path: Path, size: int) -> str:
    """sha256 of the head and the tail of a file of `size` bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(_FINGERPRINT_BYTES))
        file.seek(max(0, size - _FINGERPRINT_BYTES))
        digest.update(file.read(_FINGERPRINT_BYTES))
    return digest.hexdigest()
