"""The source stays what was probed: a file that is written on while it is read makes no output."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import InputError
from pipeline.spec import VideoInfo


def require_unchanged(video: VideoInfo) -> None:
    """See to it that the source has still the size and the time of change that the probe saw.

    Raises:
        InputError: it was changed or replaced, or is gone.
    """
    try:
        status = Path(video.path).stat()
    except OSError as error:
        raise InputError(
            f"{video.path} cannot be read any more: {error.strerror}",
            "bring it back, then run again",
        ) from error
    if (status.st_size, status.st_mtime_ns) != (video.size_bytes, video.mtime_ns):
        raise InputError(
            f"{video.path} was changed while it was worked on",
            "let it be whole first, then run again: it begins anew",
        )
