"""The worker's life on another machine, without the network between: calls instead of messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers.test_gpu_worker import setup_for
from workers.guest import Guest
from workers.messages import Report, StopWorker, WorkerReady

pytestmark = pytest.mark.slow


def ended(guest: Guest) -> str:
    """How its life ended; asks until then."""
    while (heard := guest.answer()).how is None:
        pass
    return heard.how


def test_it_says_what_the_worker_says_and_how_it_ended(tmp_path: Path) -> None:
    guest = Guest(3, 1, setup_for(tmp_path))
    reports: list[Report] = []
    sample = None
    while not reports or sample is None:
        heard = guest.answer()
        reports += heard.reports
        sample = heard.sample
    assert sample.usage.rss_bytes > 1 << 20
    assert sample.gpu is None
    assert isinstance(reports[0], WorkerReady)
    assert (reports[0].worker, reports[0].life) == (3, 1)
    guest.tell(0, StopWorker())
    assert ended(guest) == "exit status 0"


def test_commands_wait_for_those_before_them(tmp_path: Path) -> None:
    guest = Guest(0, 1, setup_for(tmp_path))
    guest.tell(1, StopWorker())
    assert guest.answer(0.0).how is None
    assert set(guest._commands) == {1}
    guest.tell(0, StopWorker())
    assert ended(guest) == "exit status 0"


def test_a_worker_for_which_nobody_asks_ends(tmp_path: Path) -> None:
    guest = Guest(0, 1, setup_for(tmp_path), lease_s=0.2)
    guest._thread.join()
    assert ended(guest) == "killed by SIGKILL (nobody asked for 0.2 s)"


def test_killed(tmp_path: Path) -> None:
    guest = Guest(0, 1, setup_for(tmp_path))
    while not guest.answer().reports:
        pass
    guest.kill()
    assert ended(guest).startswith("killed by SIG")
