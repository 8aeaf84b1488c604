from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path

import structlog

from orchestrator.fleet.jobs import VideoJob
from pipeline.contract import Concession
from tests.orchestrator.worlds import make_job
from workers.gpu_worker import FAILED, ORPHANED, STOPPED, ProgressReports, serve
from workers.messages import (
    DoTask,
    SegmentDone,
    StopWorker,
    TaskFailed,
    TaskId,
    TaskProgress,
    VideoFinished,
    WorkerFailed,
    WorkerReady,
    WorkerSetup,
)
from workers.result_queue import LineGone, ParentEnd, open_line


def setup_for(folder: Path, work: str = "tests.workers.doubles:Double") -> WorkerSetup:
    return WorkerSetup(
        device="cpu",
        lanes=2,
        log_path=str(folder / "logs" / "cpu0.jsonl"),
        progress_s=0.0,
        work=work,
    )


def job_in(folder: Path, title: str = "", segments: int = 2) -> VideoJob:
    job = make_job(title or "good", segments=segments, folder=str(folder))
    return dataclasses.replace(job, info=dataclasses.replace(job.info, title=title))


def segment_task(job: VideoJob, number: int, *, cpu_decode: bool = False) -> DoTask:
    return DoTask(TaskId(job.id, number), 1, job.segment_job(number), Concession(cpu_decode))


@dataclass
class Served:
    """A worker in a thread, from the parent's side of the line."""

    line: ParentEnd
    status: list[int]
    heard: list[object] = field(default_factory=list)

    def hear(self) -> object:
        """The next report that is no progress."""
        return next(r for r in self.reports() if not isinstance(r, TaskProgress))

    def reports(self) -> Iterator[object]:
        while True:
            while self.heard:
                yield self.heard.pop(0)
            assert wait([self.line.connection], 30), "the worker says nothing"
            self.heard += self.line.receive()


@contextmanager
def served(setup: WorkerSetup) -> Iterator[Served]:
    parent, worker = open_line()
    status: list[int] = []
    log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])

    def live() -> None:
        status.append(serve(worker, 3, 7, setup, log))
        worker.close()

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield Served(parent, status)
    finally:
        parent.hang_up()
        thread.join()
        parent.close()


def test_tasks_are_done_and_named_and_stop_drains(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    with served(setup_for(tmp_path)) as it:
        ready = it.hear()
        assert isinstance(ready, WorkerReady)
        assert (ready.worker, ready.life) == (3, 7)
        results = []
        for number in range(2):
            it.line.send(segment_task(job, number))
            done = it.hear()
            assert isinstance(done, SegmentDone)
            assert (done.worker, done.life, done.task) == (3, 7, TaskId(job.id, number))
            results.append(done.result)
        it.line.send(DoTask(TaskId(job.id, None), 1, job.finish_job(tuple(results))))
        it.line.send(StopWorker())
        finished = it.hear()
        assert isinstance(finished, VideoFinished)
        assert isinstance(it.hear(), LineGone)
    assert it.status == [STOPPED]
    assert Path(job.outputs[0]).read_text() == "0..10 10..20 "


def test_lanes_run_at_the_same_time(tmp_path: Path) -> None:
    job = job_in(tmp_path, "meet")
    with served(setup_for(tmp_path)) as it:
        assert isinstance(it.hear(), WorkerReady)
        for number in range(2):
            it.line.send(segment_task(job, number))
        assert {type(it.hear()) for _ in range(2)} == {SegmentDone}


def test_progress_is_reported_with_its_attempt(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    with served(setup_for(tmp_path)) as it:
        it.line.send(dataclasses.replace(segment_task(job, 1), attempt=5))
        said = []
        for report in it.reports():
            said.append(report)
            if isinstance(report, SegmentDone):
                break
    task = TaskId(job.id, 1)
    progress = [r for r in said if isinstance(r, TaskProgress)]
    assert progress == [TaskProgress(3, 7, task, 5, 10)]


def test_a_foreseen_error_costs_the_task_and_not_the_worker(tmp_path: Path) -> None:
    bad, undecodable = job_in(tmp_path, "input"), job_in(tmp_path, "decode")
    with served(setup_for(tmp_path)) as it:
        assert isinstance(it.hear(), WorkerReady)
        it.line.send(segment_task(bad, 0))
        failed = it.hear()
        assert isinstance(failed, TaskFailed)
        assert (failed.error.kind, failed.error.message) == ("input", "trouble of kind input")
        assert "Traceback" in failed.error.detail
        it.line.send(segment_task(undecodable, 0))
        assert isinstance(it.hear(), TaskFailed)
        it.line.send(segment_task(undecodable, 0, cpu_decode=True))
        assert isinstance(it.hear(), SegmentDone)


def test_an_unforeseen_error_is_reported_and_ends_the_worker(tmp_path: Path) -> None:
    for title, kind in (("bug", "unforeseen"), ("device", "device")):
        with served(setup_for(tmp_path)) as it:
            assert isinstance(it.hear(), WorkerReady)
            it.line.send(segment_task(job_in(tmp_path, title), 0))
            failed, last = it.hear(), it.hear()
            assert isinstance(failed, TaskFailed)
            assert isinstance(last, WorkerFailed)
            assert failed.error.kind == last.error.kind == kind
            assert isinstance(it.hear(), LineGone)
        assert it.status == [FAILED]


def test_a_worker_without_its_model_says_why(tmp_path: Path) -> None:
    with served(setup_for(tmp_path, "tests.workers.doubles:NoModel")) as it:
        failed = it.hear()
        assert isinstance(failed, WorkerFailed)
        assert (failed.error.kind, failed.error.advice) == ("machine", "fetch them")
        assert isinstance(it.hear(), LineGone)
    assert it.status == [FAILED]


def test_a_worker_whose_parent_is_gone_ends_at_once(tmp_path: Path) -> None:
    with served(setup_for(tmp_path)) as it:
        assert isinstance(it.hear(), WorkerReady)
        it.line.hang_up()
    assert it.status == [ORPHANED]


def test_a_life_has_a_folder_in_scratch_until_it_ends_well(tmp_path: Path) -> None:
    scratch = tmp_path / "nvme"
    setup = dataclasses.replace(setup_for(tmp_path), local_folder=str(scratch))
    with served(setup) as it:
        failed = it.hear()
        assert isinstance(failed, WorkerFailed)
        assert failed.error.kind == "local-folder"
        assert str(scratch) in failed.error.message
    scratch.mkdir()
    with served(setup) as it:
        assert isinstance(it.hear(), WorkerReady)
        assert ["-w3-7-" in path.name for path in scratch.iterdir()] == [True]
        it.line.send(StopWorker())
        assert isinstance(it.hear(), LineGone)
    with served(dataclasses.replace(setup, work="tests.workers.doubles:NoModel")) as it:
        assert isinstance(it.hear(), WorkerFailed)
    assert list(scratch.iterdir()) == []
    with served(setup) as it:  # whose tasks, if it had any, would write until its process ends
        assert isinstance(it.hear(), WorkerReady)
        it.line.hang_up()
    assert len(list(scratch.iterdir())) == 1


def test_progress_is_told_no_more_often_than_asked_for() -> None:
    clock = iter([100.0, 100.4, 100.5, 100.6, 101.0])
    told: list[int] = []
    reports = ProgressReports(told.append, 0.5, clock.__next__)
    for frames in range(1, 6):
        reports(frames)
    assert told == [1, 3, 5]
