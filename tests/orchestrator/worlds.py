"""Made-up videos, and a made-up world of workers that obey a fleet and fail at random."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

from orchestrator.fleet import Fleet
from orchestrator.jobs import VideoJob
from orchestrator.moves import (
    Action,
    AskToStop,
    Assign,
    Event,
    Kill,
    Record,
    Rules,
    Spawn,
    StopRequested,
    Tick,
    WorkerExited,
    WorkerSpec,
)
from pipeline.errors import ErrorRecord
from pipeline.spec import (
    ColorTags,
    FinishJob,
    OutputFile,
    SegmentJob,
    SegmentResult,
    VideoInfo,
    VideoSettings,
)
from workers.messages import (
    DoTask,
    SegmentDone,
    TaskFailed,
    TaskProgress,
    VideoFinished,
    WorkerFailed,
    WorkerReady,
)


def make_job(
    name: str = "a", segments: int = 2, frames: int = 10, folder: str = "/nowhere"
) -> VideoJob:
    """A video of `segments` segments of `frames` frames each."""
    total = segments * frames
    info = VideoInfo(
        path=f"{folder}/{name}.mp4",
        size_bytes=1000,
        mtime_ns=1,
        fingerprint="f" * 64,
        container="mp4",
        codec="h264",
        width=128,
        height=64,
        pixel_format="yuv420p",
        bit_depth=8,
        frame_rate=Fraction(30),
        num_frames=total,
        source_frames=total,
        variable_rate=False,
        color=ColorTags(),
        rotation=0,
        audio=(),
        layout="sbs",
        layout_reason="it was made so",
    )
    return VideoJob(
        id=name,
        name=f"{name}.mp4",
        info=info,
        settings=VideoSettings(),
        outputs=(f"{folder}/{name}_matte.webm",),
        segments=tuple((n * frames, (n + 1) * frames) for n in range(segments)),
        index_path=f"{folder}/{name}.json",
        work_dir=f"{folder}/work/{name}",
    )


def segment_result(command: DoTask) -> SegmentResult:
    assert isinstance(command.job, SegmentJob)
    files = (f"{command.job.work_dir}/seg-{command.job.number:06d}.webm",)
    return SegmentResult(files, command.job.num_frames, decoder="CPU")


def outputs_of(command: DoTask) -> tuple[OutputFile, ...]:
    assert isinstance(command.job, FinishJob)
    frames = sum(segment.num_frames for segment in command.job.segments)
    return tuple(OutputFile("webm", path, 5, frames) for path in command.job.outputs)


@dataclass
class Process:
    """A worker's process of the made-up world; a doomed one has said its last words."""

    life: int
    ready: bool = False
    asked: bool = False
    doomed: bool = False
    hung: bool = False
    tasks: list[DoTask] = field(default_factory=list)


@dataclass
class World:
    """Draws what happens next until the fleet says it is finished.

    Attributes:
        bad: per video what goes wrong with each of its segments: an error's kind, "death" (the
            process dies without a word) or "hang".
        trouble: chance, each turn, of a fault that is no video's fault.
    """

    draw: random.Random
    jobs: list[VideoJob]
    specs: list[WorkerSpec]
    rules: Rules
    bad: dict[str, str]
    trouble: float
    stops: int = 0

    def __post_init__(self) -> None:
        self.fleet = Fleet(self.jobs, self.specs, self.rules)
        self.lanes = {spec.id: spec.lanes for spec in self.specs}
        self.processes: dict[int, Process] = {}
        self.given: Counter[object] = Counter()
        self.finishing: dict[str, int] = {}
        self.entries: list[object] = []
        self.now = 0.0
        self.turns = 0

    def run(self) -> None:
        self.tell(Tick())
        while not self.fleet.finished:
            self.turns += 1
            assert self.turns < 5000, "the run does not end"
            self.turn()
        assert not self.processes, "finished with processes left"

    def tell(self, event: Event) -> None:
        for action in self.fleet.handle(event, self.now):
            self.obey(action)

    def obey(self, action: Action) -> None:
        match action:
            case Spawn(worker, life):
                assert worker not in self.processes, "a second process for one worker"
                self.processes[worker] = Process(life)
            case Assign(worker, command):
                process = self.processes[worker]
                assert process.ready, "a task for a worker that is not ready"
                assert not process.asked, "a task for a worker that was asked to stop"
                assert not process.doomed, "a task for a worker that said its last words"
                everywhere = [c.task for p in self.processes.values() for c in p.tasks]
                assert command.task not in everywhere, "a task in two hands"
                process.tasks.append(command)
                segments = [c for c in process.tasks if c.task.segment is not None]
                assert len(segments) <= self.lanes[worker]
                assert len(process.tasks) - len(segments) <= 1
                self.given[command.task] += 1
            case AskToStop(worker):
                self.processes[worker].asked = True
            case Kill(worker, _):
                self.end(worker, "killed by SIGKILL")
            case Record(entry):
                self.entries.append(entry)

    def end(self, worker: int, how: str) -> None:
        process = self.processes.pop(worker)
        self.tell(WorkerExited(worker, process.life, how))

    def turn(self) -> None:
        self.now += self.draw.random()
        if self.stops and self.draw.random() < 0.02:
            self.stops -= 1
            self.tell(StopRequested())
            if self.fleet.finished:
                return
        movable = [w for w, p in self.processes.items() if self.can_move(p)]
        deadline = self.fleet.next_deadline()
        if not movable or self.draw.random() < 0.05:
            assert movable or deadline is not None, "deadlock"
            if not movable and deadline is not None:
                self.now = max(self.now, deadline)
            self.tell(Tick())
        elif movable:
            self.move(self.draw.choice(movable))

    @staticmethod
    def can_move(process: Process) -> bool:
        return not process.hung and (
            not process.ready or bool(process.tasks) or process.asked or process.doomed
        )

    def move(self, worker: int) -> None:
        process = self.processes[worker]
        if process.doomed or (process.asked and not process.tasks):
            return self.end(worker, "exit status 0" if process.asked else "exit status 70")
        if self.draw.random() < self.trouble:
            return self.end(worker, "killed by SIGSEGV")
        if not process.ready:
            process.ready = True
            return self.tell(WorkerReady(worker, process.life, "a made-up device"))
        command = self.draw.choice(process.tasks)
        fault = self.bad.get(command.task.video) if command.task.segment is not None else None
        if fault == "death":
            return self.end(worker, "killed by SIGSEGV")
        if fault == "hang":
            process.hung = True
            return None
        if fault is None and self.draw.random() < 0.3:
            done = self.draw.randint(1, 10)
            return self.tell(
                TaskProgress(worker, process.life, command.task, command.attempt, done)
            )
        return self.end_task(worker, process, command, fault)

    def end_task(self, worker: int, process: Process, command: DoTask, fault: str | None) -> None:
        who = (worker, process.life, command.task, command.attempt)
        process.tasks.remove(command)
        if fault is not None:
            error = ErrorRecord(fault, f"{command.task} is bad")
            process.doomed = fault in ("device", "unforeseen")
            self.tell(TaskFailed(*who, error))
            if process.doomed and worker in self.processes:
                self.tell(WorkerFailed(worker, process.life, error))
        elif command.task.segment is None:
            self.tell(VideoFinished(*who, outputs_of(command), 1.0))
        else:
            self.tell(SegmentDone(*who, segment_result(command), 1.0))
