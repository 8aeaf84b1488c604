"""The state of a run as frozen values, for progress, report and status. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Final, Literal

from pipeline.contract import Finding, OutputFile
from pipeline.errors import ErrorRecord
from workers.messages import TaskId

VideoStatus = Literal["pending", "running", "finishing", "done", "failed"]
WorkerStatus = Literal["down", "starting", "ready", "stopping", "ending", "retired"]


#: Of a "finishing" video that no worker joins, in words.
ALL_BUT_JOINED: Final = "all segments made; joining is left"


@dataclass(frozen=True, slots=True)
class VideoState:
    """One video.

    Attributes:
        status: "pending" until a worker has had a task of it; "finishing" once all segments are
            there; "failed" when it is set aside.
        frames_done: frames of finished segments and of those in hand.
        retries: attempts that failed or were lost and are made again, over all of its tasks.
        eased_segments: segments that were made with smaller chunks after trouble.
        earlier: it was already done when this run began.
        started_at, ended_at: on the supervisor's clock, in seconds.
        work_s: seconds that workers spent on its finished tasks, added up.
        decoders: what decoded its segments, in words, each once.
        findings: of all segments that are there, an earlier run's too, in order. The same value
            until that changes, so that readers can tell by identity that nothing has.
        stage_seconds: how long each stage was at work in these segments, by its name.
        wall_s: how long these segments took, added up; 0 where none was measured.
    """

    id: str
    name: str
    status: VideoStatus
    num_frames: int
    frames_done: int
    num_segments: int
    segments_done: int
    retries: int
    error: ErrorRecord | None
    outputs: tuple[OutputFile, ...]
    earlier: bool
    started_at: float | None
    ended_at: float | None
    work_s: float
    concealed_frames: int
    decoders: tuple[str, ...]
    eased_segments: int = 0
    findings: tuple[Finding, ...] = ()
    stage_seconds: Mapping[str, float] = field(default_factory=dict, hash=False)
    wall_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RunningTask:
    """A task in a worker's hands; `num_frames` is 0 for the joining of segments."""

    task: TaskId
    attempt: int
    num_frames: int
    frames_done: int


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker; `life` counts its processes from 1 and is 0 before the first.

    Attributes:
        device: what it runs on, in words; empty until it has said so.
        faults: its processes that ended without being asked to, in this run.
        error: the last thing that ended one of its lives, if anything did.
    """

    id: int
    life: int
    status: WorkerStatus
    device: str
    lanes: int
    faults: int
    tasks: tuple[RunningTask, ...]
    error: ErrorRecord | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole run at one moment.

    Attributes:
        now: the moment, on the supervisor's clock, in seconds.
        stopping: the run was told to stop.
        stop_reason: why, where nobody asked for it.
        waits_s: no worker is left, and for so long one may join; None while there are any.
        to_come: files that are still to be read, and may be further videos.
    """

    now: float
    videos: tuple[VideoState, ...]
    workers: tuple[WorkerState, ...]
    stopping: bool
    stop_reason: ErrorRecord | None = None
    waits_s: float | None = None
    to_come: int = 0

    def with_new(self, later: Snapshot) -> Snapshot:
        """The same, with the videos that came since as they were when they came.

        Args:
            later: the first snapshot in which they are.
        """
        new = later.videos[len(self.videos) :]
        return replace(self, videos=(*self.videos, *new)) if new else self

    def changed(self, before: Snapshot | None) -> Iterator[tuple[VideoState | None, VideoState]]:
        """The videos that are not as they were, each as it was, if it was there, and as it is.

        Quick for snapshots of one run: what has not changed is the same value in both.
        """
        if before is None:
            yield from ((None, video) for video in self.videos)
            return
        moved = [pair for pair in zip_longest(before.videos, self.videos) if pair[0] is not pair[1]]
        old = {was.id: was for was, _ in moved if was is not None}
        for _, video in moved:
            if video is not None and video != (was := old.get(video.id)):
                yield was, video
