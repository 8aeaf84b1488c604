"""Prepare a run: make its plan, share out the machine, refuse what cannot end well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import BoundedSemaphore

import structlog

from orchestrator.estimate.network_scale import Scaler
from orchestrator.fleet.jobs import Plan, VideoJob
from orchestrator.fleet.journal_entries import Entry, RunEnded
from orchestrator.machine.crew import crew_of, memory_limit
from orchestrator.machine.devices import usable_cores, usable_memory
from orchestrator.machine.local_folder import require_local_folder
from orchestrator.machine.segment_memory import with_needs
from orchestrator.out.ownership import Ownership
from orchestrator.out.room import check_room, gigabytes, within_scratch
from orchestrator.plan.choose_model import ModelChooser
from orchestrator.plan.planner import LEAST_AT_ONCE, MOST_AT_ONCE, Planner
from orchestrator.plan.settle import VideoSettler, settle_lanes
from orchestrator.run.context import RunContext, Work
from orchestrator.run.said import Counter
from pipeline.errors import SettingsError
from pipeline.source.probe import Prober
from pipeline.text import printable
from workers.messages import ModelChoice

#: Each takes a core, and the memory of a worker with a single frame.
MODEL_TRIALS_AT_ONCE = 2


def make_plan(ctx: RunContext) -> Plan:
    """Read the files; the jobs, and the sources that are set aside.

    Raises:
        MachineError: a trial of the network failed.
        DiskError: the results cannot be kept.
    """
    around, devices, on_gpu = ctx.around, ctx.devices, ctx.devices.on_gpu
    sources = list(ctx.per_file.wanted)
    with Prober() as prober, around.progress.status(f"reading {len(sources)} files") as status:
        scaler = Scaler(
            ctx.out.scales,
            measure=ctx.trials.measure,
            cores=usable_cores() / len(devices.devices),
            on_gpu=on_gpu,
            on_trial=status.update,
        )
        settler = VideoSettler(
            around.trial,
            around.device_trial if on_gpu else None,
            memory_limit(ctx.settings, len(devices.devices)),
            on_gpu,
            scaler,
        )
        chooser = ModelChooser(
            ctx.out.models,
            lambda trial: around.try_models(trial, devices.first),
            around.fetch_model,
            status.update,
            BoundedSemaphore(max(1, min(MODEL_TRIALS_AT_ONCE, usable_cores()))),
        )
        planner = Planner(
            out=ctx.out.path,
            wanted=ctx.per_file.wanted.__getitem__,
            choose=chooser.choose,
            settle=settler.settle,
            probe=around.probe or prober,
            end_probes=prober.close,
            at_once=max(LEAST_AT_ONCE, min(MOST_AT_ONCE, usable_cores())),
            is_done=lambda job: ctx.journal.published(job) is not None,
            is_ours=_may_replace(ctx),
            on_probed=Counter(status.update, len(sources)),
        )
        plan = within_scratch(
            planner.plan(sources), gigabytes(ctx.settings.limits.scratch_gb), planner.is_done
        )
    for aside in plan.set_aside:
        structlog.get_logger("vrmatte").warning(
            "set_aside", video=aside.name, error=str(aside.error), detail=aside.error.detail
        )
    return replace(plan, jobs=tuple(with_needs(job, on_gpu) for job in plan.jobs))


def _may_replace(ctx: RunContext) -> Callable[[VideoJob, Path], bool]:
    """Which files in OUT may be replaced by outputs of the same name."""
    if ctx.request.fresh:
        return lambda job, output: True
    return Ownership.of(ctx.journal.entries, ctx.out.given_up())


def share_out(ctx: RunContext, plan: Plan) -> Work:
    """Decide the lanes of each worker, by the unfinished videos.

    Raises:
        SettingsError, LocalFolderError: the local folder cannot be used.
    """
    unfinished = ctx.journal.unfinished(plan.jobs)
    measure = ctx.trials.answer if ctx.request.dry_run else ctx.trials.measure
    with ctx.around.progress.status("choosing the number of lanes") as status:
        lanes = settle_lanes(ctx.settings, unfinished, ctx.devices, measure, status.update)
    if unfinished and ctx.request.cluster is None:
        require_local_folder(ctx.settings.output)
    crew = crew_of(
        ctx.settings,
        ctx.devices,
        ctx.out,
        unfinished,
        lanes=lanes.count,
        machine_bytes=usable_memory(),
    )
    return Work(plan, tuple(unfinished), lanes, crew)


def refuse(ctx: RunContext, work: Work) -> None:
    """End here, not after hours, when the run cannot end well.

    Raises:
        SettingsError: OUT holds an unfinished run, and resuming is off.
        MachineError: the outputs do not fit the disk, or a model cannot be fetched.
    """
    if not ctx.settings.recovery.auto_resume and _is_unfinished(ctx.journal.entries):
        raise SettingsError(
            f"{printable(str(ctx.out.path))} holds an unfinished run (recovery.auto_resume: false)",
            "--fresh starts anew",
        )
    if not work.unfinished:
        return
    # What an interrupted run left counts as room: it is used again.
    check_room(
        work.unfinished,
        ctx.out.free_bytes() + ctx.out.work_bytes(work.unfinished),
        len(ctx.devices.devices),
        gigabytes(ctx.settings.limits.reserve_gb),
    )
    needed = dict.fromkeys(ModelChoice.of(job.settings).matting for job in work.unfinished)
    for matting in needed:
        with ctx.around.progress.status(f"looking for the model {matting.model}"):
            ctx.around.fetch_model(matting)


def _is_unfinished(entries: Sequence[Entry]) -> bool:
    """Whether a journal ends before its run did."""
    last = entries[-1] if entries else None
    return last is not None and not (isinstance(last, RunEnded) and not last.stopped)
