"""Keeps a worker's memory within its share: drops one segment before the kernel kills it.

A container has no swap, and the kernel's choice of what to end is as good as random.
"""

from __future__ import annotations

import ctypes
import gc
import os
import threading
import time
from collections.abc import Callable

import torch

from pipeline.engines.cuda_graph import capture_lock
from pipeline.errors import ResourceError
from workers.telemetry import resident_bytes

LOOK_EVERY_S = 1.0

# malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGE_BLOCK = 8 << 20

#: After a segment was let go its memory comes back little by little.
REST_S = 10.0


class RamGuard:
    """Looks at the worker's processes now and then; used by all of its lanes.

    Args:
        limit_bytes: what they may hold together; None: whatever they want.
        resident: bytes that they hold.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        limit_bytes: int | None,
        *,
        resident: Callable[[], int] = lambda: resident_bytes(os.getpid()),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit_bytes = limit_bytes
        self._resident = resident
        self._clock = clock
        self._next_look = clock()
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raises ResourceError, in one lane only, when it is too much."""
        if self._limit_bytes is None:
            return
        with self._lock:
            now = self._clock()
            if now < self._next_look:
                return
            self._next_look = now + LOOK_EVERY_S
            used = self._resident()
            if used <= self._limit_bytes:
                return
            self._next_look = now + REST_S
        raise ResourceError(
            f"the worker held {used / 1e9:.1f} GB of memory,"
            f" its share is {self._limit_bytes / 1e9:.1f} GB",
            "raise limits.ram_gb, or take fewer workers or lanes (streaming.lanes)",
        )


def keep_no_large_blocks() -> None:
    """From now on what is freed goes back to the system, but for small blocks.

    For pictures so large that kept blocks, and the holes between them, fill gigabytes; otherwise
    they save the kernel's clearing of pages (`workers.launch.WORKER_ENVIRONMENT`).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc only
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BLOCK)
        mallopt(_M_TOP_PAD, 0)


def give_back_memory() -> None:
    """Give to the system what this process has freed but keeps for itself, on the GPU too."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        with capture_lock:  # another lane's
            torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc only
        trim(0)
