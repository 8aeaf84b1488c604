"""A thread that does one thing again and again while a ``with`` block lasts.

For what is measured and shown while a run goes on: it must never hold up the run or end it.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from pipeline.structlog_import import structlog


class Background(ABC):
    """Calls `step` in a thread from `__enter__` to `__exit__`.

    An error is logged and ends the thread; the run goes on.

    Args:
        name: of the thread.
        every_s: seconds between two steps; `wake` cuts the wait short.
        leave_s: seconds for which `__exit__` waits for a step that has begun.
        first_s: seconds before the first step; `every_s` if None.
        most_busy: share of the time that the steps may take of a core, on average.
    """

    def __init__(
        self,
        name: str,
        *,
        every_s: float,
        leave_s: float,
        first_s: float | None = None,
        most_busy: float = 1.0,
    ) -> None:
        self._every_s = every_s
        self._first_s = every_s if first_s is None else first_s
        self._leave_s = leave_s
        self._most_busy = most_busy
        self._wake = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(self._leave_s)

    @abstractmethod
    def step(self) -> None:
        """Do it once."""

    def last_step(self) -> None:
        """Called in the thread when the block is left."""
        return

    def wake(self) -> None:
        """Have the next step begin at once."""
        self._wake.set()

    def stop(self, wait_s: float) -> bool:
        """Begin no further step; whether the thread has ended within `wait_s` seconds."""
        self._over = True
        self._wake.set()
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        wait_s = self._first_s
        try:
            while True:
                self._wake.wait(wait_s)
                self._wake.clear()
                if self._over:
                    return self.last_step()
                begun_s = time.thread_time()
                self.step()
                taken_s = time.thread_time() - begun_s
                wait_s = max(self._every_s, taken_s / self._most_busy - taken_s)
        except Exception:
            structlog.get_logger("vrmatte").exception("background_failed", thread=self._thread.name)
