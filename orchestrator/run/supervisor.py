"""The event loop of a run: wait for events, pass them to the fleet, carry out its actions.

It knows processes, pipes, signals and the clock, and decides nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from socket import socket, socketpair
from types import FrameType

from orchestrator.backends.base import Arrivals, Backend, Handle
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
from orchestrator.fleet.journal_entries import Entry, RunEnded, RunStarted, SegmentCommitted
from orchestrator.fleet.snapshot import Snapshot
from orchestrator.out.journal import Journal, measure
from orchestrator.run.further import Further, videos_planned
from pipeline.errors import ErrorRecord
from pipeline.structlog_import import structlog
from workers.messages import (
    Command,
    Report,
    SegmentDone,
    StopWorker,
    TaskFailed,
    TaskProgress,
)
from workers.result_queue import LineGone

#: How long to wait, when the run ends by an error, for killed processes to be gone, in seconds.
LAST_WAIT_S = 10.0

#: How long a new life waits for the memory of the one before to be free, and how often it looks.
DEVICE_WAIT_S = 30.0
DEVICE_LOOK_S = 0.25

#: poll() takes no more than 24 days; a limit may be set higher.
LONGEST_WAIT_S = 86400.0

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run; `stopped` if it was asked to stop before everything was done."""

    snapshot: Snapshot
    stopped: bool


