"""Times the stages of a segment: how long each is at work, without its waits for other stages.

Stages are generators that draw from each other, some in a thread of their own. So each thread keeps
the stage it is at, and time counts for the innermost stage alone. Any name is a stage. Knows
nothing of frames.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, Protocol, TypeVar

import torch

T = TypeVar("T")

#: Steps whose calls last until the work is done: a decoder's until it has decoded, NVDEC's too, and
#: an encoder's until it has taken what it is given. The device does the work of all other steps
#: later than it is asked to.
_ON_HOST = ("decode", "encode")

#: The first and the last steps of each segment, in whatever order a clock meets them.
_FIRST, _LAST = ("decode",), ("planes", "encode")


class Mark(Protocol):
    """A place in a device's queue of work, such as a `torch.cuda.Event`."""

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds until the device reached a later mark; it must have reached both."""
        ...


def device_marks(device: torch.device) -> Callable[[], Mark] | None:
    """Places a mark on the current stream of a device; None where calls do the work at once."""
    return _cuda_mark if device.type == "cuda" else None


def _cuda_mark() -> Mark:
    mark = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    mark.record()
    return mark


class _Here(threading.local):
    """The stage a thread is at, since when, and where the device's work for it begins."""

    stage: str | None = None
    since = 0.0
    mark: Mark | None = None


class StageClock:
    """The clock of one segment and all of its threads; it starts when it is made.

    It never waits for the device: marks are read at the end. It takes a few clock readings a batch,
    and on a device as many marks.

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
        """Yield what `source` yields, and count the time it takes for `stage`; None: as a wait.

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
        """Count the time inside for `stage`, not for the stage this thread was at; None: as a wait.

        After an exception the thread stays there: the segment has failed, and its times are unused.
        """
        before = self._turn_to(stage)
        yield
        self._turn_to(before)

    def stage_seconds(self) -> dict[str, float]:
        """How long each stage was at work, by its name, in the order of the chain.

        The device has come to the end of all stages.
        """
        seconds = dict(self._seconds)
        for stage, begin, end in self._spans:
            seconds[stage] += begin.elapsed_time(end) / 1000
        between = [stage for stage in seconds if stage not in (*_FIRST, *_LAST)]
        order = (*_FIRST, *between, *_LAST)
        return {stage: round(seconds[stage], 6) for stage in order if stage in seconds}

    def wall_s(self) -> float:
        """Seconds since the segment began."""
        return round(self._now() - self._begun, 6)

    def _turn_to(self, stage: str | None) -> str | None:
        """Put this thread at `stage` from now on; the stage it was at."""
        here, mark, now = self._here, self._mark, self._now()
        before = here.stage
        with self._lock:
            if before is not None and here.mark is not None and mark is not None:
                self._spans.append((before, here.mark, mark()))
            elif before is not None:
                self._seconds[before] += now - here.since
            if stage is not None:
                self._seconds.setdefault(stage, 0.0)
        here.stage, here.since = stage, now
        here.mark = mark() if mark is not None and stage not in (None, *_ON_HOST) else None
        return before
