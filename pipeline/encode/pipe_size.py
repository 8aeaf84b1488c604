"""Widens the pipe to an encoder, so that a picture crosses it in fewer, larger parts."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from typing import IO

#: What an ordinary user may ask for where the machine's owner changed nothing
#: (/proc/sys/fs/pipe-max-size); a new pipe has 64 KiB. Measured in docs/benchmarks/016-pipe.md.
PIPE_BYTES = 1 << 20


def widened(pipe: IO[bytes]) -> None:
    """Ask for `PIPE_BYTES`; a pipe that may not grow (EPERM, EBUSY) works as it is."""
    with suppress(OSError):
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
