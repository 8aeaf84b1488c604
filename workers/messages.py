"""What the parent says to a worker, and what a worker says to the parent.

Every report names worker, life, and (where there is one) the task with its attempt, so that the
words of a dead life can be told from those of the living.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import ErrorRecord
from pipeline.spec import FinishJob, OutputFile, SegmentJob, SegmentResult


@dataclass(frozen=True, slots=True, order=True)
class TaskId:
    """Names one piece of work; `segment` is None for joining a video's segments."""

    video: str
    segment: int | None

    def __str__(self) -> str:
        return f"{self.video}/{'finish' if self.segment is None else self.segment}"


@dataclass(frozen=True, slots=True)
class DoTask:
    """Start a task. A worker is never given more than its `lanes` at a time."""

    task: TaskId
    attempt: int
    job: SegmentJob | FinishJob
    cpu_decode: bool = False


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Finish the tasks in hand, then end."""


Command = DoTask | StopWorker


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The model is loaded.

    Attributes:
        device: what the worker runs on, in words ("cpu", "NVIDIA L4 (cuda:0)").
    """

    worker: int
    life: int
    device: str


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """`frames_done` frames of the task have been written so far (warm-up is not counted)."""

    worker: int
    life: int
    task: TaskId
    attempt: int
    frames_done: int


@dataclass(frozen=True, slots=True)
class SegmentDone:
    worker: int
    life: int
    task: TaskId
    attempt: int
    result: SegmentResult
    seconds: float


@dataclass(frozen=True, slots=True)
class VideoFinished:
    worker: int
    life: int
    task: TaskId
    attempt: int
    outputs: tuple[OutputFile, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class TaskFailed:
    worker: int
    life: int
    task: TaskId
    attempt: int
    error: ErrorRecord


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """The worker could not start, or must end; its process exits after this."""

    worker: int
    life: int
    error: ErrorRecord


Report = WorkerReady | TaskProgress | SegmentDone | VideoFinished | TaskFailed | WorkerFailed
