"""What a run settles before any worker begins: its plan, its lanes, and whether it can end well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from orchestrator.estimate.before_run import Trials
from orchestrator.estimate.choose_lanes import Lanes, choose_lanes
from orchestrator.estimate.network_scale import Scaler
from orchestrator.fleet.jobs import Plan, VideoJob
from orchestrator.fleet.journal_entries import Entry, RunEnded
from orchestrator.machine.crew import Crew
from orchestrator.machine.devices import Devices, usable_cores
from orchestrator.machine.segment_memory import fitted, with_needs
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import Journal
from orchestrator.out.ownership import Ownership
from orchestrator.out.room import check_room, gigabytes, within_scratch
from orchestrator.plan.per_file import PerFile
from orchestrator.plan.planner import Planner
from orchestrator.plan.prompts_for import needs_index, prompts_for
from orchestrator.run.request import Request, Surroundings
from orchestrator.run.said import Counter
from pipeline.contract import VideoInfo, VideoSettings
from pipeline.deliverables.fit import with_encoder
from pipeline.errors import SettingsError
from pipeline.text import printable
from workers.messages import ModelChoice


def make_plan(
    request: Request,
    around: Surroundings,
    out: OutFolder,
    journal: Journal,
    per_file: PerFile,
    crew: Crew,
    devices: Devices,
) -> Plan:
    """Read the files; what is to be done to each, and what is set aside."""

    def fit(info: VideoInfo, settings: VideoSettings, index_path: Path) -> VideoSettings:
        from_gpu = around.device_trial if crew.on_gpu else None
        settings = with_encoder(info, settings, around.trial, from_gpu)
        settings = fitted(info, settings, crew.limit, crew.on_gpu)
        return scaler.scaled(info, settings, index_path)

    sources = list(per_file.wanted)
    with around.progress.status(f"reading {len(sources)} files") as status:
        scaler = Scaler(
            out.scales,
            measure=lambda asked: around.stages(asked, devices.devices[0]),
            cores=usable_cores() / len(devices.devices),
            on_gpu=crew.on_gpu,
            on_trial=status.update,
        )
        planner = Planner(
            out=out.path,
            wanted=per_file.wanted.__getitem__,
            fit=fit,
            prompts=prompts_for,
            needs_index=needs_index,
            probe=around.probe,
            is_done=lambda job: journal.published(job) is not None,
            is_ours=_may_replace(request, out, journal),
            on_probed=Counter(status.update, len(sources)),
        )
        plan = within_scratch(
            planner.plan(sources), gigabytes(request.settings.limits.scratch_gb), planner.is_done
        )
    for aside in plan.set_aside:
        structlog.get_logger("vrmatte").warning(
            "set_aside", video=aside.name, error=str(aside.error), detail=aside.error.detail
        )
    return replace(plan, jobs=tuple(with_needs(job, crew.on_gpu) for job in plan.jobs))


def share_out(
    request: Request,
    around: Surroundings,
    plan: Plan,
    devices: Devices,
    journal: Journal,
    trials: Trials,
) -> Lanes:
    """How many segments a worker has in flight, by what the unfinished videos ask of it."""
    unfinished = journal.unfinished(plan.jobs)
    with around.progress.status("sharing out the machine") as status:
        return choose_lanes(
            request.settings.streaming.lanes,
            unfinished,
            len(devices.devices),
            usable_cores(),
            devices.devices[0] != "cpu",
            measure=trials.answer if request.dry_run else trials.measure,
            on_trial=status.update,
        )


def _may_replace(
    request: Request, out: OutFolder, journal: Journal
) -> Callable[[VideoJob, Path], bool]:
    """Which files in OUT may be replaced by outputs of the same name."""
    if request.fresh:
        return lambda job, output: True
    return Ownership.of(journal.entries, out.given_up())


def require_what_is_needed(
    request: Request,
    around: Surroundings,
    out: OutFolder,
    plan: Plan,
    devices: Devices,
    journal: Journal,
) -> None:
    """End here, not after hours, when the run cannot end well."""
    settings = request.settings
    if not settings.recovery.auto_resume and is_unfinished(journal.entries):
        raise SettingsError(
            f"{printable(str(out.path))} holds an unfinished run (recovery.auto_resume: false)",
            "--fresh starts anew",
        )
    unfinished = journal.unfinished(plan.jobs)
    if not unfinished:
        return
    # What an interrupted run left counts as room: it is used again.
    check_room(
        unfinished,
        out.free_bytes() + out.work_bytes(unfinished),
        len(devices.devices),
        gigabytes(settings.limits.reserve_gb),
    )
    needed = dict.fromkeys(ModelChoice.of(job.settings).matting for job in unfinished)
    for matting in needed:
        with around.progress.status(f"looking for the model {matting.model}"):
            around.fetch_model(matting)


def is_unfinished(entries: Sequence[Entry]) -> bool:
    """Whether a journal ends before its run did."""
    last = entries[-1] if entries else None
    return last is not None and not (isinstance(last, RunEnded) and not last.stopped)
