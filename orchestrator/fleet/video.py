"""A video on its way and its tasks: what waits, what is in hand, what is done."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from orchestrator.fleet.events_actions import (
    ATTEMPTS_BY_KIND,
    DECODER_MAY_BE_TO_BLAME,
    FATAL_KINDS,
    Rules,
)
from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import SegmentCommitted
from orchestrator.fleet.segment_sums import SegmentSums, added_up
from orchestrator.fleet.snapshot import VideoState, VideoStatus
from pipeline.contract import Concession, OutputFile, SegmentResult
from pipeline.errors import ErrorRecord
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
        waits: how often it was given back for want of something that will be there.
        tried_on: workers whose process it may have ended.
        progress_at: when a frame of it was last heard of, in seconds.
    """

    video: Video
    number: int
    num_frames: int
    attempt: int = 0
    failures: list[str] = field(default_factory=list)
    tried_on: set[int] = field(default_factory=set)
    waits: int = 0
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

    def is_spent(self, rules: Rules) -> bool:
        """Whether its last failure was one too many."""
        kind = self.failures[-1]
        allowed = ATTEMPTS_BY_KIND.get(kind, rules.attempts)
        return len(self.failures) >= rules.attempts or self.failures.count(kind) >= allowed

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
        self._sums: SegmentSums | None = None  # of the results as they are
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
            self._sums = self._state = None
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

    def charge(self, task: Task, kind: str, worker: int) -> None:
        """An attempt failed in a worker, by an error of that kind: it is held against the task."""
        self.give_up(task)
        task.failures.append(kind)
        if kind == "resource":  # what one segment lacked, the next will lack too
            self.halvings = max(self.halvings, task.failures.count("resource"))
        if kind in FATAL_KINDS or kind in ("lost", "stalled"):
            task.tried_on.add(worker)

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

    def commit(self, task: Task, result: SegmentResult, seconds: float) -> SegmentCommitted:
        """A segment is done, to be recorded; after the last one the joining waits for a worker."""
        self._in_hand.discard(task)
        self._work_s += seconds
        self._eased += task.concession.chunk_divisor > 1
        task.done = True
        self.suspect = False
        self._take(task, result)
        start, stop = self.job.segments[task.number]
        return SegmentCommitted(
            self.job.id, self.settings, task.number, start, stop, result, sizes=()
        )

    def remake(self, numbers: Iterable[int]) -> None:
        """Some finished segments are damaged: let them wait again, and the joining for them."""
        self.remakes += 1
        for number in set(numbers) & self._results.keys():
            del self._results[number]
            self._sums = self._state = None
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
        job, results = self.job, self._results
        if self._sums is None:
            self._sums = added_up([results[number] for number in sorted(results)])
        sums = self._sums
        frames = self._frames_committed + sum(t.frames_done for t in self._in_hand)
        return VideoState(
            id=job.id,
            name=job.name,
            status=self._status(),
            num_frames=job.num_frames,
            frames_done=job.num_frames if self._published else frames,
            num_segments=len(job.segments),
            segments_done=len(job.segments) if self._published else len(results),
            retries=self._retries,
            error=self._error,
            outputs=self._outputs,
            earlier=self._earlier,
            started_at=self._started_at,
            ended_at=self._ended_at,
            work_s=self._work_s,
            concealed_frames=sums.concealed_frames,
            decoders=sums.decoders,
            eased_segments=self._eased,
            findings=sums.findings,
            stage_seconds=sums.stage_seconds,
            wall_s=sums.wall_s,
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
        self._sums = self._state = None
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


def videos_of(
    jobs: Sequence[VideoJob],
    homes: Sequence[int],
    note: Callable[[Video], None],
    committed: Mapping[TaskId, SegmentResult],
    published: Mapping[str, tuple[OutputFile, ...]],
    first_turn: int = 0,
) -> dict[str, Video]:
    """The videos of a run as an earlier one left them, by their ids; homes take turns.

    Args:
        first_turn: how many videos came before these.

    Raises:
        ValueError: two jobs have the same id.
    """
    videos = {
        job.id: Video(job, homes[turn % len(homes)], note)
        for turn, job in enumerate(jobs, first_turn)
    }
    if len(videos) != len(jobs):
        raise ValueError("two videos have the same id")
    for video, outputs in published.items():
        videos[video].publish(outputs, earlier=True)
    for task, result in committed.items():
        videos[task.video].resume(task, result)
    return videos
