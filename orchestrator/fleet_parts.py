"""What the fleet moves: tasks, videos and workers, each with its own small bookkeeping."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from orchestrator.flags import MatteSummary, summarised
from orchestrator.jobs import VideoJob
from orchestrator.moves import DECODER_MAY_BE_TO_BLAME, Rules, WorkerSpec
from orchestrator.snapshot import (
    RunningTask,
    VideoState,
    VideoStatus,
    WorkerState,
    WorkerStatus,
)
from orchestrator.stage_shares import added
from pipeline.errors import ErrorRecord
from pipeline.spec import Concession, OutputFile, SegmentResult, StageTimes
from workers.messages import DoTask, TaskId

#: `Task.number` of joining a video's segments.
FINISH = -1


@dataclass(slots=True, eq=False)
class Task:
    """One piece of work of a video, waiting, in hand, or done.

    Attributes:
        number: of the segment, or FINISH.
        attempt: counts how often it was given out; names the try under way.
        failures: the kinds of error of the attempts that are held against it.
        tried_on: workers whose process it may have ended.
        progress_at: when a frame of it was last heard of, in seconds.
    """

    video: Video
    number: int
    num_frames: int
    attempt: int = 0
    failures: list[str] = field(default_factory=list)
    tried_on: set[int] = field(default_factory=set)
    done: bool = False
    frames_done: int = 0
    progress_at: float = 0.0

    @property
    def id(self) -> TaskId:
        return TaskId(self.video.job.id, None if self.number == FINISH else self.number)

    @property
    def concession(self) -> Concession:
        """As asked; then decoded by the CPU; then in smaller chunks, which want less memory."""
        halvings = max(
            self.failures.count("resource"), len(self.failures) >= 2, self.video.halvings
        )
        return Concession(
            cpu_decode=not DECODER_MAY_BE_TO_BLAME.isdisjoint(self.failures),
            chunk_divisor=2**halvings,
        )

    def patience_s(self, rules: Rules) -> float:
        """How long it may go without a new frame."""
        if self.number == FINISH:
            return rules.finish_s
        return rules.stall_s if self.frames_done else rules.first_frame_s

    @property
    def runs_alone(self) -> bool:
        """Whether it gets a worker to itself: its last chance, or it may end its worker."""
        return len(self.failures) >= 2 or self.video.suspect


class Video:
    """One video on its way; `pending` holds the tasks that wait for a worker, in order.

    Args:
        home: the worker that takes its segments first.
        note: is told after each change of `pending`.
    """

    def __init__(
        self, job: VideoJob, home: int, note: Callable[[Video], None] = lambda video: None
    ) -> None:
        self.job = job
        self._note = note
        self.settings = job.settings.fingerprint()
        self.home = home
        self.pending = [
            Task(self, number, stop - start) for number, (start, stop) in enumerate(job.segments)
        ]
        self.frames_pending = job.num_frames
        self.segments_left = len(job.segments)
        self.suspect = False
        self.remakes = 0
        self.halvings = 0
        self._troubled: dict[Task, None] = {}  # those of `pending` that have failed
        self._state: VideoState | None = None  # as it was last told, if nothing has changed since
        self._ended_at: float | None = None
        self._results: dict[int, SegmentResult] = {}
        self._matte: MatteSummary | None = None  # of the results as they are, and so the next one
        self._stages: StageTimes | None = None
        self._in_hand: set[Task] = set()
        self._frames_committed = 0
        self._retries = 0
        self._eased = 0
        self._outputs: tuple[OutputFile, ...] = ()
        self._published = False
        self._earlier = False
        self._error: ErrorRecord | None = None
        self._started_at: float | None = None
        self._work_s = 0.0
        note(self)

    @property
    def settled(self) -> bool:
        return self._published or self._error is not None

    @property
    def begun(self) -> bool:
        """Whether something of it may lie in the work folder."""
        return self._started_at is not None or bool(self._results)

    def resume(self, task: TaskId, result: SegmentResult) -> None:
        """Take a segment of an earlier run as done; of a published video, to tell of it."""
        if self._published and task.segment is not None:
            self._results[task.segment] = result
            self._matte = self._state = None
        elif not self.settled:
            found = next(t for t in self.pending if t.number == task.segment)
            self._unqueue(found)
            self._take(found, result)

    def start(self, task: Task, now: float) -> DoTask:
        """Take a waiting task into hand."""
        assert all(other.number != task.number for other in self._in_hand), "in two hands"
        self._in_hand.add(task)
        self._unqueue(task)
        task.attempt += 1
        task.frames_done = 0
        task.progress_at = now
        self._started_at = now if self._started_at is None else self._started_at
        if task.number == FINISH:
            results = tuple(self._results[n] for n in range(len(self.job.segments)))
            return DoTask(task.id, task.attempt, self.job.finish_job(results))
        job = self.job.segment_job(task.number)
        return DoTask(task.id, task.attempt, job, task.concession)

    def progress(self, task: Task, frames_done: int, now: float) -> None:
        """New frames of a task in hand are there."""
        task.frames_done = frames_done
        task.progress_at = now
        self._state = None

    def give_up(self, task: Task) -> None:
        """An attempt came to nothing."""
        self._in_hand.discard(task)
        self._state = None

    def requeue(self, task: Task, *, stopping: bool = False) -> None:
        """Let a task wait again, unless the video is settled by now.

        Args:
            stopping: it was dropped because the run is to end: no attempt was lost.
        """
        if not self.settled:
            self._retries += not stopping
            insort(self.pending, task, key=lambda waiting: waiting.number)
            self.frames_pending += task.num_frames
            if task.failures:
                self._troubled[task] = None
            self._changed()

    def commit(self, task: Task, result: SegmentResult, seconds: float) -> None:
        """A segment is done; after the last one the joining waits for a worker."""
        self._in_hand.discard(task)
        self._work_s += seconds
        self._eased += task.concession.chunk_divisor > 1
        task.done = True
        self.suspect = False
        self._take(task, result)

    def remake(self, numbers: Iterable[int]) -> None:
        """Some finished segments are damaged: let them wait again, and the joining for them."""
        self.remakes += 1
        for number in set(numbers) & self._results.keys():
            del self._results[number]
            self._matte = self._state = None
            start, stop = self.job.segments[number]
            self.segments_left += 1
            self._frames_committed -= stop - start
            self.requeue(Task(self, number, stop - start))

    def publish(
        self, outputs: tuple[OutputFile, ...], *, seconds: float = 0.0, earlier: bool = False
    ) -> None:
        """Its deliverables are there; an earlier run's need no task any more."""
        self._outputs, self._earlier, self._published = outputs, earlier, True
        self._work_s += seconds
        self._in_hand.clear()
        self._drop_pending()

    def set_aside(self, error: ErrorRecord) -> None:
        self._error = error
        self._drop_pending()

    def end(self, now: float) -> None:
        """It is settled in this run."""
        self._ended_at = now
        self._state = None

    def lonely(self) -> Iterator[Task]:
        """Of the waiting tasks that run alone those that have failed, and one that has not."""
        for task in sorted(self._troubled, key=lambda task: task.number):
            if task.runs_alone:
                yield task
        if self.suspect:
            yield from islice((task for task in self.pending if not task.failures), 1)

    def state(self) -> VideoState:
        if self._state is None:
            self._state = self._told()
        return self._state

    def _told(self) -> VideoState:
        job, results = self.job, self._results.values()
        if self._matte is None:
            self._matte = summarised(job.segments, self._results, job.info.frame_rate)
            self._stages = added(result.stages for result in results)
        frames = self._frames_committed + sum(t.frames_done for t in self._in_hand)
        return VideoState(
            id=job.id,
            name=job.name,
            status=self._status(),
            num_frames=job.num_frames,
            frames_done=job.num_frames if self._published else frames,
            num_segments=len(job.segments),
            segments_done=len(job.segments) if self._published else len(self._results),
            retries=self._retries,
            error=self._error,
            outputs=self._outputs,
            earlier=self._earlier,
            started_at=self._started_at,
            ended_at=self._ended_at,
            work_s=self._work_s,
            concealed_frames=sum(result.concealed_frames for result in results),
            decoders=tuple(dict.fromkeys(r.decoder for r in results if r.decoder)),
            eased_segments=self._eased,
            mended_frames=sum(len(r.stereo.mended_frames) for r in results if r.stereo),
            subject_depth_m=_middle(r.stereo.subject_depth_m for r in results if r.stereo),
            matte=self._matte,
            stages=self._stages,
        )

    def _status(self) -> VideoStatus:
        if self._error is not None:
            return "failed"
        if self._published:
            return "done"
        if not self.segments_left:
            return "finishing"
        return "pending" if self._started_at is None else "running"

    def _take(self, task: Task, result: SegmentResult) -> None:
        self._results[task.number] = result
        self._matte = self._state = None
        self._frames_committed += task.num_frames
        self.segments_left -= 1
        if not self.segments_left and not self.settled:
            self.pending.append(Task(self, FINISH, 0))
            self._changed()

    def _unqueue(self, task: Task) -> None:
        self.pending.remove(task)
        self.frames_pending -= task.num_frames
        self._troubled.pop(task, None)
        self._changed()

    def _drop_pending(self) -> None:
        self.pending.clear()
        self.frames_pending = 0
        self._troubled.clear()
        self._changed()

    def _changed(self) -> None:
        self._state = None
        self._note(self)


