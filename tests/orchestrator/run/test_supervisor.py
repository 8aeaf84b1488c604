from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from socket import socket

import pytest

from orchestrator.backends.base import Handle
from orchestrator.backends.local import ThreadBackend
from orchestrator.fleet.events_actions import Rules, WorkerSpec
from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import (
    Entry,
    RunEnded,
    RunStarted,
    SegmentCommitted,
    TaskLost,
    VideoDone,
    VideoSetAside,
)
from orchestrator.fleet.snapshot import Snapshot
from orchestrator.out.journal import Journal
from orchestrator.run.supervisor import Outcome, run
from pipeline.contract import SegmentResult
from pipeline.errors import ErrorRecord, ResourceError
from tests.orchestrator.worlds import make_job
from tests.workers.test_gpu_worker import job_in, setup_for
from workers.messages import Command, DoTask, Report, SegmentDone, WorkerReady
from workers.result_queue import LineGone, WorkerEnd, open_line

Life = Callable[[WorkerEnd, int, int], None]


class ScriptedBackend:
    """Lives that are written in the tests: functions in threads, over real lines."""

    def __init__(self, *lives: Life) -> None:
        self.lives = list(lives)
        self.handles: list[ScriptedHandle] = []

    def launch(self, worker: int, life: int) -> Handle:
        body = self.lives.pop(0) if len(self.lives) > 1 else self.lives[0]
        self.handles.append(ScriptedHandle(worker, life, body))
        return self.handles[-1]

    def is_free(self, worker: int) -> bool:
        return True


class ScriptedHandle:
    def __init__(self, worker: int, life: int, body: Life) -> None:
        self.worker = worker
        self.life = life
        self.line, theirs = open_line()
        self.over, end = os.pipe()
        self.kills = 0
        self.joined = False

        def live() -> None:
            body(theirs, worker, life)
            theirs.close()
            os.close(end)

        self.thread = threading.Thread(target=live)
        self.thread.start()

    @property
    def connection(self) -> socket:
        return self.line.connection

    @property
    def sentinel(self) -> int:
        return self.over

    def send(self, command: Command) -> None:
        self.line.send(command)

    def receive(self) -> list[Report | LineGone]:
        return self.line.receive()

    def kill(self) -> None:
        self.kills += 1
        self.line.hang_up()

    def join(self) -> str:
        self.thread.join()
        self.line.close()
        os.close(self.over)
        self.joined = True
        return "as it was written"


def until_the_end(line: WorkerEnd, worker: int, life: int) -> None:
    """Take tasks and never say anything about them."""
    line.send(WorkerReady(worker, life, "scripted"))
    while line.receive() is not None:
        pass


def supervise(
    folder: Path,
    jobs: list[VideoJob],
    backend: ThreadBackend | ScriptedBackend | None = None,
    workers: int = 1,
    **options: object,
) -> tuple[Outcome, list[Entry]]:
    """One run in `folder`; what came of it, and what the journal says in the end."""
    setup = setup_for(folder)
    backend = backend or ThreadBackend(dict.fromkeys(range(workers), setup))
    specs = [WorkerSpec(number, setup.lanes) for number in range(workers)]
    journal = Journal.open(folder / "journal.jsonl")
    try:
        return run(jobs, backend, specs, journal, **options), journal.entries  # type: ignore[arg-type]
    finally:
        journal.close()


def good_jobs(folder: Path, count: int, segments: int = 3) -> list[VideoJob]:
    jobs = [make_job(f"v{n}", segments=segments, folder=str(folder)) for n in range(count)]
    return jobs


def statuses(outcome: Outcome) -> dict[str, str]:
    return {video.id: video.status for video in outcome.snapshot.videos}


@pytest.mark.parametrize("workers", [1, 3])
def test_all_videos_are_made_and_journaled(tmp_path: Path, workers: int) -> None:
    jobs = good_jobs(tmp_path, 4)
    shown: list[Snapshot] = []
    outcome, entries = supervise(tmp_path, jobs, workers=workers, on_change=shown.append)
    assert set(statuses(outcome).values()) == {"done"}
    assert not outcome.stopped
    for job in jobs:
        assert Path(job.outputs[0]).read_text() == "0..10 10..20 20..30 "
    assert entries[0] == RunStarted(4, workers)
    assert entries[-1] == RunEnded(4, 0, False)
    assert sum(isinstance(entry, VideoDone) for entry in entries) == 4
    sizes = {e.sizes for e in entries if isinstance(e, SegmentCommitted) and e.segment == 0}
    assert sizes == {(len("0..10 "),)}
    assert shown[-1] == outcome.snapshot
    done = [sum(video.frames_done for video in snapshot.videos) for snapshot in shown]
    assert done[-1] == 120


