from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import replace
from typing import Any, TypeGuard

import pytest

from orchestrator.fleet.events_actions import (
    Action,
    AskToStop,
    Assign,
    Event,
    Kill,
    Record,
    Rules,
    Spawn,
    StopRequested,
    Tick,
    WorkerExited,
    WorkerJoined,
    WorkerSpec,
)
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import (
    SegmentCommitted,
    TaskLost,
    VideoDone,
    VideoSetAside,
    WorkerLost,
)
from orchestrator.fleet.snapshot import VideoState
from pipeline.contract import Finding, FinishJob
from pipeline.errors import ErrorRecord
from tests.orchestrator.worlds import World, make_job, outputs_of, segment_result
from workers.messages import (
    DoTask,
    SegmentDone,
    TaskFailed,
    TaskId,
    TaskProgress,
    VideoFinished,
    WorkerFailed,
    WorkerReady,
)


class Script:
    """A fleet, and what it asked for last."""

    def __init__(
        self,
        jobs: list[VideoJob],
        lanes: tuple[int, ...] = (1,),
        rules: Rules | None = None,
        **past: object,
    ) -> None:
        specs = [WorkerSpec(number, count) for number, count in enumerate(lanes)]
        self.fleet = Fleet(jobs, specs, rules or Rules(), **past)  # type: ignore[arg-type]
        self.life = dict.fromkeys(range(len(lanes)), 0)
        self.given: dict[TaskId, tuple[int, DoTask]] = {}
        self.entries: list[object] = []
        self.actions: list[Action] = []
        self.now = 0.0
        self.tell(Tick())

    def tell(self, event: Event, now: float | None = None) -> list[Action]:
        self.now = self.now if now is None else now
        self.actions = self.fleet.handle(event, self.now)
        for action in self.actions:
            if isinstance(action, Spawn):
                self.life[action.worker] = action.life
            elif isinstance(action, Assign):
                self.given[action.command.task] = (action.worker, action.command)
            elif isinstance(action, Record):
                self.entries.append(action.entry)
        return self.actions

    def ready(self, *workers: int) -> None:
        for worker in workers:
            self.tell(WorkerReady(worker, self.life[worker], "cpu"))

    def who(self, task: TaskId) -> tuple[int, int, TaskId, int]:
        worker, command = self.given[task]
        return worker, self.life[worker], task, command.attempt

    def done(self, video: str, segment: int | None) -> list[Action]:
        task = TaskId(video, segment)
        command = self.given[task][1]
        if segment is None:
            return self.tell(VideoFinished(*self.who(task), outputs_of(command), 2.0))
        return self.tell(SegmentDone(*self.who(task), segment_result(command), 2.0))

    def fail(self, video: str, segment: int | None, kind: str) -> list[Action]:
        error = ErrorRecord(kind, f"{kind} trouble")
        return self.tell(TaskFailed(*self.who(TaskId(video, segment)), error))

    def exit(self, worker: int, how: str = "killed by SIGKILL") -> list[Action]:
        return self.tell(WorkerExited(worker, self.life[worker], how))

    def assigned(self) -> list[tuple[int, str]]:
        return [(a.worker, str(a.command.task)) for a in self.actions if isinstance(a, Assign)]

    def video(self, name: str) -> VideoState:
        return next(v for v in self.fleet.snapshot().videos if v.id == name)

    def status(self, worker: int = 0) -> str:
        return self.fleet.snapshot().workers[worker].status


def test_one_video_from_start_to_end() -> None:
    run = Script([make_job("a", segments=2)])
    assert run.actions == [Spawn(0, 1)]
    run.ready(0)
    assert run.assigned() == [(0, "a/0")]
    run.done("a", 0)
    assert isinstance(run.actions[0], Record)
    assert run.assigned() == [(0, "a/1")]
    run.done("a", 1)
    assert run.assigned() == [(0, "a/finish")]
    finish = run.given[TaskId("a", None)][1].job
    assert isinstance(finish, FinishJob)
    assert [s.files[0][-6] for s in finish.segments] == ["0", "1"]
    run.done("a", None)
    assert run.actions[-1] == AskToStop(0)
    assert not run.fleet.finished
    run.exit(0, "exit status 0")
    assert run.fleet.finished
    assert [type(entry) for entry in run.entries] == [SegmentCommitted] * 2 + [VideoDone]
    state = run.video("a")
    assert (state.status, state.frames_done, state.retries, state.work_s) == ("done", 20, 0, 6.0)


def test_videos_go_round_robin_and_lanes_fill_evenly() -> None:
    run = Script([make_job(name, segments=3) for name in "abc"], lanes=(2, 2))
    assert run.actions == [Spawn(0, 1), Spawn(1, 1)]
    run.ready(0, 1)
    held = {task: worker for task, (worker, _) in run.given.items()}
    assert {str(task): worker for task, worker in held.items()} == {
        "a/0": 0,
        "a/1": 0,
        "b/0": 1,
        "b/1": 1,
    }


