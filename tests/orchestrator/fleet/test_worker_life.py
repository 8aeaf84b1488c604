"""The table of a worker's life holds every transition that happens, and no other."""

from __future__ import annotations

from typing import get_args

import pytest

from orchestrator.fleet.events_actions import WorkerSpec
from orchestrator.fleet.snapshot import WorkerStatus
from orchestrator.fleet.worker import Worker
from orchestrator.fleet.worker_life import TRANSITIONS, life_table
from tests.orchestrator.fleet.test_fleet import random_world

Transition = tuple[WorkerStatus, WorkerStatus]
TABLE: set[Transition] = {(a, b) for a, nexts in TRANSITIONS.items() for b in nexts}


def test_random_worlds_take_every_transition_of_the_table_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: set[Transition] = set()
    real = Worker.enter

    def enter(self: Worker, status: WorkerStatus, now: float) -> None:
        taken.add((self.status, status))
        real(self, status, now)

    monkeypatch.setattr(Worker, "enter", enter)
    for seed in range(300):
        random_world(seed, stops=seed % 3, full=0.01 * (seed % 2)).run()
    assert taken == TABLE


def test_any_other_transition_is_refused() -> None:
    statuses: tuple[WorkerStatus, ...] = get_args(WorkerStatus)
    assert set(TRANSITIONS) == set(statuses)
    for status in statuses:
        for following in statuses:
            worker = Worker(WorkerSpec(0, 1), status=status)
            if (status, following) in TABLE:
                worker.enter(following, 1.0)
                assert (worker.status, worker.since) == (following, 1.0)
            else:
                with pytest.raises(AssertionError, match=f"from {status} to {following}"):
                    worker.enter(following, 1.0)


def test_the_printed_table_has_one_line_for_each_transition() -> None:
    head, rule, *lines = life_table().splitlines()
    assert (head, rule) == ("| from | to | when |", "| --- | --- | --- |")
    assert lines[0] == "| `down` | `starting` | tasks wait for it: it is spawned |"
    cells = [line.strip("| ").split(" | ") for line in lines]
    assert {(a.strip("`"), b.strip("`")) for a, b, _ in cells} == TABLE
    assert len(lines) == len(TABLE)
