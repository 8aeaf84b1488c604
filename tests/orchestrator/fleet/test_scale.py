"""The fleet when it is large: how long a batch takes, and that no decision looks at everything."""

from __future__ import annotations

from collections import Counter

import pytest

from orchestrator.fleet.events_actions import Event, WorkerSpec
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.journal_entries import SegmentCommitted
from orchestrator.fleet.video import Task, Video
from orchestrator.fleet.worker import Worker
from tests.orchestrator.fleet.test_fleet import random_world, settled
from tests.orchestrator.timeline import Timeline, unequal_videos
from tests.orchestrator.worlds import World


def statuses(fleet: Fleet) -> Counter[str]:
    return Counter(video.status for video in fleet.snapshot().videos)


@pytest.mark.parametrize("death_s", [0.0, 7200.0])
def test_a_batch_ends_within_5_percent_of_the_bound(death_s: float) -> None:
    jobs = unequal_videos(100, seed=3, most=240)
    line = Timeline(jobs, workers=8, death_s=death_s)
    line.run()
    assert statuses(line.fleet) == {"done": 100}
    assert (line.deaths > 3) == bool(death_s)
    assert line.now <= 1.05 * line.bound_s


def looks_per_event(workers: int, videos: int, monkeypatch: pytest.MonkeyPatch) -> float:
    """How many videos are looked at to find work, for an event."""
    looks = 0
    real = Worker.has_room_for

    def counted(self: Worker, task: Task) -> bool:
        nonlocal looks
        looks += 1
        return real(self, task)

    monkeypatch.setattr(Worker, "has_room_for", counted)
    line = Timeline(unequal_videos(videos, seed=5, most=20), workers, lanes=2, death_s=9000.0)
    line.run()
    return looks / line.events


def test_a_decision_costs_no_more_in_a_large_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    small = looks_per_event(2, 20, monkeypatch)
    large = looks_per_event(32, 320, monkeypatch)
    assert large <= 3 * small + 3


class Watched(World):
    """Checks after each event that nobody is idle who may have something, by looking at all."""

    def tell(self, event: Event) -> None:
        super().tell(event)
        if not self.fleet.stopping:
            dispatch = self.fleet._dispatch
            for worker in self.fleet._workers.values():
                order = list(dispatch.backlog.in_order(worker.spec.id, joining_only=False))
                waiting = [v for v in self.fleet._videos.values() if v.pending]
                assert Counter(order) == Counter(waiting)
                assert_ordered(order, worker.spec.id, list(self.fleet._videos.values()))
                assert dispatch.next_for(worker) is None


def assert_ordered(order: list[Video], home: int, turns: list[Video]) -> None:
    """Finishing first, then its own videos, then the last ones of who has most left."""
    left: Counter[int] = Counter()
    for video in order:
        left[video.home] += video.frames_pending

    def rank(video: Video) -> tuple[bool, bool, int, int]:
        own = video.home == home
        turn = turns.index(video)
        return (
            video.segments_left > 0,
            not own,
            0 if own else -left[video.home],
            turn if own else -turn,
        )

    assert order == sorted(order, key=rank)


def test_in_random_worlds_nobody_is_idle_who_may_have_something() -> None:
    for seed in range(150):
        world = random_world(seed)
        watched = Watched(**{name: getattr(world, name) for name in world.__dataclass_fields__})
        watched.run()
        settled(watched)


def test_workers_that_join_while_a_run_goes_on_do_their_share() -> None:
    """In random worlds: every video is settled, and work goes to whoever has come."""
    helped = 0
    for seed in range(500):
        world = random_world(seed, immortal=0.0, late=[WorkerSpec(7, 2), WorkerSpec(9, 1)])
        world.run()
        settled(world)
        if not world.damage:
            made = [(e.video, e.segment) for e in world.entries if isinstance(e, SegmentCommitted)]
            assert len(made) == len(set(made))
        helped += any(
            worker.id in (7, 9) and worker.life for worker in world.fleet.snapshot().workers
        )
    assert helped > 250


def test_a_late_worker_shortens_the_run() -> None:
    jobs = unequal_videos(20, seed=2, most=60)
    alone, joined = Timeline(jobs, 2), Timeline(jobs, 2, joins_at=[100.0, 200.0])
    alone.run()
    joined.run()
    assert statuses(joined.fleet) == {"done": 20}
    # 2 workers for 100 s, 3 for as long, then 4.
    assert joined.now < 0.6 * alone.now


def test_a_worker_joins_once() -> None:
    jobs = unequal_videos(2, seed=2, most=3)
    line = Timeline(jobs, 1, joins_at=[1.0], first_late=0)
    with pytest.raises(ValueError, match="a worker 0 already"):
        line.run()