def test_an_idle_worker_helps_who_has_most_left() -> None:
    run = Script(
        [make_job("a", segments=2), make_job("b", segments=1), make_job("c", segments=9)],
        lanes=(1, 1, 1),
    )
    run.ready(0, 1, 2)
    run.done("b", 0)
    assert run.assigned() == [(1, "b/finish"), (1, "c/1")]


def test_no_worker_is_started_for_want_of_work() -> None:
    run = Script([make_job("a", segments=2)], lanes=(1, 1, 1, 1))
    assert run.actions == [Spawn(0, 1), Spawn(1, 1)]


def test_joining_does_not_wait_for_a_lane() -> None:
    run = Script([make_job("a", segments=1), make_job("b", segments=5)])
    run.ready(0)
    run.done("a", 0)
    assert run.assigned() == [(0, "a/finish"), (0, "b/0")]


@pytest.mark.parametrize(
    ("kind", "attempts"),
    [("input", 1), ("machine", 1), ("decode", 2), ("encode", 2), ("resource", 3)],
)
def test_each_error_has_its_number_of_attempts(kind: str, attempts: int) -> None:
    run = Script([make_job("a", segments=2), make_job("b", segments=1)])
    run.ready(0)
    for attempt in range(1, attempts + 1):
        assert run.video("a").status == "running"
        while TaskId("a", 0) not in {
            t.task for t in run.fleet.snapshot().workers[0].tasks
        }:  # the others go first where a task has to run alone
            task = run.fleet.snapshot().workers[0].tasks[0].task
            run.done(task.video, task.segment)
        assert run.given[TaskId("a", 0)][1].attempt == attempt
        run.fail("a", 0, kind)
    assert run.video("a").status == "failed"
    assert run.video("a").error == ErrorRecord(kind, f"{kind} trouble")
    assert sum(isinstance(entry, VideoSetAside) for entry in run.entries) == 1
    assert sum(isinstance(entry, TaskLost) for entry in run.entries) == attempts
    assert run.status() == "ready" if run.video("b").status != "done" else "stopping"


def test_after_a_decode_error_the_cpu_decodes() -> None:
    run = Script([make_job("a", segments=1)])
    run.ready(0)
    assert not run.given[TaskId("a", 0)][1].concession.cpu_decode
    run.fail("a", 0, "decode")
    assert run.given[TaskId("a", 0)][1].concession.cpu_decode
    run.done("a", 0)
    run.done("a", None)
    assert run.video("a").status == "done"


def concessions(run: Script, kind: str) -> list[tuple[bool, int]]:
    """How each attempt at a/0 is eased while all end with errors of that kind."""
    found = []
    while run.video("a").status == "running":
        concession = run.given[TaskId("a", 0)][1].concession
        found.append((concession.cpu_decode, concession.chunk_divisor))
        if kind != "lost":
            run.fail("a", 0, kind)
        if kind in ("lost", "device"):
            run.exit(0)
            run.ready(0)
    return found


@pytest.mark.parametrize(
    ("kind", "eased"),
    [
        ("decode", [(False, 1), (True, 1)]),
        ("encode", [(False, 1), (False, 1)]),
        ("resource", [(False, 1), (False, 2), (False, 4)]),
        ("lost", [(False, 1), (True, 1), (True, 2)]),
        ("device", [(False, 1), (True, 1), (True, 2)]),
    ],
)
def test_each_attempt_is_easier_than_the_one_before(
    kind: str, eased: list[tuple[bool, int]]
) -> None:
    run = Script([make_job("a", segments=1)])
    run.ready(0)
    assert concessions(run, kind) == eased
    assert run.video("a").status == "failed"


def test_what_memory_one_segment_lacked_the_next_are_not_asked_to_have() -> None:
    run = Script([make_job("a", segments=3), make_job("b", segments=1)])
    run.ready(0)
    run.fail("a", 0, "resource")
    run.done("a", 0)
    assert run.given[TaskId("a", 1)][1].concession.chunk_divisor == 2
    run.done("a", 1)
    run.done("a", 2)
    run.done("a", None)
    assert run.given[TaskId("b", 0)][1].concession.chunk_divisor == 1
    assert run.video("a").eased_segments == 3


def test_the_last_attempt_has_the_worker_to_itself() -> None:
    run = Script([make_job("a", segments=1), make_job("b", segments=3)], lanes=(2,))
    run.ready(0)
    run.fail("a", 0, "resource")
    assert run.assigned() == [(0, "a/0")], "first with a smaller chunk, beside others"
    run.fail("a", 0, "resource")
    assert run.assigned() == [(0, "b/1")]
    run.done("b", 0)
    run.done("b", 1)
    run.done("b", 2)
    assert run.assigned() == [(0, "b/finish")]
    run.done("b", None)
    assert run.assigned() == [(0, "a/0")]
    run.done("a", 0)
    assert run.video("a").eased_segments == 1