def run(
    jobs: Sequence[VideoJob],
    backend: Backend,
    workers: Sequence[WorkerSpec],
    journal: Journal,
    *,
    rules: Rules | None = None,
    on_change: Callable[[Snapshot], None] = lambda snapshot: None,
    disk_trouble: Callable[[], ErrorRecord | None] = lambda: None,
    arrivals: Arrivals | None = None,
    further: Further | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Do the jobs that the journal does not list as done. Call it from the main thread.

    The first SIGINT or SIGTERM lets the tasks in hand finish, the second ends them. SIGHUP, which
    may come twice when a terminal is closed, only ever counts as the first. The earlier signal
    handlers are restored afterwards.

    Args:
        on_change: gets every new state of the run, often; it must be quick.
        disk_trouble: asked before tasks are given out; the reason if the disk can take no more.
        arrivals: further workers that come during the run, where any may.
        further: the jobs after these, which are still being planned, where there may be any.
        clock: seconds that never go back.

    Raises:
        DiskError: the journal cannot be written any more.
    """
    first = videos_planned(jobs, further.to_come if further is not None else 0, journal)
    fleet = Fleet(jobs, workers, rules or Rules(), first.committed, first.published, first.to_come)
    journal.append(RunStarted(len(jobs), len(workers)))
    with _stop_signals() as signals:
        _Loop(
            fleet,
            jobs,
            backend,
            journal,
            signals,
            on_change,
            disk_trouble,
            arrivals,
            further,
            clock,
        ).run()
    snapshot = fleet.snapshot()
    done = sum(video.status == "done" for video in snapshot.videos)
    failed = sum(video.status == "failed" for video in snapshot.videos)
    left = len(snapshot.videos) - done - failed + snapshot.to_come
    stopped = snapshot.stopping and left > 0
    journal.append(RunEnded(done, failed, stopped))
    return Outcome(snapshot, stopped)


@dataclass(frozen=True, slots=True)
class _Unborn:
    """A life that is to be started when its device is free, or when the wait for it ends."""

    life: int
    patience_ends: float


@dataclass(slots=True)
class _Life:
    """A handle, and whether its connection is lost: then only its end is awaited."""

    handle: Handle
    line_gone: bool = False


class _Loop:
    def __init__(
        self,
        fleet: Fleet,
        jobs: Sequence[VideoJob],
        backend: Backend,
        journal: Journal,
        signals: socket,
        on_change: Callable[[Snapshot], None],
        disk_trouble: Callable[[], ErrorRecord | None],
        arrivals: Arrivals | None,
        further: Further | None,
        clock: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._jobs = {job.id: job for job in jobs}
        self._backend = backend
        self._journal = journal
        self._signals = signals
        self._on_change = on_change
        self._disk_trouble = disk_trouble
        self._arrivals = arrivals
        self._further = further
        self._clock = clock
        self._lives: dict[int, _Life] = {}
        self._unborn: dict[int, _Unborn] = {}
        self._events: deque[Event] = deque([Tick()])
        self._log = structlog.get_logger("vrmatte").bind(part="supervisor")

    def run(self) -> None:
        try:
            while True:
                while self._events:
                    self._handle(self._events.popleft())
                self._on_change(self._fleet.snapshot())
                if self._fleet.finished:
                    return
                self._wait()
                self._launch_what_can_be()
        finally:
            self._end_all()

    def _handle(self, event: Event) -> None:
        # Any event but progress may make the fleet give out tasks.
        if not isinstance(event, TaskProgress) and not self._fleet.stopping:
            trouble = self._disk_trouble()
            if trouble is not None:
                self._log.error("disk_trouble", error=str(trouble))
                self._tell(StopRequested(trouble))
        self._tell(event)

    def _tell(self, event: Event) -> None:
        for action in self._fleet.handle(event, self._clock()):
            self._act(action)

    def _wait(self) -> None:
        """Collect events; the reports of a worker come before the event of its end."""
        deadline = self._fleet.next_deadline()
        timeout = None
        if deadline is not None:
            timeout = min(max(0.0, deadline - self._clock()), LONGEST_WAIT_S)
        if self._unborn:
            timeout = DEVICE_LOOK_S if timeout is None else min(timeout, DEVICE_LOOK_S)
        lives = list(self._lives.values())
        things: list[socket | int] = [self._signals]
        things += [life.handle.sentinel for life in lives]
        if self._arrivals is not None:
            things.append(self._arrivals.connection)
        if self._further is not None:
            things.append(self._further.connection)
        things += [life.handle.connection for life in lives if not life.line_gone]
        ready = set(wait(things, timeout))
        if self._signals in ready:
            self._hear(self._signals.recv(1024))
        if self._arrivals is not None and self._arrivals.connection in ready:
            self._events += map(WorkerJoined, self._arrivals.take())
        if self._further is not None and self._further.connection in ready:
            self._plan_further(self._further)
        for life in lives:
            ended = life.handle.sentinel in ready
            if not life.line_gone and (ended or life.handle.connection in ready):
                self._listen(life)
            if ended:
                self._bury(life.handle)
        if deadline is not None and self._clock() >= deadline:
            self._events.append(Tick())

    def _plan_further(self, further: Further) -> None:
        """Take the jobs that are planned by now; a run stops where no more can be planned."""
        jobs, trouble = further.take()
        self._jobs |= {job.id: job for job in jobs}
        self._events.append(videos_planned(jobs, further.to_come, self._journal))
        if trouble is not None and not self._fleet.stopping:  # a stop may end trials, too
            self._log.error("planning_failed", error=str(trouble))
            self._events.append(StopRequested(trouble))
        if trouble is not None or not further.to_come:
            self._further = None

    def _hear(self, numbers: bytes) -> None:
        asked = [number for number in numbers if number in _STOP_SIGNALS]
        self._log.warning("stop_requested", signals=[signal.Signals(n).name for n in asked])
        for number in asked:
            if number != signal.SIGHUP or not self._fleet.stopping:
                self._tell(StopRequested())

    def _listen(self, life: _Life) -> None:
        for message in life.handle.receive():
            if isinstance(message, LineGone):
                life.line_gone = True
                self._log.info("line_gone", worker=life.handle.worker, why=message.why)
                life.handle.kill()  # it cannot be reached any more
            else:
                self._events.append(self._checked(message))

    def _bury(self, handle: Handle) -> None:
        how = handle.join()
        del self._lives[handle.worker]
        self._log.info("worker_exited", worker=handle.worker, life=handle.life, how=how)
        self._events.append(WorkerExited(handle.worker, handle.life, how))

    def _checked(self, report: Report) -> Report:
        """The same report, or a failure where the files that it names do not exist."""
        if isinstance(report, SegmentDone):
            folder = self._jobs[report.task.video].work_dir
            if measure(report.result.files, folder) is None:
                error = ErrorRecord("encode", f"the files of segment {report.task} are not there")
                return TaskFailed(report.worker, report.life, report.task, report.attempt, error)
        return report

    def _act(self, action: Action) -> None:
        match action:
            case Spawn(worker, life):
                self._unborn[worker] = _Unborn(life, self._clock() + DEVICE_WAIT_S)
                self._launch_what_can_be()
            case Assign(worker, command):
                self._log.info("assigned", worker=worker, task=str(command.task))
                self._send(worker, command)
            case AskToStop(worker):
                self._log.info("asked_to_stop", worker=worker)
                self._send(worker, StopWorker())
            case Kill(worker, why):
                self._log.warning("killed", worker=worker, why=why)
                if worker in self._lives:
                    self._lives[worker].handle.kill()
                elif worker in self._unborn:
                    life = self._unborn.pop(worker).life
                    self._events.append(WorkerExited(worker, life, "it was never started"))
            case Record(entry):
                self._record(entry)

    def _send(self, worker: int, command: Command) -> None:
        # A life may be over before the fleet knows: the event follows the worker's last reports.
        if worker in self._lives:
            self._lives[worker].handle.send(command)

    def _launch_what_can_be(self) -> None:
        """Start the lives whose device is free, or that have waited for too long."""
        for worker, unborn in list(self._unborn.items()):
            free = self._backend.is_free(worker)
            if free or self._clock() >= unborn.patience_ends:
                if not free:
                    self._log.warning("device_memory_not_freed", worker=worker)
                del self._unborn[worker]
                self._launch(worker, unborn.life)

    def _launch(self, worker: int, life: int) -> None:
        self._log.info("spawned", worker=worker, life=life)
        try:
            self._lives[worker] = _Life(self._backend.launch(worker, life))
        except OSError as error:
            how = f"it could not be started: {error.strerror or error}"
            self._events.append(WorkerExited(worker, life, how))

    def _record(self, entry: Entry) -> None:
        if isinstance(entry, SegmentCommitted):
            sizes = measure(entry.result.files, self._jobs[entry.video].work_dir)
            if sizes is None:  # removed since the report; the next run will make it again
                self._log.error("segment_vanished", video=entry.video, segment=entry.segment)
                return
            entry = dataclasses.replace(entry, sizes=sizes)
        self._journal.append(entry)

    def _end_all(self) -> None:
        """End all processes, however the loop ended."""
        for life in self._lives.values():
            life.handle.kill()
        for life in self._lives.values():
            if wait([life.handle.sentinel], LAST_WAIT_S):
                life.handle.join()
            else:
                self._log.error("worker_left_behind", worker=life.handle.worker)
        self._lives.clear()


@contextlib.contextmanager
def _stop_signals() -> Iterator[socket]:
    """A socket on which the signals arrive as bytes, instead of ending this process.

    Signals that are ignored (SIGHUP under nohup) stay ignored.
    """
    reader, writer = socketpair()
    writer.setblocking(False)

    def heard(number: int, frame: FrameType | None) -> None:
        """Python writes the number to the wake-up socket; nothing else is needed."""

    old_handlers = {
        number: signal.signal(number, heard)
        for number in _STOP_SIGNALS
        if signal.getsignal(number) != signal.SIG_IGN
    }
    old_wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(old_wakeup)
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
        reader.close()
        writer.close()
