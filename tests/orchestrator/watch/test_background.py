"""What runs in the background of a run: its steps, its end, and that it holds nothing up."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue

import pytest
from structlog.testing import capture_logs

from orchestrator.watch.background import Background

LONG_S, AT_ONCE_S = 1000.0, 10.0


class Told(Background):
    """Tells of each step; raises what it is given to raise."""

    def __init__(self, *, every_s: float = LONG_S, first_s: float | None = None) -> None:
        super().__init__("told", every_s=every_s, leave_s=AT_ONCE_S, first_s=first_s)
        self.said: SimpleQueue[str] = SimpleQueue()
        self.fault: Exception | None = None

    def step(self) -> None:
        self.said.put(threading.current_thread().name)
        if self.fault is not None:
            raise self.fault

    def last_step(self) -> None:
        self.said.put("last")


def all_said(told: Told) -> list[str]:
    return [told.said.get() for _ in range(told.said.qsize())]


def test_the_first_step_may_come_at_once_and_the_next_is_waked() -> None:
    with Told(first_s=0.0) as told:
        assert told.said.get(timeout=AT_ONCE_S) == "told"
        told.wake()
        assert told.said.get(timeout=AT_ONCE_S) == "told"
    assert all_said(told) == ["last"]


def test_steps_follow_each_other() -> None:
    with Told(every_s=0.001) as told:
        for _ in range(3):
            told.said.get(timeout=AT_ONCE_S)


def test_leaving_does_not_wait_for_the_next_step() -> None:
    began = time.monotonic()
    with Told() as told:
        pass
    assert time.monotonic() - began < AT_ONCE_S
    assert all_said(told) == ["last"]


def test_an_error_is_logged_and_ends_the_steps_only() -> None:
    told = Told(first_s=0.0)
    told.fault = ValueError("a bug in a figure")
    with capture_logs() as logs, told:
        assert told.said.get(timeout=AT_ONCE_S) == "told"
        assert told.stop(AT_ONCE_S)
    [log] = [log for log in logs if log["event"] == "background_failed"]
    assert (log["thread"], log["exc_info"]) == ("told", True)
    assert "last" not in all_said(told)


def test_a_step_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    hung, let_go = threading.Event(), threading.Event()

    class Hanging(Told):
        def step(self) -> None:
            hung.set()
            let_go.wait()

    with Hanging(first_s=0.0) as hanging:
        monkeypatch.setattr(hanging, "_leave_s", 0.01)
        assert hung.wait(AT_ONCE_S)
        assert not hanging.stop(0.01)
    let_go.set()
    assert hanging.stop(AT_ONCE_S)


def test_steps_take_no_more_of_a_core_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    taken_s = iter([0.0, 2.0, 2.0, 2.001])  # before and after each step
    waits: list[float | None] = []

    class Busy(Background):
        def step(self) -> None:
            self._over = len(waits) == 2

    busy = Busy("busy", every_s=5.0, leave_s=AT_ONCE_S, first_s=1.0, most_busy=0.05)
    monkeypatch.setattr("orchestrator.watch.background.time.thread_time", lambda: next(taken_s))
    monkeypatch.setattr(busy._wake, "wait", waits.append)
    with busy:
        busy._thread.join(AT_ONCE_S)
    assert waits == [1.0, 38.0, 5.0]
