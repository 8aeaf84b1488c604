"""A large fleet on a clock that jumps from one event to the next: how long a batch takes.

Lanes make frames at one pace, processes die at random moments and are started again, and nobody
looks at anything but what the fleet says.
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.fleet.events_actions import (
    AskToStop,
    Assign,
    Event,
    Kill,
    Record,
    Rules,
    Spawn,
    Tick,
    WorkerExited,
    WorkerJoined,
    WorkerSpec,
)
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.jobs import VideoJob
from pipeline.contract import FinishJob
from tests.orchestrator.worlds import make_job, outputs_of, segment_result
from workers.messages import DoTask, SegmentDone, TaskProgress, VideoFinished, WorkerReady

DEATH = "killed by SIGKILL"

#: Events between two looks at the whole state, as the supervisor has them when much happens.
LOOK_EVERY = 100


def unequal_videos(count: int, seed: int, *, most: int = 400, segment: int = 600) -> list[VideoJob]:
    """Videos of 1 to `most` segments, many short and few long (log-normal, median a tenth)."""
    draw = random.Random(seed)
    return [
        make_job(f"v{n}", max(1, min(most, round(draw.lognormvariate(0, 1) * most / 10))), segment)
        for n in range(count)
    ]


@dataclass
class Timeline:
    """One run of `jobs` on `workers` equal workers.

    Attributes:
        frame_s: seconds of a lane for a frame.
        joining_s: for a frame of a video.
        start_s: from a process's start until it is ready.
        death_s: mean time between two deaths of a worker's process; 0: they live for ever.
        progress_s: between two reports of a task; 0: none.
        spread: how much longer or shorter than `frame_s` a segment may take, as a share.
        joins_at: when one more worker comes each, in seconds.
        first_late: the number of the first of those; by default the next.
    """

    jobs: Sequence[VideoJob]
    workers: int
    lanes: int = 4
    frame_s: float = 0.1
    joining_s: float = 0.0005
    start_s: float = 30.0
    death_s: float = 0.0
    progress_s: float = 0.0
    spread: float = 0.2
    seed: int = 1
    joins_at: Sequence[float] = ()
    first_late: int | None = None

    now: float = field(default=0.0, init=False)
    events: int = field(default=0, init=False)
    reports: int = field(default=0, init=False)
    deaths: int = field(default=0, init=False)
    handling_s: float = field(default=0.0, init=False)
    slowest_s: float = field(default=0.0, init=False)
    lane_s: float = field(default=0.0, init=False)
    looks: int = field(default=0, init=False)
    looking_s: float = field(default=0.0, init=False)

    def run(self) -> None:
        """To the end; how it went is in the attributes."""
        self._draw = random.Random(self.seed)
        self._order = itertools.count()
        self._heap: list[tuple[float, int, int, int, Event]] = []
        self._life = dict.fromkeys(range(self.workers), 0)
        specs = [WorkerSpec(number, self.lanes) for number in range(self.workers)]
        rules = Rules(window_faults=99, faults=99)  # deaths are nobody's fault here
        self.fleet = Fleet(self.jobs, specs, rules)
        self.tell(Tick())
        first = self.workers if self.first_late is None else self.first_late
        for number, at in enumerate(self.joins_at, first):
            self._life.setdefault(number, 0)
            self._at(at, number, WorkerJoined(WorkerSpec(number, self.lanes)))
        while self._heap:
            at, _, worker, life, event = heapq.heappop(self._heap)
            if self._life[worker] == life:  # a dead life says nothing more
                self.now = at
                self.tell(event)

    @property
    def bound_s(self) -> float:
        """No order of the work can end before: the lanes' work evenly shared, and one last piece.

        Of the tail, the last segment and the joining of its video, nothing can be shared; a worker
        starts once. Deaths and what they cost are not in it.
        """
        lanes = self.workers * self.lanes
        longest = max(stop - start for job in self.jobs for start, stop in job.segments)
        joining = max(job.num_frames for job in self.jobs) * self.joining_s
        return self.start_s + self.lane_s / lanes + longest * self.frame_s + joining

    def tell(self, event: Event) -> None:
        if self.events % LOOK_EVERY == 0:
            began = time.thread_time()
            self.fleet.snapshot()
            self.fleet.next_deadline()
            self.looking_s += time.thread_time() - began
            self.looks += 1
        began = time.thread_time()
        actions = self.fleet.handle(event, self.now)
        took = time.thread_time() - began
        self.events += 1
        self.reports += isinstance(event, TaskProgress)
        self.handling_s += took
        self.slowest_s = max(self.slowest_s, took)
        if isinstance(event, SegmentDone):
            self.lane_s += event.seconds
        if isinstance(event, WorkerExited):
            self._life[event.worker] = -1
            self.deaths += event.how == DEATH
        for action in actions:
            match action:
                case Spawn(worker, life):
                    self._spawn(worker, life)
                case Assign(worker, command):
                    self._assign(worker, command)
                case AskToStop(worker):
                    self._at(0.0, worker, WorkerExited(worker, self._life[worker], "asked to"))
                case Kill(worker, _):
                    self._at(0.0, worker, WorkerExited(worker, self._life[worker], "killed"))
                case Record():
                    pass

    def _at(self, after_s: float, worker: int, event: Event) -> None:
        entry = (self.now + after_s, next(self._order), worker, self._life[worker], event)
        heapq.heappush(self._heap, entry)

    def _spawn(self, worker: int, life: int) -> None:
        self._life[worker] = life
        self._at(self.start_s, worker, WorkerReady(worker, life, "made up"))
        if self.death_s:
            dies = self.start_s + self._draw.expovariate(1 / self.death_s)
            self._at(dies, worker, WorkerExited(worker, life, DEATH))

    def _assign(self, worker: int, command: DoTask) -> None:
        who = (worker, self._life[worker], command.task, command.attempt)
        if isinstance(command.job, FinishJob):
            frames = sum(result.num_frames for result in command.job.segments)
            outputs = outputs_of(command)
            self._at(frames * self.joining_s, worker, VideoFinished(*who, outputs, 1.0))
            return
        frames = command.job.num_frames
        pace = self.frame_s * self._draw.uniform(1 - self.spread, 1 + self.spread)
        if self.progress_s:
            done_s = self.progress_s
            while done_s < frames * pace:
                report = TaskProgress(*who, round(done_s / pace))
                self._at(done_s, worker, report)
                done_s += self.progress_s
        seconds = frames * pace
        self._at(seconds, worker, SegmentDone(*who, segment_result(command), seconds))
