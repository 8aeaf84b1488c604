"""Videos that are planned while others are made: nothing is lost, and the run waits for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from orchestrator.fleet.events_actions import AskToStop, StopRequested, VideosPlanned
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.jobs import VideoJob
from pipeline.contract import OutputFile, SegmentResult
from tests.orchestrator.fleet.test_fleet import Script, random_world, settled
from tests.orchestrator.worlds import World, make_job
from workers.messages import TaskId


def videos(*names: str, segments: int = 1) -> list[VideoJob]:
    return [make_job(name, segments) for name in names]


def test_a_worker_waits_for_files_that_are_still_to_be_read() -> None:
    run = Script(videos("a"), to_come=2)
    run.ready(0)
    run.done("a", 0)
    run.done("a", None)
    assert not run.fleet.finished
    assert run.status() == "ready"
    assert run.fleet.snapshot().to_come == 2
    run.tell(VideosPlanned(videos("b"), 1))
    assert run.assigned() == [(0, "b/0")]
    run.done("b", 0)
    run.done("b", None)
    assert run.status() == "ready"
    run.tell(VideosPlanned((), 0))  # the last file was no video
    assert run.actions == [AskToStop(0)]
    run.exit(0, "exit status 0")
    assert run.fleet.finished


def test_homes_go_on_round_robin_whatever_came_together() -> None:
    whole = Script(videos(*"abcdefg", segments=3), lanes=(1, 1, 1))
    parts = Script(videos("a", segments=3), lanes=(1, 1, 1), to_come=6)
    parts.tell(VideosPlanned(videos("b", "c", "d", segments=3), 3))
    parts.tell(VideosPlanned(videos("e", "f", "g", segments=3), 0))
    for run in (whole, parts):
        run.ready(0, 1, 2)
    assert parts.given == whole.given


def test_what_an_earlier_run_left_of_them_is_taken_up() -> None:
    (job,) = videos("b", segments=2)
    run = Script(videos("a"), to_come=1)
    result = SegmentResult(("x",), 10, decoder="CPU")
    run.tell(VideosPlanned([job], 0, committed={TaskId("b", 0): result}))
    assert run.video("b").segments_done == 1


def test_published_ones_are_told_of_and_not_made() -> None:
    run = Script(videos("a"), to_come=1)
    outputs = (OutputFile("webm", "b.webm", 5, 10),)
    run.tell(VideosPlanned(videos("b"), 0, published={"b": outputs}))
    assert run.video("b").status == "done"
    assert run.video("b").earlier


def test_where_no_worker_is_left_they_are_set_aside() -> None:
    run = Script(videos("a"), to_come=1)
    for _ in range(3):
        run.exit(0)
    assert run.status() == "retired"
    assert not run.fleet.finished
    run.tell(VideosPlanned(videos("b"), 0))
    assert run.video("b").status == "failed"
    assert run.fleet.finished


def test_a_stop_waits_for_no_file() -> None:
    run = Script(videos("a"), to_come=5)
    run.ready(0)
    run.tell(StopRequested())
    run.done("a", 0)
    run.exit(0, "exit status 0")
    assert run.fleet.finished
    run.tell(VideosPlanned(videos("b"), 4))
    assert run.fleet.finished
    assert run.video("b").status == "pending"


def test_no_video_comes_twice() -> None:
    run = Script(videos("a"), to_come=1)
    with pytest.raises(ValueError, match="the same id"):
        run.tell(VideosPlanned(videos("a"), 0))


@dataclass
class Growing(World):
    """At first only one job is known, and those that are begun; the others come at any time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.to_plan = list(self.jobs)
        self.fleet = Fleet([], self.specs, self.rules, to_come=len(self.jobs))
        begun = [n for n, job in enumerate(self.jobs) if job.id in self.begun]
        self.plan(max([1, *(n + 1 for n in begun)]))

    def plan(self, count: int) -> None:
        jobs, self.to_plan = self.to_plan[:count], self.to_plan[count:]
        ids = {job.id for job in jobs}
        committed = {task: r for task, r in self.committed.items() if task.video in ids}
        published = {video: o for video, o in self.published.items() if video in ids}
        self.tell(VideosPlanned(jobs, len(self.to_plan), committed, published))

    def turn(self) -> None:
        nothing_else = self.fleet.next_deadline() is None and not any(
            self.can_move(process) for process in self.processes.values()
        )
        if self.to_plan and (nothing_else or self.draw.random() < 0.1):
            self.plan(self.draw.randint(1, 3))
        else:
            super().turn()


def grown(world: World) -> Growing:
    fields: dict[str, Any] = {name: getattr(world, name) for name in world.__dataclass_fields__}
    return Growing(**fields)


def test_random_worlds_in_which_videos_come_late_end_with_every_video_settled() -> None:
    late = 0
    for seed in range(500):
        world = grown(random_world(seed))
        world.run()
        assert not world.to_plan
        assert set(settled(world)) == {job.id for job in world.jobs}
        late += len(world.jobs) > 1
    assert late > 300


def test_random_worlds_that_are_stopped_lose_nothing() -> None:
    for seed in range(200):
        first = grown(random_world(seed, stops=1))
        first.run()
        again = first.run_again()
        again.run()
        assert set(settled(again)) == {job.id for job in again.jobs}