def test_a_full_disk_drains_the_run_and_costs_no_attempt() -> None:
    run = Script([make_job("a", segments=3)], lanes=(2,))
    run.ready(0)
    run.fail("a", 0, "disk")
    assert run.actions[-1] == AskToStop(0)
    assert run.status() == "stopping"
    run.done("a", 1)
    assert run.assigned() == []
    run.exit(0, "exit status 0")
    assert run.fleet.finished
    snapshot = run.fleet.snapshot()
    assert snapshot.stopping
    assert snapshot.stop_reason == ErrorRecord("disk", "disk trouble")
    assert run.video("a").status == "running"
    assert [type(e) for e in run.entries] == [TaskLost, SegmentCommitted]


def test_a_full_scratch_costs_its_worker_alone() -> None:
    run = Script([make_job("a", segments=3)], lanes=(2, 1))
    run.ready(0, 1)
    run.fail("a", 0, "local-folder")
    assert AskToStop(0) in run.actions
    assert (run.status(0), run.status(1)) == ("stopping", "ready")
    run.done("a", 1)  # its other lane had room
    run.exit(0, "exit status 0")
    assert run.status(0) == "retired"
    run.done("a", 2)
    assert run.assigned() == [(1, "a/0")]
    run.done("a", 0)
    run.done("a", None)
    assert run.video("a").status == "done"
    assert not run.fleet.stopping


@pytest.mark.parametrize("first_is_gone", [False, True])
def test_where_every_scratch_is_full_the_run_stops_and_sets_nothing_aside(
    first_is_gone: bool,
) -> None:
    run = Script([make_job("a", segments=2)], lanes=(1, 1))
    run.ready(0, 1)
    run.fail("a", 0, "local-folder")
    if first_is_gone:
        run.exit(0, "exit status 0")
    run.fail("a", 1, "local-folder")
    for worker in (0, 1)[first_is_gone:]:
        run.exit(worker, "exit status 0")
    assert run.fleet.finished
    assert run.fleet.snapshot().stop_reason == ErrorRecord("local-folder", "local-folder trouble")
    assert run.video("a").status == "running"


def test_a_stop_for_a_reason_never_kills() -> None:
    run = Script([make_job("a", segments=3)])
    run.ready(0)
    for _ in range(3):
        run.tell(StopRequested(ErrorRecord("disk", "no room")))
        assert not any(isinstance(action, Kill) for action in run.actions)
    run.tell(StopRequested())
    assert [type(action) for action in run.actions] == [Kill]


def damage(run: Script, *numbers: int) -> list[Action]:
    task = TaskId("a", None)
    return run.tell(TaskFailed(*run.who(task), ErrorRecord("damaged", "bits flipped"), numbers))


def test_damaged_segments_are_made_again_and_no_others() -> None:
    run = Script([make_job("a", segments=3)], lanes=(3,))
    run.ready(0)
    for number in range(3):
        run.done("a", number)
    damage(run, 0, 2)
    assert run.assigned() == [(0, "a/0"), (0, "a/2")]
    assert run.video("a").frames_done == 10
    run.done("a", 0)
    assert run.assigned() == []
    run.done("a", 2)
    assert run.assigned() == [(0, "a/finish")]
    run.done("a", None)
    assert (run.video("a").status, run.video("a").frames_done) == ("done", 30)


def test_a_disk_that_damages_everything_is_not_written_to_for_ever() -> None:
    run = Script([make_job("a", segments=1)])
    run.ready(0)
    for _ in range(3):
        assert run.video("a").status in ("running", "finishing")
        run.done("a", 0)
        damage(run, 0)
    assert run.video("a").status == "failed"
    assert run.video("a").error == ErrorRecord("damaged", "bits flipped")


def test_a_video_begins_when_there_is_scratch_for_it() -> None:
    jobs = [make_job(name, segments=2, scratch_bytes=6) for name in "abc"]
    run = Script(jobs, lanes=(2, 2), rules=Rules(scratch_bytes=12))
    run.ready(0, 1)
    assert {str(task) for task in run.given} == {"a/0", "a/1", "b/0", "b/1"}
    run.done("a", 0)
    assert run.assigned() == []
    run.done("a", 1)
    run.done("a", None)
    assert run.assigned() == [(0, "c/0"), (0, "c/1")]


def test_a_video_that_wants_more_scratch_than_there_is_runs_alone() -> None:
    run = Script(
        [make_job("a", segments=1, scratch_bytes=9), make_job("b", scratch_bytes=1)],
        lanes=(2,),
        rules=Rules(scratch_bytes=5),
    )
    run.ready(0)
    assert run.assigned() == [(0, "a/0")]
    run.done("a", 0)
    run.done("a", None)
    assert run.assigned() == [(0, "b/0"), (0, "b/1")]


