"""Prepare a run: share out the machine, refuse what cannot end well."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.fleet.jobs import Plan, VideoJob
from orchestrator.fleet.journal_entries import Entry, RunEnded
from orchestrator.machine.crew import crew_of
from orchestrator.machine.devices import usable_memory
from orchestrator.machine.local_folder import require_local_folder
from orchestrator.out.room import check_room, gigabytes
from orchestrator.plan.settle import settle_lanes
from orchestrator.run.context import RunContext, Work
from pipeline.contract import MattingSettings, VideoSettings
from pipeline.errors import MachineError, SettingsError
from pipeline.stages.enhance.weights import fetch as fetch_upscaler
from pipeline.stages.matting.catalogue import helper_keys_of, without_weights
from pipeline.text import printable
from workers.messages import ModelChoice

#: Each takes a core, and the memory of a worker with a single frame.
MODEL_TRIALS_AT_ONCE = 2


def share_out(ctx: RunContext, plan: Plan, to_come: int = 0) -> Work:
    """Decide the lanes of each worker, by the unfinished videos.

    Args:
        to_come: files that are still to be read. Lanes never alter a frame, so those do not count.

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
        further=tuple(possible_settings(ctx)) if to_come else (),
        trials_at_once=MODEL_TRIALS_AT_ONCE if to_come and models_are_tried(ctx) else 0,
    )
    return Work(plan, tuple(unfinished), lanes, crew, to_come)


def models_are_tried(ctx: RunContext) -> bool:
    """Whether some videos get the model that suits them."""
    return any(wanted.candidates for wanted in ctx.per_file.wanted.values())


def possible_settings(ctx: RunContext) -> dict[VideoSettings, None]:
    """Those that the videos may get, but for what depends on each of them."""
    return dict.fromkeys(
        settings
        for wanted in ctx.per_file.wanted.values()
        for settings in wanted.candidates or (wanted.settings,)
    )


def refuse(ctx: RunContext, work: Work) -> None:
    """End here, not after hours, when the run cannot end well.

    Raises:
        SettingsError: OUT holds an unfinished run, and resuming is off.
        MachineError: the outputs do not fit the disk, or a model cannot be fetched.
    """
    resumes = not ctx.request.fresh and _is_unfinished(ctx.journal.entries)
    if resumes and not ctx.settings.recovery.auto_resume:
        raise SettingsError(
            f"{printable(str(ctx.out.path))} holds an unfinished run (recovery.auto_resume: false)",
            "--fresh starts anew",
        )
    if work.unfinished:
        require_what_it_needs(ctx, work)


def require_what_it_needs(ctx: RunContext, work: Work) -> None:
    """Raises MachineError: the outputs do not fit the disk, or a model cannot be fetched."""
    require_room(ctx, work.unfinished)
    wanted = [job.settings for job in work.unfinished]
    if work.to_come:  # a model that is tried is had before
        wanted += dict.fromkeys(
            each.settings for each in ctx.per_file.wanted.values() if not each.candidates
        )
    for enhance in dict.fromkeys(settings.enhance for settings in wanted):
        if enhance.scale > 1:
            with ctx.around.progress.status(f"looking for the weights of {enhance.model}"):
                fetch_upscaler(enhance)
    needed = dict.fromkeys(ModelChoice.of(settings).matting for settings in wanted)
    for matting in needed:
        with ctx.around.progress.status(f"looking for the model {matting.model}"):
            try:
                ctx.around.fetch_model(matting)
            except MachineError as error:
                raise MachineError(error.message, _or_another(error, matting, work)) from error


def _or_another(error: MachineError, matting: MattingSettings, work: Work) -> str:
    """The advice on a model that cannot be had, with those that may suit its videos instead."""
    eyes = [job.info.eyes for job in work.unfinished if job.settings.matting.model == matting.model]
    others = without_weights(min(eyes, default=2))
    keys = [f"matting.{key}" for key in helper_keys_of(matting)]
    place = f", instead of it or as {' and '.join(keys)}" if keys else ""
    return f"{error.advice}; models that fetch nothing{place}: {others}"


def require_room(ctx: RunContext, jobs: Sequence[VideoJob]) -> None:
    """Raises MachineError: what is still to be made does not fit the disk."""
    # What an interrupted run left counts as room: it is used again.
    check_room(
        jobs,
        ctx.out.free_bytes() + ctx.out.work_bytes(jobs),
        len(ctx.devices.devices),
        gigabytes(ctx.settings.limits.reserve_gb),
    )


def _is_unfinished(entries: Sequence[Entry]) -> bool:
    """Whether a journal ends before its run did."""
    last = entries[-1] if entries else None
    return last is not None and not (isinstance(last, RunEnded) and not last.stopped)