def test_a_second_run_makes_only_what_is_missing(tmp_path: Path) -> None:
    jobs = good_jobs(tmp_path, 2)
    supervise(tmp_path, jobs)
    Path(jobs[1].outputs[0]).unlink()
    Path(jobs[1].work_dir, "seg-000001.webm").unlink()
    outcome, entries = supervise(tmp_path, jobs)
    second = entries[[n for n, e in enumerate(entries) if isinstance(e, RunStarted)][1] :]
    assert [(e.video, e.segment) for e in second if isinstance(e, SegmentCommitted)] == [("v1", 1)]
    assert [video.earlier for video in outcome.snapshot.videos] == [True, False]
    assert Path(jobs[1].outputs[0]).read_text() == "0..10 10..20 20..30 "


def test_bad_files_and_bugs_cost_only_themselves(tmp_path: Path) -> None:
    bad = [job_in(tmp_path, title) for title in ("input", "bug", "device")]
    jobs = [*bad, *good_jobs(tmp_path, 3), job_in(tmp_path, "decode")]
    outcome, entries = supervise(tmp_path, jobs, workers=2)
    expected = {job.id: "failed" if job in bad else "done" for job in jobs}
    assert statuses(outcome) == expected
    reasons = {e.video: e.error.kind for e in entries if isinstance(e, VideoSetAside)}
    assert reasons == {"input": "input", "bug": "unforeseen", "device": "device"}
    attempts = [e for e in entries if isinstance(e, TaskLost) and e.video == "bug"]
    assert len({e.segment for e in attempts}) >= 1
    assert entries[-1] == RunEnded(4, 3, False)


def test_a_report_about_a_file_that_is_not_there_is_not_believed(tmp_path: Path) -> None:
    def liar(line: WorkerEnd, worker: int, life: int) -> None:
        line.send(WorkerReady(worker, life, "scripted"))
        while isinstance(command := line.receive(), DoTask):
            result = SegmentResult(("nothing.webm",), 10)
            line.send(SegmentDone(worker, life, command.task, command.attempt, result, 1.0))

    outcome, entries = supervise(tmp_path, [make_job("a")], ScriptedBackend(liar))
    assert statuses(outcome) == {"a": "failed"}
    assert not any(isinstance(entry, SegmentCommitted) for entry in entries)


def test_a_worker_that_lost_its_line_is_killed(tmp_path: Path) -> None:
    hold = threading.Event()

    def deaf(line: WorkerEnd, worker: int, life: int) -> None:
        line.close()
        hold.wait(30)

    class Releasing(ScriptedBackend):
        def launch(self, worker: int, life: int) -> Handle:
            handle = super().launch(worker, life)
            real = self.handles[-1].kill
            self.handles[-1].kill = lambda: (real(), hold.set())[0]  # type: ignore[method-assign,func-returns-value]
            return handle

    backend = Releasing(deaf)
    outcome, _ = supervise(tmp_path, [make_job("a")], backend, rules=Rules(faults=1))
    assert [handle.kills for handle in backend.handles] == [1]
    assert statuses(outcome) == {"a": "failed"}


def test_a_worker_without_progress_is_killed_and_its_video_set_aside(tmp_path: Path) -> None:
    backend = ScriptedBackend(until_the_end)
    rules = Rules(first_frame_s=0.05, attempts=2)
    outcome, entries = supervise(tmp_path, [make_job("a", segments=1)], backend, rules=rules)
    assert [e.error.kind for e in entries if isinstance(e, TaskLost)] == ["stalled"] * 2
    assert [handle.kills > 0 for handle in backend.handles] == [True, True]
    assert statuses(outcome) == {"a": "failed"}


def test_a_machine_that_starts_no_process_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    class Full:
        def launch(self, worker: int, life: int) -> Handle:
            raise OSError(11, "Resource temporarily unavailable")

        def is_free(self, worker: int) -> bool:
            return True

    outcome, _ = supervise(tmp_path, [make_job("a")], Full())  # type: ignore[arg-type]
    (video,) = outcome.snapshot.videos
    assert video.status == "failed"
    assert "could not be started: Resource temporarily unavailable" in str(video.error)


def after_first_segment(act: Callable[[], None]) -> Callable[[Snapshot], None]:
    """Does something once, when the first segment is there."""
    left = [act]

    def on_change(snapshot: Snapshot) -> None:
        if left and any(video.segments_done for video in snapshot.videos):
            left.pop()()

    return on_change


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_drains_and_the_run_can_be_gone_on_with(tmp_path: Path, number: int) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    jobs = good_jobs(tmp_path, 3, segments=40)
    stop = after_first_segment(lambda: signal.raise_signal(number))
    outcome, entries = supervise(tmp_path, jobs, on_change=stop)
    assert outcome.stopped
    assert isinstance(entries[-1], RunEnded)
    assert entries[-1].stopped
    assert not any(isinstance(entry, TaskLost) for entry in entries), (
        "what was in hand was finished"
    )
    after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert after == before
    outcome, entries = supervise(tmp_path, jobs)
    assert set(statuses(outcome).values()) == {"done"}
    segments = [(e.video, e.segment) for e in entries if isinstance(e, SegmentCommitted)]
    assert len(segments) == len(set(segments)) == 120


