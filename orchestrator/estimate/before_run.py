"""Estimate the duration of a run before it begins, by trials of a few frames (``--dry-run``).

Videos alike in size, codec and settings share a trial. The speeds of its stages give the time of a
lane for a frame while all lanes are busy (`orchestrator/estimate/lanes_wanted.py`); with that the
run is simulated (`orchestrator/estimate/makespan.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.estimate.cost_class import Kind, frame_work, joining_seconds, kind_of
from orchestrator.estimate.lanes_wanted import Cost
from orchestrator.estimate.makespan import VideoAhead, WorkerAhead, seconds_left
from orchestrator.estimate.trial import StageRequest, Stages
from orchestrator.fleet.events_actions import WorkerSpec
from orchestrator.fleet.jobs import VideoJob
from pipeline.errors import MachineError
from pipeline.judge.doubt import Doubt, doubts_of
from pipeline.structlog_import import structlog
from pipeline.text import printable

TRIAL_FRAMES = 20

#: A trial takes ten to thirty seconds. Of more kinds than that, those with most work are tried.
MOST_TRIALS = 6

#: A trial may fail by its video alone: of a kind as many are tried until all of it counts as lost.
MOST_FAILURES = 2

#: What a whole run reaches of what its stages alone would allow: 0.88 to 0.95 measured with all
#: lanes busy (docs/benchmarks/004-speed.md).
EFFICIENCY = 0.9


@dataclass(slots=True)
class Trials:
    """Measures the stages of a video, once for all videos that are alike.

    Attributes:
        measure: `orchestrator.estimate.trial.stages_alone` on a worker's device, or a double.
        on_trial: gets a description of each trial.
    """

    measure: Callable[[StageRequest], Stages]
    on_trial: Callable[[str], None] = lambda what: None
    _found: dict[Kind, Stages] = field(default_factory=dict)
    _failed: dict[tuple[Kind, str], MachineError] = field(default_factory=dict)

    def of(self, job: VideoJob) -> Stages:
        """Raises MachineError: the trial failed, now or before."""
        begin, last = job.segments[0][0], job.segments[-1][1]
        return self.answer(StageRequest(job.info, job.settings, begin, last, job.index_path))

    def answer(self, request: StageRequest) -> Stages:
        """The stages of the video that is asked for, by `TRIAL_FRAMES` of it or of one like it.

        Raises:
            MachineError: the trial failed, now or before.
        """
        kind, asked = kind_of(request), request.middle(TRIAL_FRAMES)
        if kind in self._found:
            return self._found[kind]
        own = kind, request.info.path
        if own in self._failed:
            raise self._failed[own]
        name = Path(request.info.path).name
        self.on_trial(printable(f"trying {asked.stop - asked.start} frames of {name}"))
        try:
            self._found[kind] = self.measure(asked)
        except MachineError as error:
            structlog.get_logger("vrmatte").warning("trial_failed", error=str(error))
            self._failed[own] = error
            raise
        return self._found[kind]


@dataclass(frozen=True, slots=True)
class Forecast:
    """The estimate of a run; by the videos' ids.

    Attributes:
        seconds: of the whole run, from its workers' start on, without the videos that have
            `problems`; None where nothing could be tried.
        start_s: of them, until the workers' models are loaded.
        frames_per_second: of each video, while all lanes do such videos.
        stages: of each video that was tried, or one like it.
        doubts: about the mattes of each video that was tried itself; empty where there are none.
        problems: why a video, and those like it, could not be tried: the run would fail on it too.
    """

    seconds: float | None = None
    start_s: float = 0.0
    frames_per_second: Mapping[str, float] = field(default_factory=dict)
    stages: Mapping[str, Stages] = field(default_factory=dict)
    doubts: Mapping[str, tuple[Doubt, ...]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


def forecast(
    jobs: Sequence[VideoJob],
    workers: Sequence[WorkerSpec],
    cores: float,
    on_gpu: bool,
    trials: Trials,
) -> Forecast:
    """Try the videos, each kind once, and simulate the run without those that could not be tried.

    Args:
        jobs: what is left to do.
        cores: of all workers together.
    """
    by_kind: dict[Kind, list[VideoJob]] = {}
    for job in jobs:
        by_kind.setdefault(kind_of(job), []).append(job)
    kinds = sorted(by_kind.values(), key=lambda alike: -sum(map(_work, alike)))
    stages: dict[str, Stages] = {}
    doubts: dict[str, tuple[Doubt, ...]] = {}
    problems: dict[str, str] = {}
    for alike in kinds[:MOST_TRIALS]:
        failed: dict[str, str] = {}
        for job in sorted(alike, key=_work, reverse=True)[:MOST_FAILURES]:
            try:
                found = trials.of(job)
            except MachineError as error:
                failed[job.id] = str(error)
                continue
            stages |= {other.id: found for other in alike if other.id not in failed}
            doubts[job.id] = doubts_of(found.findings, job.settings.matting.model)
            break
        else:
            last = list(failed.values())[-1]
            problems |= {job.id: last for job in alike}
        problems |= failed
    if not stages:
        return Forecast(problems=problems)
    jobs = [job for job in jobs if job.id not in problems]
    lanes = _lanes(max(jobs, key=_work), workers[0])
    costs = _Costs(jobs, stages, cores / len(workers), on_gpu, lanes)
    start_s = max(found.import_s + found.load_s for found in stages.values())
    videos = [
        VideoAhead(
            home=place % len(workers),
            waiting=_segments(job, costs),
            joining_s=joining_seconds(job),
        )
        for place, job in enumerate(jobs)
    ]
    crew = [WorkerAhead(lanes) for _ in workers]
    return Forecast(
        seconds=start_s + seconds_left(crew, videos, costs.gain),
        start_s=start_s,
        frames_per_second={job.id: len(workers) * lanes / costs.frame_s(job) for job in jobs},
        stages=stages,
        doubts=doubts,
        problems=problems,
    )


class _Costs:
    """Seconds of a lane for a frame of each video, while all lanes are busy."""

    def __init__(
        self,
        jobs: Sequence[VideoJob],
        stages: Mapping[str, Stages],
        cores: float,
        on_gpu: bool,
        lanes: int,
    ) -> None:
        self._stages = stages
        known = [job for job in jobs if job.id in stages]
        self._frame_s: dict[str, float] = {}
        tried_s = alone_s = 0.0
        for job in known:
            cost = Cost.of(stages[job.id], on_gpu)
            # All lanes go no faster than the cores and the GPU allow, nor each than one alone.
            bound = max(lanes * max(cost.cpu_s / cores, cost.device_s), cost.slowest_s)
            self._frame_s[job.id] = bound / EFFICIENCY
            tried_s += bound / EFFICIENCY * job.num_frames
            alone_s += cost.slowest_s / EFFICIENCY * job.num_frames
        #: Of those that were not tried: by their size.
        self._work_s = tried_s / sum(map(_work, known))
        self.gain = max(1.0, tried_s / alone_s) if alone_s > 0 else 1.0

    def frame_s(self, job: VideoJob) -> float:
        return self._frame_s.get(job.id, self._work_s * frame_work(job))

    def warmup_frames(self, job: VideoJob) -> int:
        if job.id in self._stages:
            return self._stages[job.id].warmup_frames
        return job.settings.streaming.warmup_frames or 0

    def prepare_s(self, job: VideoJob) -> float:
        return self._stages[job.id].prepare_s if job.id in self._stages else 0.0


def _segments(job: VideoJob, costs: _Costs) -> list[float]:
    """The work of each segment, its warm-up too, and what is looked at before the first."""
    warmup, frame_s = costs.warmup_frames(job), costs.frame_s(job)
    work = [(stop - start + min(warmup, start)) * frame_s for start, stop in job.segments]
    work[0] += costs.prepare_s(job)
    return work


def _lanes(job: VideoJob, worker: WorkerSpec) -> int:
    """Lanes that memory has room for with such a video."""
    fit = [worker.lanes]
    if worker.ram_bytes is not None and job.ram_bytes:
        fit.append(worker.ram_bytes // job.ram_bytes)
    if worker.vram_bytes is not None and job.vram_bytes:
        fit.append(worker.vram_bytes // job.vram_bytes)
    return max(1, min(fit))


def _work(job: VideoJob) -> float:
    return job.num_frames * frame_work(job)
