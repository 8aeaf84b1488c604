"""Messages between the parent and a worker, both ways.

Every report names worker, life, and (where there is one) the task with its attempt, so that the
words of a dead life can be told from those of the living.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.contract import (
    AS_ASKED,
    NO_MODEL,
    Concession,
    FinishJob,
    MattingSettings,
    OutputFile,
    ProcessingSettings,
    SegmentJob,
    SegmentResult,
    VideoSettings,
)
from pipeline.errors import ErrorRecord
from pipeline.stages.catalogue import StageChoice, chosen_stages

#: Stages of one name that a worker keeps, unless its lanes use more at the moment. The one before
#: stays, because videos that follow each other may take turns.
MOST_LOADED = 2


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """All that decides what is loaded: the same for two videos means one model for both.

    Its model is `NO_MODEL` where the chain has no matting.
    """

    matting: MattingSettings
    processing: ProcessingSettings

    @classmethod
    def of(cls, settings: VideoSettings) -> ModelChoice:
        """What a video's settings ask for, without what models do not look at."""
        for choice in chosen_stages(settings):
            if choice.stage == "matting":
                return cls(choice.settings.matting, choice.settings.processing)
        return cls(MattingSettings(model=NO_MODEL), ProcessingSettings())

    @property
    def stage(self) -> StageChoice:
        """The stage that holds this model."""
        kept = VideoSettings(matting=self.matting, processing=self.processing)
        return StageChoice("matting", kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSetup:
    """All that a worker's process is given at birth.

    Attributes:
        device: "cpu", or the number of a CUDA device as this machine's tools count them.
        lanes: segments in flight at once.
        model: what all tasks need, loaded before the worker says it is ready; None: they need
            different ones, and each is loaded by the first task that comes with it.
        log_path: JSON lines; what libraries print goes to the same name ending in ``.err``.
        log_level: the least level that is written there: debug, info, warning or error.
        progress_s: shortest time between two progress reports of one task, in seconds.
        ram_bytes: what its processes may hold; None: whatever they need.
        vram_bytes: what PyTorch may take of its GPU, less than the worker, whose decoders and
            encoders take their own; None likewise.
        idle_decoders: how many decoders of its GPU wait for the next file.
        local_folder: where each life makes a folder of its own (`workers/local_folder.py`), in
            which `work` writes segments; None: they are written in OUT.
        work: ``module:class`` of what does the tasks; another one only in tests.
    """

    device: int | str
    lanes: int
    log_path: str
    model: ModelChoice | None = None
    log_level: str = "info"
    progress_s: float = 0.5
    ram_bytes: int | None = None
    vram_bytes: int | None = None
    idle_decoders: int = 0
    local_folder: str | None = None
    work: str = "workers.work:Pipeline"

    def __post_init__(self) -> None:
        if isinstance(self.device, str) and self.device != "cpu":
            raise ValueError(f"device must be 'cpu' or a number, got {self.device!r}")
        if self.lanes < 1:
            raise ValueError(f"a worker needs at least one lane, got {self.lanes}")


@dataclass(frozen=True, slots=True, order=True)
class TaskId:
    """Names one piece of work; `segment` is None for joining a video's segments."""

    video: str
    segment: int | None

    def __str__(self) -> str:
        return f"{self.video}/{'finish' if self.segment is None else self.segment}"


@dataclass(frozen=True, slots=True)
class DoTask:
    """Start a task.

    A worker never has more than `lanes` segments, and one joining of segments, at a time.
    """

    task: TaskId
    attempt: int
    job: SegmentJob | FinishJob
    concession: Concession = AS_ASKED


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Finish the tasks in hand, then end."""


Command = DoTask | StopWorker


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The device is open, and the model loaded if there is one for all.

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
    """An attempt came to nothing.

    Attributes:
        damaged: where segments were to be joined, the numbers of those that are not whole.
    """

    worker: int
    life: int
    task: TaskId
    attempt: int
    error: ErrorRecord
    damaged: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """The worker could not start, or must end; its process exits after this."""

    worker: int
    life: int
    error: ErrorRecord


Report = WorkerReady | TaskProgress | SegmentDone | VideoFinished | TaskFailed | WorkerFailed