def test_segments_that_do_not_fit_in_memory_together_wait() -> None:
    jobs = [make_job("big", ram_bytes=6), make_job("small", segments=3, ram_bytes=2)]
    fleet = Fleet(jobs, [WorkerSpec(0, lanes=4, ram_bytes=10)], Rules())
    fleet.handle(Tick(), 0.0)
    actions = fleet.handle(WorkerReady(0, 1, "cpu"), 0.0)
    given = [str(a.command.task) for a in actions if isinstance(a, Assign)]
    assert given == ["big/0", "small/0", "small/1"]


def test_one_segment_may_always_be_tried() -> None:
    fleet = Fleet([make_job("a", ram_bytes=99)], [WorkerSpec(0, 2, ram_bytes=10)], Rules())
    fleet.handle(Tick(), 0.0)
    actions = fleet.handle(WorkerReady(0, 1, "cpu"), 0.0)
    assert [str(a.command.task) for a in actions if isinstance(a, Assign)] == ["a/0"]


def test_a_bad_video_costs_only_itself() -> None:
    run = Script([make_job("a", segments=3), make_job("b", segments=1)], lanes=(2,))
    run.ready(0)
    run.fail("a", 0, "input")
    assert run.assigned() == [(0, "b/0")]
    run.done("a", 1)  # what was in hand is kept for the next run, but joins nothing
    assert run.assigned() == []
    run.done("b", 0)
    run.done("b", None)
    assert [run.video(v).status for v in "ab"] == ["failed", "done"]
    committed = [e for e in run.entries if isinstance(e, SegmentCommitted)]
    assert [(e.video, e.segment) for e in committed] == [("a", 1), ("b", 0)]


def test_a_fatal_error_costs_its_task_an_attempt_and_the_others_none() -> None:
    run = Script([make_job("a", segments=2)], lanes=(2,))
    run.ready(0)
    run.fail("a", 0, "device")
    assert run.assigned() == []  # nothing for a process that is about to end
    run.tell(WorkerFailed(0, 1, ErrorRecord("device", "device trouble")))
    run.exit(0, "exit status 70")
    assert Spawn(0, 2) in run.actions
    assert [type(e) for e in run.entries] == [TaskLost, WorkerLost]
    run.ready(0)
    assert run.assigned() == [(0, "a/0"), (0, "a/1")]


def test_what_was_in_hand_at_a_silent_death_runs_alone_and_last() -> None:
    run = Script([make_job("a", segments=1), make_job("b"), make_job("c")], lanes=(2,))
    run.ready(0)
    assert run.assigned() == [(0, "a/0"), (0, "b/0")]
    run.exit(0)
    run.ready(0)
    assert run.assigned() == [(0, "c/0"), (0, "c/1")]
    run.done("c", 0)
    assert run.assigned() == []
    run.done("c", 1)
    run.done("c", None)
    assert run.assigned() == [(0, "a/0")]
    run.done("a", 0)
    assert run.assigned() == [(0, "a/finish"), (0, "b/0")] or run.assigned() == [(0, "a/finish")]


def test_a_video_that_kills_workers_does_not_take_its_neighbours_along() -> None:
    run = Script([make_job("bad", segments=9), make_job("good", segments=9)], lanes=(2,))
    for _ in range(200):
        if run.fleet.finished:
            break
        worker = run.fleet.snapshot().workers[0]
        tasks = [task.task for task in worker.tasks]
        if worker.status == "starting":
            run.ready(0)
        elif worker.status == "stopping":
            run.exit(0, "exit status 0")
        elif any(task.video == "bad" for task in tasks):
            run.exit(0, "killed by SIGSEGV")
        else:
            run.done(tasks[0].video, tasks[0].segment)
    assert [run.video(v).status for v in ("bad", "good")] == ["failed", "done"]
    assert run.fleet.snapshot().workers[0].faults == 3


def test_a_task_that_ended_one_worker_goes_to_another() -> None:
    run = Script([make_job("a", segments=3)], lanes=(1, 1))
    run.ready(0, 1)
    assert run.given[TaskId("a", 0)][0] == 0
    run.fail("a", 0, "device")
    run.exit(0, "exit status 70")
    run.ready(0)
    assert run.assigned() == [(0, "a/2")]
    run.done("a", 1)
    assert run.assigned() == [(1, "a/0")]


def test_a_worker_that_cannot_start_is_retired_and_the_others_do_its_work() -> None:
    run = Script([make_job("a", segments=1), make_job("b", segments=1)], lanes=(1, 1))
    run.ready(1)
    for life in (1, 2):
        assert run.life[0] == life
        run.exit(0, "exit status 1")
    assert run.status(0) == "retired"
    run.done("b", 0)
    assert (1, "a/0") in run.assigned()


