"""Journal entries: one frozen value per line. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipeline.contract import OutputFile, SegmentResult
from pipeline.errors import ErrorRecord


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run began, or went on with what an earlier one left."""

    videos: int
    workers: int
    kind: Literal["run-started"] = "run-started"


@dataclass(frozen=True, slots=True)
class SegmentCommitted:
    """A segment's files are whole and bear their names.

    Attributes:
        video: id of the video.
        settings: fingerprint of the settings it was made with.
        segment, start, stop: number of the segment and its frames, half open.
        sizes: bytes of each of `result.files`.
    """

    video: str
    settings: str
    segment: int
    start: int
    stop: int
    result: SegmentResult
    sizes: tuple[int, ...]
    kind: Literal["segment"] = "segment"


@dataclass(frozen=True, slots=True)
class Redo:
    """A part of a finished video that is made again with other settings.

    Attributes:
        former: fingerprint of the settings under which the video is finished.
        made_with: fingerprint of the settings of the part.
        first, stop: numbers of its segments, half open.
        segments: how many the video has.
        begin_s, end_s: times of the part in the outputs.
        differs: what its settings have otherwise than the video's, by ``group.key``, as text.
        command: that makes it, as a shell takes it.
    """

    former: str
    made_with: str
    first: int
    stop: int
    segments: int
    begin_s: float
    end_s: float
    differs: Mapping[str, str] = field(default_factory=dict, hash=False)
    command: str = ""

    @property
    def is_whole(self) -> bool:
        return (self.first, self.stop) == (0, self.segments)


@dataclass(frozen=True, slots=True)
class RedoStarted:
    """A part of a finished video is to be made again; `settings` is of this work alone."""

    video: str
    settings: str
    redo: Redo
    kind: Literal["redo-started"] = "redo-started"


@dataclass(frozen=True, slots=True)
class VideoDone:
    """All deliverables of a video are published.

    Attributes:
        redone: parts of it that were made again since, the last one last; filled in when the
            journal is read (`orchestrator.out.redone`).
    """

    video: str
    settings: str
    outputs: tuple[OutputFile, ...]
    redone: tuple[Redo, ...] = ()
    kind: Literal["video-done"] = "video-done"


@dataclass(frozen=True, slots=True)
class VideoSetAside:
    """A video was given up; the next run tries it again."""

    video: str
    settings: str
    error: ErrorRecord
    kind: Literal["set-aside"] = "set-aside"


@dataclass(frozen=True, slots=True)
class VideoForgotten:
    """A fresh run makes a video anew: what was said of it before, under its settings, is void.

    Attributes:
        outputs: paths of files that were there, and which the person gave up.
    """

    video: str
    settings: str
    outputs: tuple[str, ...] = ()
    kind: Literal["forgotten"] = "forgotten"


@dataclass(frozen=True, slots=True)
class TaskLost:
    """An attempt at a task failed; `segment` is None for the joining of segments."""

    video: str
    segment: int | None
    attempt: int
    worker: int
    error: ErrorRecord
    kind: Literal["task-lost"] = "task-lost"


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker's process ended without being asked to."""

    worker: int
    life: int
    error: ErrorRecord
    retired: bool
    kind: Literal["worker-lost"] = "worker-lost"


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run ended in order; `stopped` if it was asked to before everything was done."""

    done: int
    failed: int
    stopped: bool
    kind: Literal["run-ended"] = "run-ended"


Entry = (
    RunStarted
    | SegmentCommitted
    | RedoStarted
    | VideoDone
    | VideoSetAside
    | VideoForgotten
    | TaskLost
    | WorkerLost
    | RunEnded
)
