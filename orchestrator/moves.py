"""What can happen to the fleet of workers, what it can ask for, and the numbers it goes by."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.entries import Entry
from workers.messages import DoTask, Report

#: Attempts that an error of this kind is worth; kinds not named here get `Rules.attempts`.
#: What is wrong with a file or a setting stays wrong; a decoder gets one more try on the CPU.
ATTEMPTS_BY_KIND = {"input": 1, "settings": 1, "machine": 1, "decode": 2, "encode": 2}

#: Errors after which a worker's process ends.
FATAL_KINDS = frozenset({"device", "unforeseen"})

#: Errors of a worker's start that a new process would meet again.
HOPELESS_KINDS = frozenset({"settings", "machine"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When to try again, and when to give up. Times are in seconds.

    Attributes:
        attempts: failed attempts at one task after which its video is set aside.
        faults: deaths of a worker in a row, without a task done, after which it is retired.
        start_s: from the start of a worker's process until its model is loaded.
        stall_s: without a new frame from a segment.
        finish_s: for joining the segments of a video, from its start.
        stop_s: for the tasks in hand, after a worker was asked to stop.
        end_s: from a kill, or from a worker's last words, until its process is gone.
    """

    attempts: int = 3
    faults: int = 3
    start_s: float = 600.0
    stall_s: float = 300.0
    finish_s: float = 3600.0
    stop_s: float = 120.0
    end_s: float = 20.0


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """A worker that may be started: its number, and the segments it takes at once."""

    id: int
    lanes: int


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """A worker's process is gone; `how` says it in words ("killed by SIGSEGV")."""

    worker: int
    life: int
    how: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: deadlines are looked at, and the first one starts the work."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Somebody wants the run to stop: the first drains, the second kills."""


Event = Report | WorkerExited | Tick | StopRequested


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
