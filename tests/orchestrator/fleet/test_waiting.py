"""A segment that NVENC gives no session waits for one; nothing of it is held against its video."""

from __future__ import annotations

import pytest

from orchestrator.fleet.events_actions import Rules, Tick
from orchestrator.fleet.journal_entries import TaskLost
from tests.orchestrator.fleet.test_fleet import Script
from tests.orchestrator.worlds import make_job
from workers.messages import TaskId

RULES = Rules()


def test_it_waits_for_one_of_its_own_worker() -> None:
    """Three lanes and two sessions: from then on two at a time, and the video is done."""
    run = Script([make_job("a", segments=5)], lanes=(3,))
    run.ready(0)
    assert run.assigned() == [(0, "a/0"), (0, "a/1"), (0, "a/2")]
    run.fail("a", 2, "session")
    assert run.assigned() == []
    run.done("a", 0)
    assert run.assigned() == [(0, "a/2")]
    for number in (1, 2):
        run.done("a", number)
        assert len(run.assigned()) == 1
    run.done("a", 3)
    run.done("a", 4)
    run.done("a", None)
    assert run.video("a").status == "done"
    lost = [entry for entry in run.entries if isinstance(entry, TaskLost)]
    assert [entry.error.kind for entry in lost] == ["session"]


def test_it_waits_for_those_of_other_programs() -> None:
    run = Script([make_job("a", segments=1)], lanes=(3,))
    run.ready(0)
    for _ in range(RULES.waits):
        assert run.assigned() == [(0, "a/0")]
        run.fail("a", 0, "session")
        assert run.assigned() == []
        assert run.fleet.next_deadline() == run.now + RULES.wait_s
        run.now += RULES.wait_s
        run.tell(Tick())
    assert run.given[TaskId("a", 0)][1].concession.chunk_divisor == 1
    run.done("a", 0)
    run.done("a", None)
    assert run.video("a").status == "done"


def test_it_does_not_wait_for_ever() -> None:
    run = Script([make_job("a", segments=1)])
    run.ready(0)
    for _ in range(RULES.waits):
        run.fail("a", 0, "session")
        run.now += RULES.wait_s
        run.tell(Tick())
    run.fail("a", 0, "session")
    assert run.video("a").status == "failed"


@pytest.mark.parametrize("workers", [2, 3])
def test_other_workers_go_on_meanwhile(workers: int) -> None:
    run = Script([make_job("a", segments=4)], lanes=(1,) * workers)
    run.ready(*range(workers))
    run.fail("a", 1, "session")
    assert run.assigned() == [], "its worker rests, and the others have their hands full"
    run.done("a", 0)
    assert run.assigned() == [(0, "a/1")]
