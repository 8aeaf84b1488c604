"""CUDA streams: three for each segment in flight, for its decoder, its stages and its copies.

What is asked of one stream is done in that order, and PyTorch's allocator gives memory back to the
stream that it came from: so stages may hand on, or let go, what is not computed yet, and nobody
waits. TorchCodec decodes onto the stream that is current, too. Between the three, whoever takes
something makes its own stream wait for it, and says so to the allocator. Segments do not wait for
each other. Knows nothing of frames.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from pipeline.flow.device_copies import CudaTransfer, Transfer
from pipeline.flow.overlap import overlap

T = TypeVar("T")


class Lane(Protocol):
    """Where the threads of one segment ask a device for work."""

    @property
    def transfer(self) -> Transfer | None:
        """Takes planes to the host beside the stages' work; None: nothing needs to be taken."""
        ...

    def use(self) -> None:
        """The stages work in this thread from now on."""
        ...

    def decode_ahead(
        self,
        source: Generator[T, None, None],
        depth: int,
        tensors: Callable[[T], Iterable[Tensor]],
        on_thread: Callable[[], None],
    ) -> Generator[T, None, None]:
        """`overlap` for what is decoded: its items are ready for the thread that takes them.

        Args:
            tensors: those of an item, made by the decoder.
        """
        ...


class HostLane:
    """See `Lane`: there is no device, or its work is done when it is asked for."""

    transfer: Transfer | None = None

    def use(self) -> None: ...

    def decode_ahead(
        self,
        source: Generator[T, None, None],
        depth: int,
        tensors: Callable[[T], Iterable[Tensor]],
        on_thread: Callable[[], None],
    ) -> Generator[T, None, None]:
        return overlap(source, depth, on_thread=on_thread)


@dataclass(frozen=True, slots=True)
class Streams:
    """Of one lane at a time. The decoder's goes before: the stages wait for what it does."""

    stages: torch.cuda.Stream
    decoder: torch.cuda.Stream
    copies: torch.cuda.Stream

    @classmethod
    def of(cls, device: torch.device) -> Streams:
        return cls(
            torch.cuda.Stream(device),  # type: ignore[no-untyped-call]
            torch.cuda.Stream(device, priority=-1),  # type: ignore[no-untyped-call]
            torch.cuda.Stream(device),  # type: ignore[no-untyped-call]
        )


class CudaLane:
    """See `Lane`."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self.transfer: Transfer | None = CudaTransfer(streams.copies)

    def use(self) -> None:
        torch.cuda.set_stream(self._streams.stages)

    def decode_ahead(
        self,
        source: Generator[T, None, None],
        depth: int,
        tensors: Callable[[T], Iterable[Tensor]],
        on_thread: Callable[[], None],
    ) -> Generator[T, None, None]:
        def use_decoder() -> None:
            on_thread()
            torch.cuda.set_stream(self._streams.decoder)

        # Memory is given back to the decoder's stream where an item is dropped on the way.
        return self._taken(overlap(_marked(source), depth, on_thread=use_decoder), tensors)

    def _taken(
        self,
        source: Generator[tuple[T, torch.cuda.Event], None, None],
        tensors: Callable[[T], Iterable[Tensor]],
    ) -> Generator[T, None, None]:
        with closing(source):
            for item, made in source:
                stream = self._streams.stages
                stream.wait_event(made)
                for tensor in tensors(item):
                    keep_for(tensor, stream)
                yield item
                del item, made  # not to be held beside the next one


def _marked(source: Generator[T, None, None]) -> Generator[tuple[T, torch.cuda.Event], None, None]:
    """With an event of the current stream, after all that was asked of it for the item."""
    with closing(source):
        for item in source:
            made = torch.cuda.Event()  # type: ignore[no-untyped-call]
            made.record()
            yield item, made
            del item, made


def keep_for(tensor: Tensor, stream: torch.cuda.Stream) -> None:
    """Its memory is given to nobody before what `stream` has been asked for so far is done."""
    tensor.record_stream(stream)


# Streams whose segment has ended. Used again, they bring along the memory that PyTorch keeps for
# each; a new stream for every segment would take new memory.
_idle: list[Streams] = []
_idle_lock = threading.Lock()


@contextmanager
def segment_stream(device: torch.device) -> Iterator[Lane]:
    """Streams of `device` for one segment alone; its stages' is current here until the end."""
    if device.type != "cuda":
        yield HostLane()
        return
    streams = _take(device)
    # A model's weights may still be on their way, and a stream of ours waits for no other.
    for stream in (streams.stages, streams.decoder):
        stream.wait_stream(torch.cuda.default_stream(device))
    try:
        with torch.cuda.stream(streams.stages):
            yield CudaLane(streams)
    finally:
        with _idle_lock:
            _idle.append(streams)


def _take(device: torch.device) -> Streams:
    with _idle_lock:
        for place, streams in enumerate(_idle):
            if streams.stages.device == device:
                return _idle.pop(place)
    return Streams.of(device)
