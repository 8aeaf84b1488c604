"""Made-up videos, and a made-up world of workers that obey a fleet and fail at random."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from fractions import Fraction

from orchestrator.fleet.events_actions import (
    KILLS,
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
    WorkerJoined,
    WorkerSpec,
)
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import SegmentCommitted, VideoDone, VideoSetAside
from pipeline.contract import (
    ColorTags,
    FinishJob,
    OutputFile,
    SegmentJob,
    SegmentResult,
    VideoInfo,
    VideoSettings,
)
from pipeline.errors import ErrorRecord
from workers.messages import (
    DoTask,
    SegmentDone,
    TaskFailed,
    TaskId,
    TaskProgress,
    VideoFinished,
    WorkerFailed,
    WorkerReady,
)


def make_job(
    name: str = "a",
    segments: int = 2,
    frames: int = 10,
    folder: str = "/nowhere",
    *,
    ram_bytes: int = 0,
    scratch_bytes: int = 0,
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
        projection="equirect180",
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
        ram_bytes=ram_bytes,
        scratch_bytes=scratch_bytes,
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
    kills: int = 0
    immortal: bool = False
    tasks: list[DoTask] = field(default_factory=list)


@dataclass
class World:
    """Draws what happens next until the fleet says it is finished; checks each action as it comes.

    Attributes:
        bad: per video what goes wrong with each of its segments: an error's kind, "death" (the
            process dies without a word) or "hang".
        sick: workers that die whatever segment they are given.
        trouble: chance, each turn, of a fault that is no video's fault.
        damage: chance that segments turn out damaged when they are to be joined.
        full: chance, each turn, that the disk is full.
        immortal: chance that a process cannot be killed; it is silent from its first kill on.
        stops: how often somebody asks the run to stop.
        late: workers that join at some time.
        committed, published: what an earlier run left.
    """

    draw: random.Random
    jobs: list[VideoJob]
    specs: list[WorkerSpec]
    rules: Rules
    bad: dict[str, str] = field(default_factory=dict)
    sick: frozenset[int] = frozenset()
    trouble: float = 0.0
    damage: float = 0.0
    full: float = 0.0
    immortal: float = 0.0
    stops: int = 0
    late: list[WorkerSpec] = field(default_factory=list)
    committed: dict[TaskId, SegmentResult] = field(default_factory=dict)
    published: dict[str, tuple[OutputFile, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fleet = Fleet(self.jobs, self.specs, self.rules, self.committed, self.published)
        self.spec = {spec.id: spec for spec in [*self.specs, *self.late]}
        self.to_join = list(self.late)
        self.job = {job.id: job for job in self.jobs}
        self.processes: dict[int, Process] = {}
        self.given: Counter[TaskId] = Counter()
        self.begun = {task.video for task in self.committed} - self.published.keys()
        self.damaged: set[TaskId] = set()
        self.past_words: list[Event] = []
        self.entries: list[object] = []
        self.now = 0.0
        self.turns = 0
        self.asked_to_stop = 0

    def run(self) -> None:
        self.tell(Tick())
        while not self.fleet.finished:
            self.turns += 1
            assert self.turns < 5000, "the run does not end"
            self.turn()
        left = [process for process in self.processes.values() if not process.immortal]
        assert not left, "finished with processes left"

    def run_again(self) -> World:
        """The world of the same command after this one, in which the disk has room."""
        committed, published = dict(self.committed), dict(self.published)
        for entry in self.entries:
            if isinstance(entry, SegmentCommitted):
                committed[TaskId(entry.video, entry.segment)] = entry.result
            elif isinstance(entry, VideoDone):
                published[entry.video] = entry.outputs
        for task in [task for task in committed if task.video in published]:
            del committed[task]
        return replace(self, full=0.0, stops=0, committed=committed, published=published)

    def tell(self, event: Event) -> None:
        for action in self.fleet.handle(event, self.now):
            self.obey(action)

    def say(self, event: Event) -> None:
        """What a worker says; it may come again when its life is over."""
        if self.draw.random() < 0.1:
            self.past_words.append(event)
        self.tell(event)

    def obey(self, action: Action) -> None:
        match action:
            case Spawn(worker, life):
                assert worker not in self.processes, "a second process for one worker"
                immortal = self.draw.random() < self.immortal
                self.processes[worker] = Process(life, immortal=immortal)
            case Assign(worker, command):
                self.check_assignment(worker, command)
                self.processes[worker].tasks.append(command)
                self.given[command.task] += 1
                self.begun.add(command.task.video)
            case AskToStop(worker):
                self.processes[worker].asked = True
            case Kill(worker, _):
                self.processes[worker].kills += 1
                assert self.processes[worker].kills <= KILLS + self.asked_to_stop
            case Record(entry):
                self.entries.append(entry)
                if isinstance(entry, VideoDone | VideoSetAside):
                    self.begun.discard(entry.video)
                if isinstance(entry, SegmentCommitted):
                    self.damaged.discard(TaskId(entry.video, entry.segment))

    def check_assignment(self, worker: int, command: DoTask) -> None:
        process, spec, task = self.processes[worker], self.spec[worker], command.task
        assert process.ready, "a task for a worker that is not ready"
        assert not process.asked, "a task for a worker that was asked to stop"
        assert not process.doomed, "a task for a worker that said its last words"
        assert not process.kills, "a task for a worker that was killed"
        assert not self.fleet.stopping, "a task while the run is to stop"
        everywhere = [c.task for p in self.processes.values() if p.kills < KILLS for c in p.tasks]
        assert task not in everywhere, "a task in two hands"
        if task.segment is None:
            assert all(c.task.segment is not None for c in process.tasks), "two joinings at once"
            assert not any(d.video == task.video for d in self.damaged), "damage is joined"
            return
        segments = [self.job[c.task.video] for c in process.tasks if c.task.segment is not None]
        assert len(segments) < spec.lanes, "more segments than lanes"
        segments.append(self.job[task.video])
        if len(segments) > 1 and spec.ram_bytes is not None:
            assert sum(job.ram_bytes for job in segments) <= spec.ram_bytes, "too much memory"
        begun = self.begun | {task.video}
        if self.rules.scratch_bytes is not None and task.video not in self.begun and self.begun:
            scratch = sum(self.job[video].scratch_bytes for video in begun)
            assert scratch <= self.rules.scratch_bytes, "too much scratch"

    def end(self, worker: int, how: str) -> None:
        process = self.processes.pop(worker)
        self.tell(WorkerExited(worker, process.life, how))

    def turn(self) -> None:
        self.now += self.draw.random()
        if self.past_words and self.draw.random() < 0.1:
            self.repeat_old_words()
        if self.stops and self.draw.random() < 0.02:
            self.stops -= 1
            self.asked_to_stop += 1
            self.tell(StopRequested())
        if self.full and not self.fleet.stopping and self.draw.random() < self.full:
            self.tell(StopRequested(ErrorRecord("disk", "no room")))
        if self.to_join and self.draw.random() < 0.2:
            self.tell(WorkerJoined(self.to_join.pop()))
        if self.fleet.finished:
            return
        movable = [w for w, p in self.processes.items() if self.can_move(p)]
        deadline = self.fleet.next_deadline()
        if not movable or self.draw.random() < 0.05:
            assert movable or deadline is not None, "deadlock"
            if not movable and deadline is not None:
                self.check_waiting()
                self.now = max(self.now, deadline)
            self.tell(Tick())
        elif movable:
            self.move(self.draw.choice(movable))

    def check_waiting(self) -> None:
        """A worker is waited for while there is none, and only then."""
        state = self.fleet.snapshot()
        alone = all(worker.status == "retired" for worker in state.workers)
        assert alone == (state.waits_s is not None), "nobody is waited for, or without need"

    def repeat_old_words(self) -> None:
        """Words of a life that is over, or of an attempt that has ended, change nothing."""
        words = self.past_words.pop()
        process = self.processes.get(getattr(words, "worker", -1))
        if process and process.life == getattr(words, "life", 0):  # nothing old about them
            return
        assert self.fleet.handle(words, self.now) == []

    @staticmethod
    def can_move(process: Process) -> bool:
        if process.kills:
            return not process.immortal
        return not process.hung and (
            not process.ready or bool(process.tasks) or process.asked or process.doomed
        )

    def move(self, worker: int) -> None:
        process = self.processes[worker]
        if process.immortal:
            return None
        if process.kills and (process.hung or self.draw.random() < 0.9):  # it may take its time
            return self.end(worker, "killed by SIGKILL")
        if process.doomed or (process.asked and not process.tasks):
            return self.end(worker, "exit status 0" if process.asked else "exit status 70")
        if self.draw.random() < self.trouble:
            return self.end(worker, "killed by SIGSEGV")
        if not process.ready:
            process.ready = True
            return self.say(WorkerReady(worker, process.life, "a made-up device"))
        if not process.tasks:
            return None
        command = self.draw.choice(process.tasks)
        fault = self.bad.get(command.task.video) if command.task.segment is not None else None
        if fault == "death" or (worker in self.sick and command.task.segment is not None):
            return self.end(worker, "killed by SIGSEGV")
        if fault == "hang":
            process.hung = True
            return None
        if fault is None and self.draw.random() < 0.3:
            done = self.draw.randint(1, 10)
            return self.say(TaskProgress(worker, process.life, command.task, command.attempt, done))
        return self.end_task(worker, process, command, fault)

    def end_task(self, worker: int, process: Process, command: DoTask, fault: str | None) -> None:
        who = (worker, process.life, command.task, command.attempt)
        process.tasks.remove(command)
        if fault is not None:
            error = ErrorRecord(fault, f"{command.task} is bad")
            process.doomed = fault in ("device", "unforeseen")
            self.say(TaskFailed(*who, error))
            if process.doomed and worker in self.processes:
                self.say(WorkerFailed(worker, process.life, error))
        elif self.full and self.draw.random() < self.full:
            kind = self.draw.choice(("disk", "local-folder"))
            self.say(TaskFailed(*who, ErrorRecord(kind, "no room")))
        elif command.task.segment is not None:
            self.say(SegmentDone(*who, segment_result(command), 1.0))
        elif self.draw.random() < self.damage:
            count = len(self.job[command.task.video].segments)
            numbers = tuple(self.draw.sample(range(count), self.draw.randint(1, count)))
            self.damaged |= {TaskId(command.task.video, number) for number in numbers}
            self.say(TaskFailed(*who, ErrorRecord("damaged", "bits flipped"), numbers))
        else:
            self.say(VideoFinished(*who, outputs_of(command), 1.0))