def test_when_the_last_worker_is_retired_the_rest_is_set_aside_with_the_reason() -> None:
    run = Script([make_job("a"), make_job("b")])
    run.tell(WorkerFailed(0, 1, ErrorRecord("machine", "no weights", "fetch them")))
    run.exit(0, "exit status 1")
    assert run.fleet.finished
    assert run.life[0] == 1, "what the machine lacks, a second process lacks too"
    error = run.video("b").error
    assert error is not None
    assert (error.kind, error.message, error.advice) == (
        "machine",
        "no worker is left: no weights",
        "fetch them",
    )


def alone(kind: str = "machine") -> Script:
    """A run in which workers may join, and whose only one is lost."""
    run = Script([make_job("a"), make_job("b")], rules=Rules(join_s=300))
    run.tell(WorkerFailed(0, 1, ErrorRecord(kind, "no weights", "fetch them")))
    run.exit(0, "exit status 1")
    assert run.status(0) == "retired"
    return run


def test_where_workers_may_join_one_is_waited_for_when_the_last_is_retired() -> None:
    run = alone()
    assert not run.fleet.finished
    assert run.fleet.snapshot().waits_s == 300
    run.tell(Tick(), now=299)
    assert run.tell(WorkerJoined(WorkerSpec(1, 1))) == [Spawn(1, 1)]
    assert run.fleet.snapshot().waits_s is None
    run.life[1] = 1
    run.ready(1)
    while tasks := run.fleet.snapshot().workers[1].tasks:
        run.done(tasks[0].task.video, tasks[0].task.segment)
    assert [run.video(video).status for video in ("a", "b")] == ["done", "done"]


def test_when_none_joins_the_rest_is_set_aside_with_the_reason() -> None:
    run = alone()
    assert run.fleet.next_deadline() == 300
    run.tell(Tick(), now=300)
    assert run.fleet.finished
    assert str(run.video("b").error) == (
        "no worker is left, and none joined for 300 s: no weights (fetch them)"
    )


def test_who_waits_for_a_worker_can_be_stopped() -> None:
    run = alone()
    run.tell(StopRequested())
    assert run.fleet.finished
    assert run.video("a").status == "pending"


def test_nobody_waits_for_a_worker_that_would_meet_the_same_settings() -> None:
    assert alone("settings").fleet.finished


def test_one_bad_video_does_not_retire_the_only_worker() -> None:
    run = Script([make_job("bad", segments=5), make_job("b", segments=1)])
    for _ in range(3):
        run.ready(0)
        while run.fleet.snapshot().workers[0].tasks[0].task.video == "b":
            run.done("b", run.fleet.snapshot().workers[0].tasks[0].task.segment)
        run.exit(0)
    assert run.video("bad").status == "failed"
    assert run.status(0) in ("down", "starting")


def test_a_worker_that_dies_twice_within_minutes_is_drained() -> None:
    run = Script([make_job("a", segments=9), make_job("b", segments=9)], lanes=(1, 1))
    run.ready(0, 1)
    run.exit(0)
    run.ready(0)
    run.now = 500
    run.exit(0)
    assert run.status(0) == "retired"
    assert [e.retired for e in run.entries if isinstance(e, WorkerLost)] == [False, True]
    for number in range(9):
        run.done("b", number)
    run.done("b", None)
    assert run.assigned()[0][0] == 1, "its videos go to the other"


def test_two_deaths_far_apart_drain_nothing() -> None:
    run = Script([make_job("a", segments=9), make_job("b", segments=9)], lanes=(1, 1))
    run.ready(0, 1)
    run.exit(0)
    run.ready(0)
    run.now = 700
    run.exit(0)
    assert run.status(0) == "starting"


def test_a_task_that_ends_every_worker_drains_none() -> None:
    run = Script([make_job("bad", segments=1), make_job("b", segments=9)], lanes=(1, 1))
    for _ in range(99):
        for worker in run.fleet.snapshot().workers:
            if worker.status == "starting":
                run.ready(worker.id)
            elif worker.status == "stopping":
                run.exit(worker.id, "exit status 0")
            elif worker.tasks and worker.tasks[0].task.video == "bad":
                run.exit(worker.id)
            elif worker.tasks:
                run.done("b", worker.tasks[0].task.segment)
    assert run.fleet.finished
    assert [run.video(v).status for v in ("bad", "b")] == ["failed", "done"]
    assert len([e for e in run.entries if isinstance(e, WorkerLost)]) == 3
    assert not any(e.retired for e in run.entries if isinstance(e, WorkerLost))


