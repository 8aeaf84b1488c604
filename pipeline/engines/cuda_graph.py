"""CUDA graphs: work that never changes is launched at once, not kernel by kernel.

Knows nothing of networks. Needs a GPU; what uses it takes `Capture` as an argument.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import torch

#: Held while anything is captured. PyTorch allows one capture at a time in a process, and meanwhile
#: its memory must not be given back to the device (`torch.cuda.empty_cache` fails an assertion).
capture_lock = threading.Lock()

# Graphs whose capture could not even be ended. PyTorch's allocator of pinned memory holds pointers
# to them, so they must stay.
_broken: list[torch.cuda.CUDAGraph] = []


class Capture(Protocol):
    """Makes a replay of `work`, to be called with `capture_lock` held."""

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """What does from now on what `work` does.

        Args:
            work: reads and writes the same memory each time, waits for nothing, and has run
                before, so that libraries have what they take at first. It runs without effect.

        Raises:
            RuntimeError: it cannot be captured; `work` itself goes on working.
        """
        ...


def cuda_capture(work: Callable[[], None]) -> Callable[[], None]:
    """See `Capture`. On the current stream, which must not be the default one.

    Other threads may go on with the GPU: only what this one does meanwhile may break the capture.
    `torch.cuda.graph` is not used, because it waits for the whole device and empties its cache.
    """
    torch.cuda.current_stream().synchronize()
    graph = torch.cuda.CUDAGraph()
    pool = torch.cuda.graph_pool_handle()
    with _no_garbage_collection():
        graph.capture_begin(pool, capture_error_mode="thread_local")
        try:
            work()
        except BaseException:
            with suppress(RuntimeError):
                _end(graph, pool)
            raise
        _end(graph, pool)
    return graph.replay


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """What a collection lets go (a decoder's surfaces, memory of the device) voids a capture.

    It would run in whatever thread makes an object too many. `torch.cuda.graph` collects before,
    which does not keep it from collecting meanwhile.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _end(graph: torch.cuda.CUDAGraph, pool: tuple[int, int]) -> None:
    try:
        graph.capture_end()
    except RuntimeError:
        # PyTorch ends the capture first and tells its allocator afterwards, which it does not do
        # where the first fails (CUDAGraph.cpp); from then on it would give no memory back.
        _broken.append(graph)
        with suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
        raise
