"""CUDA streams: one for each segment in flight, set in all of its threads.

What is asked of one stream is done in that order, and PyTorch's allocator gives memory back to the
stream that it came from: so a stage may hand on, or let go, what is not computed yet, and nobody
waits. TorchCodec decodes onto the stream that is current, too. Segments do not wait for each other.
Knows nothing of frames.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

# Streams whose segment has ended. Used again, they bring along the memory that PyTorch keeps for
# each; a new stream for every segment would take new memory.
_idle: list[torch.cuda.Stream] = []
_idle_lock = threading.Lock()


@contextmanager
def segment_stream(device: torch.device) -> Iterator[Callable[[], None]]:
    """A stream of `device` for one segment alone, current in this thread until the end.

    Yields:
        What makes it current in another thread; to be called there.
    """
    if device.type != "cuda":
        yield lambda: None
        return
    stream = _take(device)
    # A model's weights may still be on their way, and a stream of ours waits for no other.
    stream.wait_stream(torch.cuda.default_stream(device))
    try:
        with torch.cuda.stream(stream):
            yield lambda: torch.cuda.set_stream(stream)
    finally:
        with _idle_lock:
            _idle.append(stream)


def _take(device: torch.device) -> torch.cuda.Stream:
    with _idle_lock:
        for place, stream in enumerate(_idle):
            if stream.device == device:
                return _idle.pop(place)
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
