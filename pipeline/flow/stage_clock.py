"""How long each stage of the way of a frame is at work in a segment, without waiting for others.

Stages are generators that draw from each other, some in a thread of their own: so each thread keeps
what it is at, and time is the innermost stage's alone. Knows nothing of frames.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, Protocol, TypeVar

import torch

from pipeline.contract import StageTimes

T = TypeVar("T")

#: Whose work is done by the device, later than it is asked for. A decoder's calls last until it has
#: decoded, NVDEC's too; and an encoder's until it has taken what it is given.
_ON_HOST = ("decode", "encode")


class Mark(Protocol):
    """A place in a device's queue of work, as a `torch.cuda.Event` is one."""

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds until the device came to a later one; it must have come to both."""
        ...


def device_marks(device: torch.device) -> Callable[[], Mark] | None:
    """Places a mark on the current stream of a device; None where work is done when it is asked."""
    return _cuda_mark if device.type == "cuda" else None


def _cuda_mark() -> Mark:
    mark = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    mark.record()
    return mark


class _Here(threading.local):
    """What a thread is at: since when, and where the device's work for it begins."""

    stage: str | None = None
    since = 0.0
    mark: Mark | None = None


class StageClock:
    """Of one segment and all of its threads; the segment begins when it is made.

    Nobody waits for it: marks are read at the end. It takes a few clock readings a batch, and on a
    device as many marks.

    Args:
        mark: see `device_marks`; all marks are on one stream.
        now: a clock, in seconds.
    """

    def __init__(
        self,
        mark: Callable[[], Mark] | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._mark = mark
        self._now = now
        self._begun = now()
        self._here = _Here()
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}
        self._spans: list[tuple[str, Mark, Mark]] = []

    def stage(
        self, stage: str | None, source: Generator[T, None, None]
    ) -> Generator[T, None, None]:
        """Yield what `source` yields: making it is at `stage`; None: this thread waits for it.

        Closing this closes `source`.
        """
        with closing(source):
            while True:
                with self.at(stage):
                    try:
                        item = next(source)
                    except StopIteration:
                        return
                yield item
                del item  # not to be held beside the next one

    @contextmanager
    def at(self, stage: str | None) -> Iterator[None]:
        """What happens inside is `stage`, and not what this thread was at; None: it waits.

        After an exception the thread stays there: it ends the segment, whose times nobody wants.
        """
        before = self._turn_to(stage)
        yield
        self._turn_to(before)

    def times(self) -> StageTimes:
        """Of the segment until now. The device has come to the end of all stages."""
        seconds = dict(self._seconds)
        for stage, begin, end in self._spans:
            seconds[stage] = seconds.get(stage, 0.0) + begin.elapsed_time(end) / 1000
        return StageTimes(
            wall_s=round(self._now() - self._begun, 6),
            decode_s=round(seconds.get("decode", 0.0), 6),
            matte_s=round(seconds.get("matte", 0.0), 6),
            planes_s=round(seconds.get("planes", 0.0), 6),
            encode_s=round(seconds.get("encode", 0.0), 6),
        )

    def _turn_to(self, stage: str | None) -> str | None:
        """This thread is at `stage` from now on; what it was at."""
        here, mark, now = self._here, self._mark, self._now()
        before = here.stage
        if before is not None and here.mark is not None and mark is not None:
            self._spans.append((before, here.mark, mark()))
        elif before is not None:
            with self._lock:
                self._seconds[before] = self._seconds.get(before, 0.0) + now - here.since
        here.stage, here.since = stage, now
        here.mark = mark() if mark is not None and stage not in (None, *_ON_HOST) else None
        return before
