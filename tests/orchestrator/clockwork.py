"""A run without processes: the fleet, and workers that make frames as a clock goes by."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.estimate.cost_class import GROWTH
from orchestrator.fleet.events_actions import (
    AskToStop,
    Assign,
    Event,
    Rules,
    Spawn,
    Tick,
    WorkerExited,
    WorkerSpec,
)
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.snapshot import Snapshot
from pipeline.contract import FinishJob
from tests.orchestrator.worlds import make_job, outputs_of, segment_result
from workers.messages import DoTask, SegmentDone, TaskProgress, VideoFinished, WorkerReady


def sized(job: VideoJob, width: int, height: int) -> VideoJob:
    """The same video in another size."""
    return dataclasses.replace(job, info=dataclasses.replace(job.info, width=width, height=height))


def videos(*shapes: tuple[int, int, int]) -> list[VideoJob]:
    """One for each (segments, frames in each, eye size)."""
    return [
        sized(make_job(f"v{number}", segments, frames), 2 * eye, eye)
        for number, (segments, frames, eye) in enumerate(shapes)
    ]


@dataclass(slots=True)
class _Task:
    command: DoTask
    left: float  # work
    head: float  # of it, before the first frame
    frames: int
    said_at: float = 0.0


@dataclass
class Clockwork:
    """Steps of `step_s`; all lanes share the machine.

    Attributes:
        pixel_s: seconds of a lane for a pixel of a frame of 1 Mpixel, while all lanes are busy.
        growth: the power of its pixels that a frame's cost goes by.
        speeds: of each worker; 1 where it is not named.
        gain: how much faster a lane goes alone.
        warmup_frames: before each segment but a video's first.
        begin_s: seconds of a lane that opening a segment takes.
        joining_s: for a million pixels of a video.
        start_s: until a worker is ready; the second one takes half as long again.
        lump: frames that are told of at once, as a chunk's are.
    """

    jobs: Sequence[VideoJob]
    workers: int = 1
    lanes: int = 1
    pixel_s: float = 1e-6
    speeds: Mapping[int, float] = field(default_factory=dict)
    gain: float = 1.0
    warmup_frames: int = 24
    begin_s: float = 0.5
    joining_s: float = 0.0
    start_s: float = 5.0
    step_s: float = 0.25
    report_s: float = 0.5
    lump: int = 1
    growth: float = GROWTH

    def snapshots(self) -> Iterator[Snapshot]:
        """One a step, and one at the end."""
        specs = [WorkerSpec(number, self.lanes) for number in range(self.workers)]
        patient = Rules(stall_s=1e9, first_frame_s=1e9, finish_s=1e9, start_s=1e9)
        self._fleet = Fleet(self.jobs, specs, patient)
        self._size = {
            job.id: 1e6 * (job.info.width * job.info.height / 1e6) ** self.growth
            for job in self.jobs
        }
        self._now = 0.0
        self._ready_at: dict[int, float] = {}
        self._hand: dict[int, list[_Task]] = {}
        self._tell(Tick())
        while not self._fleet.finished:
            yield self._fleet.snapshot()
            self._step()
        yield self._fleet.snapshot()

    def _tell(self, event: Event) -> None:
        for action in self._fleet.handle(event, self._now):
            match action:
                case Spawn(worker, _):
                    self._ready_at[worker] = self._now + self.start_s * (1 + worker / 2)
                case Assign(worker, command):
                    self._hand[worker].append(self._begun(command))
                case AskToStop(worker):
                    self._tell(WorkerExited(worker, 1, "exit status 0"))

    def _begun(self, command: DoTask) -> _Task:
        size = self._size[command.task.video]
        if isinstance(command.job, FinishJob):
            frames = sum(result.num_frames for result in command.job.segments)
            return _Task(command, frames * size * self.joining_s / 1e6, 0.0, 0)
        warmup = self.warmup_frames if command.job.start else 0
        head = self.begin_s + warmup * size * self.pixel_s
        work = head + command.job.num_frames * size * self.pixel_s
        return _Task(command, work, head, command.job.num_frames)

    def _step(self) -> None:
        self._now += self.step_s
        for worker, at in list(self._ready_at.items()):
            if at <= self._now:
                del self._ready_at[worker]
                self._hand[worker] = []
                self._tell(WorkerReady(worker, 1, "cpu"))
        busy = sum(bool(task.frames) for tasks in self._hand.values() for task in tasks)
        boost = min(self.gain, self.workers * self.lanes / max(busy, 1))
        for worker, tasks in self._hand.items():
            for task in list(tasks):
                rate = self.speeds.get(worker, 1.0) * boost if task.frames else 1.0
                task.left -= self.step_s * rate
                self._hear(worker, tasks, task)

    def _hear(self, worker: int, tasks: list[_Task], task: _Task) -> None:
        command = task.command
        who = (worker, 1, command.task, command.attempt)
        if task.left <= 0:
            tasks.remove(task)
            if task.frames:
                self._tell(SegmentDone(*who, segment_result(command), 1.0))
            else:
                self._tell(VideoFinished(*who, outputs_of(command), 1.0))
        elif task.frames and self._now - task.said_at >= self.report_s:
            size = self._size[command.task.video] * self.pixel_s
            frames = (task.frames - int(task.left / size) - 1) // self.lump * self.lump
            if frames > 0:
                task.said_at = self._now
                self._tell(TaskProgress(*who, frames))
