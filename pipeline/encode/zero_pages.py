"""Gives memory back to the system that was cleared and never used.

libvpx clears buffers for the worst picture it could meet when it is opened, 1.7 GB at 8192x4096,
and writes to a few per cent of them. A page that holds zeros reads as zeros again when it has been
given back: nobody can tell, and it takes no room until it is written to.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

_STEP = 1 << 20
_MADV_DONTNEED = 4  # linux/mman.h: private anonymous pages then read as zeros
_ANONYMOUS = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) rw-p 00000000 00:00 0 +(?:\[heap\])?$", re.MULTILINE
)


def give_back_zeros() -> int:
    """Give back whole MiB of this process's memory that hold nothing but zeros; how many bytes.

    Raises:
        RuntimeError: there is another thread; it might write to a page just when that is dropped.
    """
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise RuntimeError("memory can be given back by a process with one thread only")
    libc = ctypes.CDLL(None)
    libc.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    zeros = ctypes.create_string_buffer(_STEP)
    given = 0
    for low, high in _ANONYMOUS.findall(Path("/proc/self/maps").read_text(encoding="utf-8")):
        for address in range(int(low, 16), int(high, 16) - _STEP + 1, _STEP):
            if libc.memcmp(address, zeros, _STEP) != 0:
                continue
            # Where it is refused (locked memory) the pages stay, as they would have.
            if libc.madvise(address, _STEP, _MADV_DONTNEED) == 0:
                given += _STEP
    return given
