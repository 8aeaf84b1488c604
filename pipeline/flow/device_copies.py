"""Copies from a GPU to the host and back by pinned buffers, without a thread that waits.

A copy is begun by the thread that made the data, and waited for by the one that needs it. Tensors
on the CPU pass through as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from threading import Condition
from typing import Protocol

import torch
from torch import Tensor

from pipeline.structlog_import import structlog

_log = structlog.get_logger()


#: Entered while a thread waits for another one, or for the device.
Waiting = Callable[[], AbstractContextManager[None]]


class Done(Protocol):
    """Tells when a copy is complete."""

    def synchronize(self) -> None: ...


class Transfer(Protocol):
    """How data leaves a device."""

    def is_needed(self, data: Tensor) -> bool:
        """Whether the host cannot read them where they are."""
        ...

    def buffer(self, num_bytes: int) -> Tensor:
        """Memory on the host, uint8 ``[num_bytes]``, that a copy can be made into."""
        ...

    def begin(self, data: Tensor, target: Tensor) -> Done:
        """Begin to copy `data` into `target`, of the same shape, after the work asked for so far.

        `target` must stay until it is done; `data` may be let go.
        """
        ...

    def mark(self) -> Done:
        """Tells when the work asked for so far is done."""
        ...


class CudaTransfer:
    """See `Transfer`.

    Args:
        stream: does the copies while the current stream goes on; None: the current one does.
    """

    def __init__(self, stream: torch.cuda.Stream | None = None) -> None:
        self._stream = stream

    def is_needed(self, data: Tensor) -> bool:
        return data.is_cuda

    def buffer(self, num_bytes: int) -> Tensor:
        try:
            return torch.empty(num_bytes, dtype=torch.uint8, pin_memory=True)
        except RuntimeError as error:
            # The system allows no more of it. Copies into other memory are as right, and slower.
            reason = (str(error).splitlines() or [""])[0]
            _log.warning("no_pinned_memory", bytes=num_bytes, reason=reason)
            return torch.empty(num_bytes, dtype=torch.uint8)

    def begin(self, data: Tensor, target: Tensor) -> Done:
        if self._stream is None:
            target.copy_(data, non_blocking=True)
            return self.mark()
        self._stream.wait_stream(torch.cuda.current_stream(data.device))
        with torch.cuda.stream(self._stream):
            target.copy_(data, non_blocking=True)
            done = self.mark()
        data.record_stream(self._stream)
        return done

    def mark(self) -> Done:
        # One that is waited for by sleeping: the cores are the encoders'.
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record()
        return done


class HostCopy:
    """A tensor that is where it is wanted, or on its way there. Used once, by one thread."""

    def __init__(
        self,
        data: Tensor,
        done: Done | None = None,
        used: Callable[[], None] = lambda: None,
        waiting: Waiting = nullcontext,
    ) -> None:
        self._data = data
        self._done = done
        self._used = used
        self._waiting = waiting

    def __len__(self) -> int:
        return self._data.shape[0]

    @contextmanager
    def arrived(self) -> Iterator[Tensor]:
        """The tensor, when it is there; afterwards its memory is another's."""
        if self._done is not None:
            with self._waiting():
                self._done.synchronize()
        yield self._data
        self._used()


class HostRing:
    """Copies to the host of one kind of tensor. One thread begins them, one uses them, in order.

    Args:
        slots: copies that may be begun and not used yet; the next one waits.
        stays: whoever uses the tensors takes them where they are, when they are ready.
    """

    def __init__(
        self,
        slots: int,
        transfer: Transfer | None = None,
        *,
        stays: bool = False,
        waiting: Waiting = nullcontext,
    ) -> None:
        self._slots = slots
        self._stays = stays
        self._waiting = waiting
        self._transfer = CudaTransfer() if transfer is None else transfer
        self._changed = Condition()
        self._in_use = 0
        self._idle: list[Tensor] = []
        self._closed = False

    def begin(self, data: Tensor) -> HostCopy:
        """Begin to copy `data`, which on the CPU is done already.

        Raises:
            RingClosed: nobody wants it any more.
        """
        if not self._transfer.is_needed(data):
            return HostCopy(data)
        with self._waiting(), self._changed:
            self._changed.wait_for(lambda: self._closed or self._in_use < self._slots)
            if self._closed:
                raise RingClosed
            self._in_use += 1
            memory = self._idle.pop() if self._idle else None
        if self._stays:
            done = self._transfer.mark()
            return HostCopy(data, done, partial(self._used, None), self._waiting)
        num_bytes = data.numel() * data.element_size()
        if memory is None or len(memory) < num_bytes:
            memory = self._transfer.buffer(num_bytes)
        target = memory[:num_bytes].view(data.dtype).view(data.shape)
        done = self._transfer.begin(data, target)
        return HostCopy(target, done, partial(self._used, memory), self._waiting)

    def close(self) -> None:
        """No copy will be used any more: whoever waits to begin one stops waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _used(self, memory: Tensor | None) -> None:
        with self._changed:
            self._in_use -= 1
            if memory is not None:
                self._idle.append(memory)
            self._changed.notify_all()


class RingClosed(Exception):
    """The thread that used the copies has ended."""


def settle(device: torch.device) -> None:
    """Wait, asleep, until the current stream has done what it was asked for so far."""
    if device.type == "cuda":
        CudaTransfer().mark().synchronize()


def to_device(data: Tensor, device: torch.device) -> Tensor:
    """`data` on `device`; from the host it goes its own way while this thread goes on.

    PyTorch keeps the pinned memory until the copy is made.
    """
    if device.type != "cuda" or data.is_cuda:
        return data.to(device)
    try:
        pinned = torch.empty(data.shape, dtype=data.dtype, pin_memory=True)
    except RuntimeError:  # told when planes leave; this thread waits then
        return data.to(device)
    return pinned.copy_(data).to(device, non_blocking=True)
