"""A worker's process: takes tasks, does them in lanes, reports the results. Decides nothing.

One thread listens to the parent, one runs each task, and the main thread sees to both. A task that
fails with a foreseen error costs itself; anything unforeseen ends the process, because nobody
knows in what state it left the device.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.contract import FinishJob
from pipeline.errors import DeviceError, ErrorRecord, SegmentsDamaged, VrmatteError
from pipeline.structlog_import import structlog
from workers.local_folder import LifeFolder, claim, sweep
from workers.messages import (
    Command,
    DoTask,
    Report,
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
from workers.result_queue import WorkerEnd
from workers.telemetry import resident_bytes

if TYPE_CHECKING:
    from workers.work import Work

#: Exit statuses: asked to stop, something unforeseen, the parent is gone.
STOPPED, FAILED, ORPHANED = 0, 70, 71


class ProgressReports:
    """Passes on a task's progress, but not more often than every `every_s` seconds."""

    def __init__(
        self, tell: Callable[[int], object], every_s: float, clock: Callable[[], float]
    ) -> None:
        self._tell = tell
        self._every_s = every_s
        self._clock = clock
        self._told_at: float | None = None

    def __call__(self, frames_done: int) -> None:
        now = self._clock()
        if self._told_at is None or now - self._told_at >= self._every_s:
            self._told_at = now
            self._tell(frames_done)


@dataclass(frozen=True, slots=True)
class _ParentGone:
    """The parent's end of the line is closed."""


@dataclass(frozen=True, slots=True)
class _TaskEnded:
    task: TaskId
    fatal: ErrorRecord | None


def serve(
    line: WorkerEnd,
    worker: int,
    life: int,
    setup: WorkerSetup,
    log: structlog.BoundLogger,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Be worker `worker` in its life `life` until told to stop; the process's exit status.

    It may return with tasks still in their threads, when the parent is gone or something unforeseen
    happened: the caller must end the process without waiting for them.
    """
    log.info("worker_started", device=setup.device, lanes=setup.lanes)
    began = clock()
    module, _, name = setup.work.partition(":")
    own: LifeFolder | None = None
    try:
        if setup.local_folder is not None:
            own = _own_folder(Path(setup.local_folder), worker, life, log)
            setup = replace(setup, local_folder=str(own.path))
        work: Work = getattr(importlib.import_module(module), name)(setup)
    except Exception as error:
        record = ErrorRecord.of(error)
        log.error("worker_failed", kind=record.kind, error=str(record), detail=record.detail)
        if own is not None:
            own.remove()
        with contextlib.suppress(OSError):  # the parent may be gone; there is nobody to tell
            line.send(WorkerFailed(worker, life, record))
        return FAILED
    log.info("worker_ready", device=work.device, seconds=round(clock() - began, 3))
    status = _Server(line, worker, life, setup, work, log, clock).run()
    if own is not None and status == STOPPED:  # else there may be tasks that still write to it
        own.remove()
    return status


def _own_folder(place: Path, worker: int, life: int, log: structlog.BoundLogger) -> LifeFolder:
    """This life's folder; what those before it left on this machine is removed."""
    if swept := sweep(place):
        log.info("local_folder_swept", folders=swept)
    return claim(place, worker, life)


class _Server:
    def __init__(
        self,
        line: WorkerEnd,
        worker: int,
        life: int,
        setup: WorkerSetup,
        work: Work,
        log: structlog.BoundLogger,
        clock: Callable[[], float],
    ) -> None:
        self._line = line
        self._worker = worker
        self._life = life
        self._setup = setup
        self._work = work
        self._log = log
        self._clock = clock
        self._inbox: queue.SimpleQueue[Command | _TaskEnded | _ParentGone] = queue.SimpleQueue()
        self._ending = threading.Event()

    def run(self) -> int:
        try:
            self._line.send(WorkerReady(self._worker, self._life, self._work.device))
            threading.Thread(target=self._listen, name="listener", daemon=True).start()
            status = self._obey()
        except OSError:
            status = ORPHANED
        finally:
            self._ending.set()
        self._log.info("worker_ended", status=status)
        return status

    def _obey(self) -> int:
        running: set[TaskId] = set()
        draining = False
        while running or not draining:
            match self._inbox.get():
                case DoTask() as command:
                    running.add(command.task)
                    name = str(command.task)
                    threading.Thread(
                        target=self._do, args=(command,), name=name, daemon=True
                    ).start()
                case StopWorker():
                    draining = True
                case _TaskEnded(task, None):
                    running.discard(task)
                case _TaskEnded(_, ErrorRecord() as fatal):
                    self._line.send(WorkerFailed(self._worker, self._life, fatal))
                    return FAILED
                case _ParentGone():
                    return ORPHANED
        return STOPPED

    def _listen(self) -> None:
        while (command := self._line.receive()) is not None:
            self._inbox.put(command)
        self._inbox.put(_ParentGone())

    def _do(self, command: DoTask) -> None:
        """One task in its thread, and the boundary at which its errors become a report."""
        log = self._log.bind(task=str(command.task), attempt=command.attempt)
        log.info(
            "task_started",
            cpu_decode=command.concession.cpu_decode,
            chunk_divisor=command.concession.chunk_divisor,
        )
        fatal: ErrorRecord | None = None
        report: Report
        try:
            report = self._result(command, log)
        except BaseException as error:  # a thread that ends without a word would stall the task
            record = ErrorRecord.of(error)
            log.error("task_failed", kind=record.kind, error=str(record), detail=record.detail)
            if isinstance(error, DeviceError) or not isinstance(error, VrmatteError):
                fatal = record
            damaged = error.segments if isinstance(error, SegmentsDamaged) else ()
            who = (self._worker, self._life, command.task, command.attempt)
            report = TaskFailed(*who, record, damaged)
        try:
            self._line.send(report)
        except OSError:
            self._inbox.put(_ParentGone())
        else:
            self._inbox.put(_TaskEnded(command.task, fatal))

    def _result(self, command: DoTask, log: structlog.BoundLogger) -> SegmentDone | VideoFinished:
        who = (self._worker, self._life, command.task, command.attempt)
        began = self._clock()
        if isinstance(command.job, FinishJob):
            outputs = self._work.finish(command.job, should_stop=self._ending.is_set)
            seconds = self._clock() - began
            log.info("video_finished", seconds=round(seconds, 3))
            return VideoFinished(*who, outputs, seconds)
        result = self._work.segment(
            command.job,
            concession=command.concession,
            on_progress=ProgressReports(
                lambda frames: self._line.send(TaskProgress(*who, frames)),
                self._setup.progress_s,
                self._clock,
            ),
            should_stop=self._ending.is_set,
        )
        seconds = self._clock() - began
        log.info(
            "segment_done",
            seconds=round(seconds, 3),
            frames=result.num_frames,
            decoder=result.decoder,
            concealed_frames=result.concealed_frames,
            resident_bytes=resident_bytes(os.getpid()),
        )
        return SegmentDone(*who, result, seconds)
