"""Give a file its final name, once it is whole, so that it outlives a power cut."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from pipeline.errors import ResourceError


def publish(draft: Path, target: Path) -> None:
    """fsync `draft`, rename it to `target` (replacing it), fsync the folder.

    Raises:
        ResourceError: the disk is full, or cannot be written any more.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _resource_error(error, target) from error


def _resource_error(error: OSError, target: Path) -> ResourceError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(f"no room left for {target}", "free some space, then run again")
    return ResourceError(f"cannot write {target}: {error.strerror}", "check the output folder")