def test_a_drained_worker_comes_back_when_the_fault_was_not_its_own() -> None:
    run = Script(
        [make_job("x", segments=1), make_job("b", segments=20), make_job("y", segments=1)],
        lanes=(1, 1),
    )
    run.ready(0, 1)
    run.exit(0)  # with x
    run.ready(0)
    run.exit(0)  # with y
    assert run.status(0) == "retired"
    while run.status(0) == "retired" and run.video("b").status != "failed":
        (task,) = run.fleet.snapshot().workers[1].tasks
        if task.task.video == "b":
            run.done("b", task.task.segment)
        else:  # x ends the other worker too
            run.exit(1)
    assert run.status(0) in ("down", "starting")
    assert run.video("b").status == "done"


def test_a_process_that_cannot_be_killed_is_left_behind() -> None:
    run = Script(
        [make_job("a"), make_job("b")], lanes=(1, 1), rules=Rules(first_frame_s=100, end_s=10)
    )
    run.ready(0, 1)
    stuck = run.who(TaskId("a", 0))
    run.tell(TaskProgress(*run.who(TaskId("b", 0)), 1), now=99)
    kills = []
    for now in range(100, 160, 10):
        kills += [a.worker for a in run.tell(Tick(), now=now) if isinstance(a, Kill)]
    assert kills == [0] * 5
    assert run.status(0) == "retired"
    for segment in (0, 1, None):
        run.done("b", segment)
    worker, command = run.given[TaskId("a", 0)]
    assert (worker, command.attempt) == (1, 2)
    result = segment_result(command)
    assert run.tell(SegmentDone(*stuck, result, 1.0)) == [], "its words do not count any more"


def test_the_first_frame_has_a_deadline_of_its_own() -> None:
    run = Script([make_job("a")], rules=Rules(first_frame_s=200, stall_s=100))
    run.ready(0)
    assert run.fleet.next_deadline() == 200
    run.tell(TaskProgress(*run.who(TaskId("a", 0)), 1), now=150)
    assert run.fleet.next_deadline() == 250


def test_start_deadline() -> None:
    run = Script([make_job("a")], rules=Rules(start_s=60))
    assert run.fleet.next_deadline() == 60
    run.tell(Tick(), now=59.9)
    assert run.actions == []
    run.tell(Tick(), now=60)
    assert [type(a) for a in run.actions] == [Kill]
    run.exit(0)
    assert run.actions[-1] == Spawn(0, 2)


def test_only_new_frames_reset_the_stall_clock() -> None:
    run = Script([make_job("a", segments=2)], lanes=(2,), rules=Rules(stall_s=100))
    run.ready(0)
    stuck, lively = TaskId("a", 0), TaskId("a", 1)
    run.tell(TaskProgress(*run.who(stuck), 3), now=50)
    run.tell(TaskProgress(*run.who(stuck), 3), now=90)  # no new frame
    run.tell(TaskProgress(*run.who(lively), 3), now=90)
    assert run.fleet.next_deadline() == 150
    run.tell(Tick(), now=150)
    assert [a.worker for a in run.actions if isinstance(a, Kill)] == [0]
    assert run.entries == [], "until the process is gone it may go on writing"
    run.exit(0)
    assert [(e.segment, e.error.kind) for e in run.entries if isinstance(e, TaskLost)] == [
        (0, "stalled")
    ]
    run.ready(0)
    assert run.assigned() == [(0, "a/0")]
    run.done("a", 0)
    assert run.given[lively][1].attempt == 2
    assert len([e for e in run.entries if isinstance(e, TaskLost)]) == 1


def test_joining_has_a_deadline_of_its_own() -> None:
    run = Script([make_job("a", segments=1)], rules=Rules(stall_s=100, finish_s=1000))
    run.ready(0)
    run.done("a", 0)
    assert run.fleet.next_deadline() == 1000


def test_a_process_that_survives_its_kill_is_killed_again() -> None:
    run = Script([make_job("a")], rules=Rules(start_s=60, end_s=5))
    run.tell(Tick(), now=60)
    run.tell(Tick(), now=65)
    assert [type(a) for a in run.actions] == [Kill]


def test_the_first_stop_drains() -> None:
    run = Script([make_job("a", segments=3), make_job("b")], lanes=(1, 1), rules=Rules(grace_s=30))
    run.ready(0)
    run.tell(StopRequested(), now=10)
    assert run.actions[0] == AskToStop(0)
    assert [type(a) for a in run.actions[1:]] == [Kill]  # worker 1 was only starting
    run.exit(1)
    run.done("a", 0)
    assert run.assigned() == []
    assert not run.fleet.finished
    run.exit(0, "exit status 0")
    assert run.fleet.finished
    assert [type(e) for e in run.entries] == [SegmentCommitted]
    assert run.fleet.snapshot().stopping


def test_a_stop_has_a_deadline() -> None:
    run = Script([make_job("a")], rules=Rules(grace_s=30))
    run.ready(0)
    run.tell(StopRequested(), now=10)
    run.tell(Tick(), now=40)
    assert [type(a) for a in run.actions] == [Kill]
    run.exit(0)
    assert run.fleet.finished
    assert run.entries == []


