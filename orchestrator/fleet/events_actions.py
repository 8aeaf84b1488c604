"""Events that the fleet handles, actions that it asks for, and the numbers of its rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import Entry
from pipeline.contract import OutputFile, SegmentResult
from pipeline.errors import ErrorRecord
from workers.messages import DoTask, Report, TaskId

#: Attempts that an error of this kind is worth; kinds not named here get `Rules.attempts`.
#: What is wrong with a file, its place or a setting stays wrong; a decoder gets one more try on the
#: CPU.
ATTEMPTS_BY_KIND = {
    **{"input": 1, "output": 1, "settings": 1, "machine": 1},
    **{"decode": 2, "encode": 2},
    **{"session": 1},
}

#: Nothing failed: a thing of which there are few was not to be had, and will be.
WAITING_KINDS = frozenset({"session"})

#: After these the decoder of the GPU may have been the cause, so the CPU decodes.
DECODER_MAY_BE_TO_BLAME = frozenset({"decode", "lost", "stalled", "device", "unforeseen"})

#: A disk takes no more: one that all use, or one that only some of the workers may have.
DISK_KINDS = frozenset({"disk", "local-folder"})

#: Errors after which a worker's process ends.
FATAL_KINDS = frozenset({"device", "unforeseen"})

#: Errors of a worker's start that a new process would meet again.
HOPELESS_KINDS = frozenset({"settings", "machine"})

#: After so many kills in vain a process is given up.
KILLS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When to try again, and when to give up. Times are in seconds.

    Attributes:
        attempts: failed attempts at one task after which its video is set aside.
        faults: deaths of a worker in a row, without a task done, after which it is retired.
        window_faults: deaths within `window_s` after which it is drained, if others can go on.
        start_s: from the start of a worker's process until its model is loaded.
        first_frame_s: from the start of a segment until its first frame, warm-up included.
        stall_s: without a new frame from a segment.
        finish_s: for joining the segments of a video, from its start.
        grace_s: for the tasks in hand, after a worker was asked to stop.
        end_s: from a kill, or from a worker's last words, until its process is gone.
        join_s: for another worker to join when none is left; 0 where none may.
        wait_s: until a worker that has nothing else in hand asks again for what was not to be had
            (see `WAITING_KINDS`).
        waits: how often a task asks for that; after that it is a failed attempt.
        scratch_bytes: further videos wait while those begun are expected to hold more scratch.
    """

    attempts: int = 3
    faults: int = 3
    window_faults: int = 2
    window_s: float = 600.0
    start_s: float = 600.0
    first_frame_s: float = 900.0
    stall_s: float = 300.0
    finish_s: float = 3600.0
    grace_s: float = 120.0
    end_s: float = 20.0
    join_s: float = 0.0
    wait_s: float = 30.0
    waits: int = 60
    scratch_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """A worker that may be started.

    Attributes:
        lanes: segments it takes at once, at most.
        ram_bytes, vram_bytes: what its segments may need together; None where that is not known.
    """

    id: int
    lanes: int
    ram_bytes: int | None = None
    vram_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """A worker's process is gone; `how` says it in words ("killed by SIGSEGV")."""

    worker: int
    life: int
    how: str


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """There is one more worker that may be started; its number is new."""

    spec: WorkerSpec


@dataclass(frozen=True, slots=True)
class VideosPlanned:
    """More videos are to be made, after those that are known.

    Attributes:
        jobs, committed, published: as of `Fleet`.
        to_come: files of which it is not known yet whether they are videos.
    """

    jobs: Sequence[VideoJob]
    to_come: int
    committed: Mapping[TaskId, SegmentResult] = field(default_factory=dict)
    published: Mapping[str, tuple[OutputFile, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: deadlines are looked at, and the first one starts the work."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The run is to stop: the first drains, the second kills.

    Attributes:
        reason: why, where it is not a person that asks; such a stop never kills.
    """

    reason: ErrorRecord | None = None


Event = Report | WorkerExited | WorkerJoined | VideosPlanned | Tick | StopRequested


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a process for this worker."""

    worker: int
    life: int


@dataclass(frozen=True, slots=True)
class Assign:
    """Give this worker a task."""

    worker: int
    command: DoTask


@dataclass(frozen=True, slots=True)
class AskToStop:
    """Tell this worker to finish what it has in hand and to end."""

    worker: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End this worker's process and its children at once."""

    worker: int
    why: str


@dataclass(frozen=True, slots=True)
class Record:
    """Write this down before anything else is done. A segment's sizes are still to be measured."""

    entry: Entry


Action = Spawn | Assign | AskToStop | Kill | Record
