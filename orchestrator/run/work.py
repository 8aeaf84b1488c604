"""Carry out the plan: run the supervisor, show and meter the run, sweep finished work folders."""

from __future__ import annotations

from pathlib import Path

from orchestrator.fleet.events_actions import Rules
from orchestrator.fleet.snapshot import Snapshot
from orchestrator.machine.devices import usable_cores
from orchestrator.out.room import DiskWatch, gigabytes
from orchestrator.report.run_page import RunPage
from orchestrator.run.context import RunContext
from orchestrator.run.planning import Planning
from orchestrator.run.running_crew import RunningCrew
from orchestrator.settings.settings import Settings
from orchestrator.watch.device_load import LoadMeter
from orchestrator.watch.notices import FailedVideos
from orchestrator.watch.progress import watching


def carry_out(
    ctx: RunContext, plans: Planning, crew: RunningCrew, page: RunPage
) -> tuple[Snapshot, Snapshot]:
    """Do the jobs; the state of the run at its beginning and at its end.

    The segments of a video are removed when it is done.

    Raises:
        DiskError: the journal cannot be written any more.
    """
    jobs, out = plans.jobs, ctx.out
    reserve = gigabytes(ctx.settings.limits.reserve_gb)
    disk = DiskWatch(out.path, out.lock, ctx.lock, reserve)
    swept: set[str] = set()
    folders: dict[str, str] = {}
    seen: list[Snapshot] = []
    with (
        LoadMeter(crew.gpus, crew.pids, usable_cores(), crew.elsewhere) as meter,
        watching(
            jobs,
            ctx.around.progress,
            out.path,
            meter.last,
            ctx.started_at,
            ctx.around.write_json,
            [FailedVideos(out.path, ctx.around.sender.post, lambda: plans.set_aside)],
        ) as watch,
    ):
        page.load = meter.history

        def on_change(snapshot: Snapshot) -> None:
            if len(jobs) > len(folders):
                folders.update((job.id, job.work_dir) for job in jobs[len(folders) :])
                page.know(plans.plan)
            watch.update(snapshot)
            page.update(snapshot)
            seen[:1] = [seen[0].with_new(snapshot) if seen else snapshot]
            for _, video in snapshot.changed(seen[-1] if len(seen) > 1 else None):
                if video.status == "done" and video.id not in swept:
                    swept.add(video.id)
                    out.sweep(Path(folders[video.id]))
            seen[1:] = [snapshot]

        outcome = ctx.around.supervise(
            jobs,
            crew.backend,
            crew.workers,
            ctx.journal,
            rules=_rules(ctx.settings, may_join=crew.arrivals is not None),
            on_change=on_change,
            disk_trouble=disk.trouble,
            arrivals=crew.arrivals,
            **({"further": plans} if plans.to_come else {}),
        )
    return seen[0], outcome.snapshot


def _rules(settings: Settings, *, may_join: bool) -> Rules:
    """`may_join`: whether further workers may come during the run."""
    limits = settings.limits
    return Rules(
        attempts=settings.recovery.attempts,
        start_s=limits.start_s,
        first_frame_s=limits.first_frame_s,
        stall_s=limits.stall_s,
        finish_s=limits.finish_s,
        grace_s=limits.grace_s,
        join_s=limits.join_s if may_join else 0.0,
        scratch_bytes=gigabytes(limits.scratch_gb),
    )
