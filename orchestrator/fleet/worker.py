"""A worker over all of its lives: its tasks, the faults that ended it, and its deadlines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from orchestrator.fleet.events_actions import Rules, WorkerSpec
from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.snapshot import RunningTask, WorkerState, WorkerStatus
from orchestrator.fleet.video import FINISH, Task
from orchestrator.fleet.worker_life import TRANSITIONS
from pipeline.errors import ErrorRecord
from workers.messages import TaskId


@dataclass(frozen=True, slots=True)
class Fault:
    """One death of a worker's process; one of `blamed` may have been the cause."""

    at: float
    blamed: tuple[Task, ...]

    @property
    def explained(self) -> bool:
        """Whether a task is to blame rather than the worker: it has ended others too."""
        return any(len(task.tried_on) > 1 and not task.done for task in self.blamed)


@dataclass(slots=True, eq=False)
class Worker:
    """One worker over all of its lives.

    Attributes:
        since: when it came to its present status, in seconds.
        cause_known: why this life ends is known, so the tasks in hand are not to blame.
        stalled: tasks in hand that are to blame; they wait again when the process is gone, for
            until then it may go on writing.
        kills: how often this life was told to end.
        hopeless: a new life would fail in the same way.
        faults: the deaths of its processes in this run.
        most_segments: segments that it takes at once, where it could not have what more need.
        rests_until: until then it takes no segment, because it cannot have what one needs.
        drained_for: faults for which it was retired though a new life might do better.
    """

    spec: WorkerSpec
    life: int = 0
    status: WorkerStatus = "down"
    since: float = 0.0
    device: str = ""
    running: dict[TaskId, Task] = field(default_factory=dict)
    segments_in_hand: int = 0
    most_segments: int | None = None
    rests_until: float | None = None
    error: ErrorRecord | None = None
    cause_known: bool = False
    stalled: dict[TaskId, ErrorRecord] = field(default_factory=dict)
    kills: int = 0
    hopeless: bool = False
    faults: list[Fault] = field(default_factory=list)
    drained_for: tuple[Fault, ...] = ()
    deaths_in_a_row: int = 0
    blameless_in_a_row: int = 0
    blamed: tuple[Task, ...] = ()
    blamed_in_a_row: set[str] = field(default_factory=set)

    @property
    def alive(self) -> bool:
        return self.status not in ("down", "retired")

    @property
    def is_given_up(self) -> bool:
        """No other life is to follow this one, which ends for a reason that is known."""
        return self.cause_known and self.hopeless

    @property
    def may_take_more(self) -> bool:
        """Whether it will take a task soon, so that none needs to be started for it."""
        return self.status == "starting" or (self.status == "ready" and not self.running)

    @property
    def lanes(self) -> int:
        """Segments that it takes at once."""
        if self.rests_until is not None:
            return 0
        return self.spec.lanes if self.most_segments is None else self.most_segments

    def hold_back(self, until: float) -> None:
        """One segment more than those in hand is too many; with none in hand, wait until then."""
        self.most_segments = max(1, self.segments_in_hand)
        if self.segments_in_hand == 0:
            self.rests_until = until

    def has_room_for(self, task: Task) -> bool:
        if task.number == FINISH:
            return len(self.running) == self.segments_in_hand
        in_hand = self.segments_in_hand
        if self.lanes == 0:
            return False
        return in_hand == 0 or (in_hand < self.lanes and self._has_memory_for(task.video.job))

    def _has_memory_for(self, job: VideoJob) -> bool:
        jobs = [task.video.job for task in self.running.values() if task.number != FINISH]
        ram, vram = self.spec.ram_bytes, self.spec.vram_bytes
        return (ram is None or sum(j.ram_bytes for j in jobs) + job.ram_bytes <= ram) and (
            vram is None or sum(j.vram_bytes for j in jobs) + job.vram_bytes <= vram
        )

    def enter(self, status: WorkerStatus, now: float) -> None:
        assert status in TRANSITIONS[self.status], f"a worker goes from {self.status} to {status}"
        self.status, self.since = status, now
        assert self.alive or not self.running, "a dead worker holds tasks"

    def be_born(self, now: float) -> None:
        self.life += 1
        self.rests_until = None
        self.cause_known = self.hopeless = False
        self.stalled = {}
        self.kills = 0
        self.blamed = ()
        self.enter("starting", now)

    def take(self, task: Task) -> None:
        assert task.id not in self.running, "a task is in two hands"
        self.running[task.id] = task
        self.segments_in_hand += task.number != FINISH
        assert self.segments_in_hand <= self.spec.lanes, "more segments than lanes"
        assert len(self.running) - self.segments_in_hand <= 1, "two joinings at once"

    def drop(self, task: Task) -> None:
        del self.running[task.id]
        self.segments_in_hand -= task.number != FINISH

    def complete(self, task: Task) -> None:
        """A task is done: the worker is healthy."""
        self.drop(task)
        self.deaths_in_a_row = self.blameless_in_a_row = 0
        self.blamed_in_a_row.clear()

    def doom(
        self,
        error: ErrorRecord,
        now: float,
        *,
        blamed: Sequence[Task] = (),
        hopeless: bool = False,
    ) -> None:
        """This life is over, because of one of `blamed`, though its process may still be there."""
        if not self.cause_known:
            self.error = error
            self.blamed = tuple(blamed)
        self.cause_known = True
        self.hopeless = self.hopeless or hopeless
        if self.status != "stopping":
            self.enter("ending", now)

    def note_fault(self, now: float) -> None:
        """A life has ended by a fault."""
        self.faults.append(Fault(now, self.blamed))
        self.deaths_in_a_row += 1
        if not self.blamed:
            self.blameless_in_a_row += 1
        elif len(self.blamed) == 1:
            self.blamed_in_a_row.add(self.blamed[0].video.job.id)

    def is_to_retire(self, now: float, rules: Rules, *, last: bool) -> bool:
        """Whether it is given up after its latest fault; the last one is kept for longer.

        `drained_for` then says whether a new life might do better.
        """
        if last:
            return self._is_past_hope(rules)
        recent = [f for f in self.faults if f.at >= now - rules.window_s and not f.explained]
        self.drained_for = tuple(recent) if len(recent) >= rules.window_faults else ()
        in_a_row = self.deaths_in_a_row >= rules.faults
        return self.hopeless or in_a_row or bool(self.drained_for)

    def is_cleared(self, rules: Rules) -> bool:
        """Whether it was drained for faults that a task turned out to explain."""
        if self.status != "retired" or not self.drained_for or self.hopeless:
            return False
        return sum(not fault.explained for fault in self.drained_for) < rules.window_faults

    def _is_past_hope(self, rules: Rules) -> bool:
        """Whether even the last worker is given up, though then the run ends.

        One bad file must not do that, nor a few: what counts is lives that ended without a task to
        blame, and very many *different* videos that each ended a life by itself, with nothing done
        in between.
        """
        return (
            self.hopeless
            or self.blameless_in_a_row >= rules.faults
            or len(self.blamed_in_a_row) >= rules.faults**2
        )

    def deadlines(self, rules: Rules) -> Iterator[tuple[float, Task | WorkerStatus]]:
        """When patience ends, and with what: its present status, or a task."""
        if self.status == "starting":
            yield self.since + rules.start_s, self.status
        elif self.status == "stopping":
            yield self.since + rules.grace_s, self.status
        elif self.status == "ending":
            yield self.since + rules.end_s, self.status
        for task in self.running.values() if self.status == "ready" else ():
            yield task.progress_at + task.patience_s(rules), task

    def overdue(self, now: float, rules: Rules) -> list[Task | WorkerStatus]:
        """With what patience has ended by now."""
        return [what for when, what in self.deadlines(rules) if when <= now]

    def blame(self, overdue: list[Task | WorkerStatus], now: float, rules: Rules) -> None:
        """Its life ends for what is overdue: tasks that stall, or its own beginning."""
        in_hand = list(self.running.values())
        for what in overdue:
            if isinstance(what, Task):
                limit = what.patience_s(rules)
                error = ErrorRecord("stalled", f"nothing came of {what.id} for {limit:g} s")
                self.doom(error, now, blamed=in_hand)
                self.stalled[what.id] = error
            elif what == "starting":
                late = f"the worker did not start within {rules.start_s:g} s"
                self.doom(ErrorRecord("stalled", late), now)

    def state(self) -> WorkerState:
        return WorkerState(
            id=self.spec.id,
            life=self.life,
            status=self.status,
            device=self.device,
            lanes=self.spec.lanes,
            faults=len(self.faults),
            tasks=tuple(
                RunningTask(task.id, task.attempt, task.num_frames, task.frames_done)
                for task in self.running.values()
            ),
            error=self.error,
        )