def test_without_grace_a_stop_kills_at_once() -> None:
    run = Script([make_job("a")], rules=Rules(grace_s=0))
    run.ready(0)
    run.tell(StopRequested(), now=10)
    assert run.fleet.next_deadline() == 10
    run.tell(Tick(), now=10)
    assert [type(a) for a in run.actions] == [Kill]


def test_the_second_stop_kills() -> None:
    run = Script([make_job("a"), make_job("b")], lanes=(1, 1))
    run.ready(0, 1)
    run.tell(StopRequested())
    run.tell(StopRequested())
    assert [a.worker for a in run.actions if isinstance(a, Kill)] == [0, 1]
    run.exit(0)
    run.exit(1)
    assert run.fleet.finished
    assert run.entries == []
    assert [run.video(v).status for v in "ab"] == ["running", "running"]
    assert [run.video(v).retries for v in "ab"] == [0, 0]  # none was lost: the run was stopped


def test_words_of_a_dead_life_are_ignored() -> None:
    run = Script([make_job("a", segments=2)])
    run.ready(0)
    old = run.who(TaskId("a", 0))
    result = segment_result(run.given[TaskId("a", 0)][1])
    run.exit(0)
    entries = list(run.entries)
    assert run.tell(SegmentDone(*old, result, 1.0)) == []
    assert run.tell(WorkerReady(0, 1, "cpu")) == []
    assert run.tell(WorkerExited(0, 1, "again")) == []
    assert run.entries == entries
    assert run.status() == "starting"


def test_words_of_an_old_attempt_are_ignored() -> None:
    run = Script([make_job("a", segments=1)])
    run.ready(0)
    old = run.who(TaskId("a", 0))
    result = segment_result(run.given[TaskId("a", 0)][1])
    run.fail("a", 0, "encode")
    assert run.given[TaskId("a", 0)][1].attempt == 2
    assert run.tell(SegmentDone(*old, result, 1.0)) == []
    assert run.tell(TaskProgress(*old, 7)) == []
    assert run.video("a").frames_done == 0


def test_a_run_goes_on_where_it_stopped() -> None:
    jobs = [make_job("a", segments=3), make_job("b", segments=1), make_job("c", segments=2)]
    first = Script([make_job("a", segments=3)])
    first.ready(0)
    kept = segment_result(first.given[TaskId("a", 0)][1])
    committed = {TaskId("a", 0): kept, TaskId("c", 0): kept, TaskId("c", 1): kept}
    run = Script(jobs, committed=committed, published={"b": ()})
    assert run.video("b").status == "done"
    assert run.video("b").earlier
    assert run.video("a").frames_done == 10
    run.ready(0)
    assert run.assigned() == [(0, "c/finish"), (0, "a/1")]


def test_what_was_said_of_a_finished_video_is_still_told() -> None:
    first = Script([make_job("a")])
    first.ready(0)
    found = Finding("anything", "odd", 2, 7)
    told = replace(segment_result(first.given[TaskId("a", 0)][1]), findings=(found,))
    run = Script([make_job("a")], committed={TaskId("a", 0): told}, published={"a": ()})
    assert run.fleet.finished
    assert run.video("a").findings == (found,)


def test_findings_and_seconds_are_those_of_the_segments_that_are_there_in_order() -> None:
    run = Script([make_job("a", segments=3)], lanes=(3,))
    run.ready(0)
    found = [Finding("anything", "odd", 10 * number, 10 * number) for number in range(3)]
    for number in (2, 0):
        task = TaskId("a", number)
        result = replace(
            segment_result(run.given[task][1]),
            findings=(found[number],),
            stage_seconds={"decode": 1.0, f"stage {number}": 2.0},
            wall_s=4.0,
        )
        run.tell(SegmentDone(*run.who(task), result, 1.0))
    state = run.video("a")
    assert state.findings == (found[0], found[2])
    assert state.stage_seconds == {"decode": 2.0, "stage 0": 2.0, "stage 2": 2.0}
    assert state.wall_s == 8.0
    # Progress alters none of it, and readers see that by identity.
    run.tell(TaskProgress(*run.who(TaskId("a", 1)), 3))
    assert run.video("a") != state
    assert run.video("a").findings is state.findings


def test_nothing_left_to_do_is_finished_at_once() -> None:
    run = Script([make_job("a")], published={"a": ()})
    assert run.fleet.finished
    assert run.actions == []


def test_two_videos_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same id"):
        Script([make_job("a"), make_job("a")])


#: Random ones in the longest test.
WORLDS = int(os.environ.get("VRMATTE_WORLDS", "2000"))

