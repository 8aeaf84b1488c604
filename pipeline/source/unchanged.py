"""Checks that a source is a regular file, and still the one that was probed.

A file that is written on while it is read makes no output. From one run to the next a source is
known by its size, its time of change and its fingerprint, so that it may be copied; within a run it
must also be the very same file.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
from pathlib import Path

from pipeline.contract import VideoInfo
from pipeline.contract.video import Seen
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


def seen_now(path: Path) -> Seen:
    """What tells a file from another one of its name, on this machine and in this run.

    Raises:
        OSError: it is not there.
    """
    return _seen(path.stat())


def _seen(status: os.stat_result) -> Seen:
    return Seen(socket.gethostname(), status.st_ino, status.st_ctime_ns)


def require_unchanged(video: VideoInfo) -> None:
    """See to it that the source is still the file that was probed, and was not written to.

    Its inode must be the same. A later ctime alone comes of a new name or of other permissions as
    well, so the fingerprint decides; likewise on another machine, whose inodes are its own.

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
    same = (status.st_size, status.st_mtime_ns) == (video.size_bytes, video.mtime_ns)
    if not (same and _is_the_same_file(video, path, status)):
        raise InputError(
            f"{shown} was changed while it was worked on",
            "let it be whole first, then run again: it begins anew",
        )


def _is_the_same_file(video: VideoInfo, path: Path, status: os.stat_result) -> bool:
    """Of a file of the same size and time of change."""
    now = _seen(status)
    if video.seen is None or now == video.seen:
        return True
    if now.host == video.seen.host and now.inode != video.seen.inode:
        return False
    try:
        return fingerprint(path, status.st_size) == video.fingerprint
    except OSError:  # it went between the two looks
        return False


def fingerprint(path: Path, size: int) -> str:
    """sha256 of the head and the tail of a file of `size` bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(_FINGERPRINT_BYTES))
        file.seek(max(0, size - _FINGERPRINT_BYTES))
        digest.update(file.read(_FINGERPRINT_BYTES))
    return digest.hexdigest()