def test_a_second_signal_kills(tmp_path: Path) -> None:
    backend = ScriptedBackend(until_the_end)

    def twice(snapshot: Snapshot) -> None:
        if snapshot.workers[0].tasks and not snapshot.stopping:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    outcome, _ = supervise(tmp_path, [make_job("a")], backend, on_change=twice)
    assert outcome.stopped
    assert backend.handles[0].kills > 0


def test_a_terminal_that_is_closed_says_so_twice_and_still_drains(tmp_path: Path) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)

    jobs = good_jobs(tmp_path, 3, segments=40)
    outcome, entries = supervise(tmp_path, jobs, on_change=after_first_segment(twice))
    assert outcome.stopped
    assert not any(isinstance(entry, TaskLost) for entry in entries)


def test_under_nohup_a_closed_terminal_stops_nothing(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        hang_up = after_first_segment(lambda: signal.raise_signal(signal.SIGHUP))
        outcome, _ = supervise(tmp_path, good_jobs(tmp_path, 2), on_change=hang_up)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert set(statuses(outcome).values()) == {"done"}


def test_a_full_disk_stops_the_run_with_its_reason(tmp_path: Path) -> None:
    trouble: list[ErrorRecord] = []
    full = after_first_segment(lambda: trouble.append(ErrorRecord("disk", "no room", "make some")))
    jobs = good_jobs(tmp_path, 2, segments=40)
    outcome, entries = supervise(
        tmp_path, jobs, on_change=full, disk_trouble=lambda: trouble[0] if trouble else None
    )
    assert outcome.stopped
    assert outcome.snapshot.stop_reason == trouble[0]
    assert not any(isinstance(entry, TaskLost | VideoSetAside) for entry in entries)
    assert isinstance(entries[-1], RunEnded)
    assert entries[-1].stopped
    outcome, entries = supervise(tmp_path, jobs)
    assert set(statuses(outcome).values()) == {"done"}


class Holding(ScriptedBackend):
    """Its device's memory is free again only when it has been looked at `looks` times."""

    looks = 3

    def is_free(self, worker: int) -> bool:
        self.looks -= 1
        return self.looks < 0


def test_a_life_waits_until_its_device_is_free(tmp_path: Path) -> None:
    backend = Holding(until_the_end)

    def stop(snapshot: Snapshot) -> None:
        if snapshot.workers[0].tasks and not snapshot.stopping:
            assert backend.looks < 0
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    outcome, _ = supervise(tmp_path, [make_job("a")], backend, on_change=stop)
    assert outcome.stopped


def test_a_device_that_never_becomes_free_is_waited_for_only_so_long(tmp_path: Path) -> None:
    backend = Holding(until_the_end)
    backend.looks = 1000
    seconds = itertools.count(step=10.0)

    def stop(snapshot: Snapshot) -> None:
        if snapshot.workers[0].tasks and not snapshot.stopping:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    rules = Rules(start_s=1e9, first_frame_s=1e9, grace_s=1e9)
    outcome, _ = supervise(
        tmp_path,
        [make_job("a")],
        backend,
        on_change=stop,
        rules=rules,
        clock=lambda: next(seconds),
    )
    assert outcome.stopped
    assert backend.looks > 900


def test_a_life_that_waits_for_its_device_can_be_called_off(tmp_path: Path) -> None:
    backend = Holding(until_the_end)
    backend.looks = 1000

    def stop(snapshot: Snapshot) -> None:
        if not snapshot.stopping:
            signal.raise_signal(signal.SIGTERM)

    outcome, _ = supervise(tmp_path, [make_job("a")], backend, on_change=stop)
    assert outcome.stopped
    assert backend.handles == []


def test_when_the_journal_fails_no_worker_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = ScriptedBackend(until_the_end)
    real = Journal.append

    def append(journal: Journal, entry: Entry) -> None:
        if isinstance(entry, TaskLost):
            raise ResourceError("the disk is full")
        real(journal, entry)

    monkeypatch.setattr(Journal, "append", append)
    with pytest.raises(ResourceError, match="full"):
        supervise(tmp_path, [make_job("a")], backend, rules=Rules(first_frame_s=0.05))
    assert [handle.joined for handle in backend.handles] == [True]