FAULTS = [
    "input",
    "decode",
    "encode",
    "resource",
    "device",
    "unforeseen",
    "death",
    "hang",
    "session",
]


def quick_rules(**options: Any) -> Rules:
    quick = Rules(start_s=50.0, first_frame_s=60.0, stall_s=50.0, wait_s=5.0, waits=3)
    return replace(quick, **options)


GOOD: dict[str, object] = {"rules": quick_rules(), "trouble": 0.0, "damage": 0.0, "immortal": 0.0}


def random_world(seed: int, **options: object) -> World:
    """Up to six videos on up to four workers, with a quarter of the videos bad."""
    draw = random.Random(seed)
    names = [f"v{n}" for n in range(draw.randint(1, 6))]
    jobs = [
        make_job(
            name,
            segments=draw.randint(1, 6),
            ram_bytes=draw.randint(0, 4),
            scratch_bytes=draw.randint(0, 4),
        )
        for name in names
    ]
    specs = [
        WorkerSpec(n, draw.randint(1, 3), ram_bytes=draw.choice([None, 5]))
        for n in range(draw.randint(1, 4))
    ]
    rules = quick_rules(
        attempts=draw.randint(1, 3),
        faults=draw.randint(1, 4),
        scratch_bytes=draw.choice([None, 0, 6]),
        join_s=draw.choice([0.0, 30.0]),
    )
    options = {
        "rules": rules,
        "bad": {name: draw.choice(FAULTS) for name in names if draw.random() < 0.25},
        "trouble": draw.choice([0.0, 0.02, 0.1]),
        "damage": draw.choice([0.0, 0.1]),
        "immortal": draw.choice([0.0, 0.0, 0.05]),
        **options,
    }
    return World(draw, jobs, specs, **options)  # type: ignore[arg-type]


def settled(world: World) -> dict[str, str]:
    """Status of each video of a world that has ended, checked against what was recorded."""
    snapshot = world.fleet.snapshot()
    for video in snapshot.videos:
        assert video.status in ("done", "failed"), video
        assert (video.error is None) == (video.status == "done")
        assert video.status == "failed" or video.frames_done == video.num_frames
    recorded = [e.video for e in world.entries if isinstance(e, VideoDone | VideoSetAside)]
    assert sorted([*recorded, *world.published]) == sorted(v.id for v in snapshot.videos)
    return {video.id: video.status for video in snapshot.videos}


def test_random_worlds_end_with_every_video_settled() -> None:
    """Random videos, workers and faults; `World` checks each action as it comes."""
    statuses: Counter[str] = Counter()
    for seed in range(WORLDS):
        world = random_world(seed)
        world.run()
        statuses.update(settled(world).values())
        if not world.damage:
            segments = [(e.video, e.segment) for e in world.entries if is_segment(e)]
            assert len(segments) == len(set(segments)), "a segment was made twice"
    assert min(statuses["done"], statuses["failed"]) > WORLDS / 4, "the worlds are one-sided"


def is_segment(entry: object) -> TypeGuard[SegmentCommitted]:
    return isinstance(entry, SegmentCommitted)


def test_in_random_worlds_a_bad_video_costs_only_itself() -> None:
    """Whatever is wrong with however many videos: all others are done."""
    for seed in range(WORLDS // 2):
        world = random_world(seed, **GOOD)
        world.run()
        expected = {j.id: "failed" if j.id in world.bad else "done" for j in world.jobs}
        assert settled(world) == expected, f"bad: {world.bad}"


def test_in_random_worlds_a_sick_worker_costs_no_video() -> None:
    """One worker dies of every segment: the others do its work, and it is drained."""
    drained = 0
    for seed in range(WORLDS // 2):
        world = random_world(seed, bad={}, **GOOD)
        if len(world.specs) < 2:
            continue
        world = replace(world, sick=frozenset({world.specs[0].id}))
        world.run()
        assert set(settled(world).values()) == {"done"}
        sick = world.fleet.snapshot().workers[0]
        assert sick.faults <= 2
        drained += sick.status == "retired"
    assert drained > WORLDS / 16


def test_random_worlds_stop_when_they_are_told_to_and_go_on_later() -> None:
    """By people or by a full disk; nothing that was recorded is made again."""
    stopped = 0
    for seed in range(WORLDS // 4):
        world = random_world(seed, bad={}, stops=2, full=0.01, **GOOD)
        world.run()
        assert not any(worker.tasks for worker in world.fleet.snapshot().workers)
        unfinished = {v.id for v in world.fleet.snapshot().videos if v.status != "done"}
        stopped += bool(unfinished)
        again = world.run_again()
        again.run()
        assert set(settled(again).values()) == {"done"}
        made = {(e.video, e.segment) for e in world.entries if is_segment(e)}
        assert made.isdisjoint((e.video, e.segment) for e in again.entries if is_segment(e))
    assert stopped > WORLDS / 16