def _middle(values: Iterable[float | None]) -> float | None:
    """The median of those that are known."""
    known = sorted(value for value in values if value is not None)
    return known[len(known) // 2] if known else None


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
        drained_for: faults for which it was retired though a new life might do better.
    """

    spec: WorkerSpec
    life: int = 0
    status: WorkerStatus = "down"
    since: float = 0.0
    device: str = ""
    running: dict[TaskId, Task] = field(default_factory=dict)
    segments_in_hand: int = 0
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
    def may_take_more(self) -> bool:
        """Whether it will take a task soon, so that none needs to be started for it."""
        return self.status == "starting" or (self.status == "ready" and not self.running)

    def has_room_for(self, task: Task) -> bool:
        if task.number == FINISH:
            return len(self.running) == self.segments_in_hand
        in_hand = self.segments_in_hand
        return in_hand == 0 or (in_hand < self.spec.lanes and self._has_memory_for(task.video.job))

    def _has_memory_for(self, job: VideoJob) -> bool:
        jobs = [task.video.job for task in self.running.values() if task.number != FINISH]
        ram, vram = self.spec.ram_bytes, self.spec.vram_bytes
        return (ram is None or sum(j.ram_bytes for j in jobs) + job.ram_bytes <= ram) and (
            vram is None or sum(j.vram_bytes for j in jobs) + job.vram_bytes <= vram
        )

    def enter(self, status: WorkerStatus, now: float) -> None:
        self.status, self.since = status, now
        assert self.alive or not self.running, "a dead worker holds tasks"

    def be_born(self, now: float) -> None:
        self.life += 1
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

    def unexplained(self, since: float) -> tuple[Fault, ...]:
        """Faults from `since` on for which no task is to blame."""
        return tuple(f for f in self.faults if f.at >= since and not f.explained)

    def is_past_hope(self, rules: Rules) -> bool:
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
