"""Choose the number of lanes of each worker: by the settings, a short trial, or the CPU cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from orchestrator.estimate.lanes_wanted import lanes_wanted
from orchestrator.estimate.network_scale import TRIAL_FRAMES, Measure
from orchestrator.estimate.trial import StageRequest
from orchestrator.fleet.jobs import VideoJob
from orchestrator.machine.devices import default_lanes
from pipeline.contract import is_huge
from pipeline.errors import MachineError
from pipeline.judge.doubt import doubts_of
from pipeline.structlog_import import structlog

#: A trial takes ten to thirty seconds. So many pixels take minutes on whatever machine: 5,400
#: frames of 1920x960, or 300 of 8192x4096.
WORTH_PIXELS = 10_000_000_000

_BY_THE_CORES = "by the cores"


@dataclass(frozen=True, slots=True)
class Lanes:
    """Segments at once in a worker, and the reason for their number.

    Attributes:
        warnings: doubts about the mattes of the trial, one line each.
    """

    count: int
    reason: str
    warnings: tuple[str, ...] = ()


def choose_lanes(
    asked: int | None,
    unfinished: Sequence[VideoJob],
    workers: int,
    cores: int,
    on_gpu: bool,
    measure: Measure,
    on_trial: Callable[[str], None] = lambda what: None,
    most: tuple[int, str] | None = None,
) -> Lanes:
    """Choose the lanes. They never alter frames: a trial that errs costs time and nothing else.

    Of pictures beyond 5760x2880 a lane takes gigabytes on a CPU, and its stages fill two cores by
    themselves (docs/benchmarks/005-8k-memory.md): there is none to spare.

    Args:
        asked: the lanes that the settings give.
        cores: for all workers together.
        measure: `orchestrator.estimate.trial.stages_alone` on a worker's device, or a double.
        on_trial: gets a description of the trial.
        most: lanes of which no more are of use, and why.
    """
    lanes = _chosen(asked, unfinished, workers, cores, on_gpu, measure, on_trial)
    if most is None or lanes.count <= most[0]:
        return lanes
    return replace(lanes, count=most[0], reason=f"{lanes.count} {lanes.reason}, but {most[1]}")


def _chosen(
    asked: int | None,
    unfinished: Sequence[VideoJob],
    workers: int,
    cores: int,
    on_gpu: bool,
    measure: Measure,
    on_trial: Callable[[str], None],
) -> Lanes:
    """See `choose_lanes`."""
    if asked is not None:
        return Lanes(asked, "as asked")
    if not unfinished:
        return Lanes(default_lanes(cores, workers), _BY_THE_CORES)
    work = {job.id: job.num_frames * _pixels(job) for job in unfinished}
    job = max(unfinished, key=lambda job: work[job.id])
    huge = is_huge(job.info) and not on_gpu
    by_cores = Lanes(default_lanes(cores, workers, spare=not huge), _BY_THE_CORES)
    if huge:
        size = f"{job.info.even_width}x{job.info.even_height}"
        by_cores = replace(by_cores, reason=f"{_BY_THE_CORES}, and no spare one for {size}")
    if sum(work.values()) < WORTH_PIXELS:
        return by_cores
    start, last = job.segments[0][0], job.segments[-1][1]
    request = StageRequest(job.info, job.settings, start, last, job.index_path)
    request = request.middle(TRIAL_FRAMES)
    on_trial(f"trying {TRIAL_FRAMES} frames of {job.name}, to choose the number of lanes")
    log = structlog.get_logger("vrmatte")
    try:
        stages = measure(request)
    except MachineError as error:
        # The run itself says what is wrong, if anything is, and deals with it.
        log.warning("trial_failed", error=str(error))
        return replace(by_cores, reason=f"{by_cores.reason}, because a trial failed")
    count = lanes_wanted(stages, cores / workers, on_gpu, huge)
    log.info(
        "trial",
        lanes=count,
        decoder=stages.decoder,
        ms_a_frame={s.name: round(1000 * s.wall_s / s.frames, 2) for s in stages.stages},
        cpu_ms_a_frame={s.name: round(1000 * s.cpu_s / s.frames, 2) for s in stages.stages},
    )
    doubts = doubts_of(stages.findings, job.settings.matting.model)
    return Lanes(count, "by a trial", tuple(f"{job.name}: {doubt}" for doubt in doubts))


def _pixels(job: VideoJob) -> int:
    return job.info.even_width * job.info.even_height
