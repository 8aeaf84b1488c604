"""`vrmatte run`: the way of a job, from what was typed to the report, on one screen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from logging import getLevelNamesMapping
from pathlib import Path

import structlog

from orchestrator.backends.ray_session import require_answer, require_ray
from orchestrator.estimate.before_run import Trials
from orchestrator.exit_status import ALL_DONE, FAILED, STOPPED
from orchestrator.fleet.events_actions import Rules
from orchestrator.fleet.jobs import Plan
from orchestrator.fleet.snapshot import Snapshot
from orchestrator.machine.crew import Crew, gather
from orchestrator.machine.devices import (
    Devices,
    choose_devices,
    usable_cores,
    usable_memory,
    visible_gpus,
)
from orchestrator.machine.local_folder import require_local_folder
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import Journal
from orchestrator.out.room import DiskWatch, gigabytes
from orchestrator.out.sidecars import write_sidecars
from orchestrator.plan.discover import discover
from orchestrator.plan.dry_run import look_ahead
from orchestrator.plan.dry_run_text import plan_fields
from orchestrator.plan.per_file import choose, settler
from orchestrator.plan.planner import replaced_videos
from orchestrator.report.make_report import make_report
from orchestrator.report.report import RunFacts, write_report
from orchestrator.report.run_page import RunPage
from orchestrator.run.preparation import make_plan, require_what_is_needed, share_out
from orchestrator.run.request import Request, Surroundings
from orchestrator.run.run_record import run_record
from orchestrator.run.said import (
    announce,
    run_ended,
    run_started,
    show_plan,
    show_report,
)
from orchestrator.run.team import Team, gathered
from orchestrator.settings.settings import (
    Settings,
    video_settings,
    with_overrides,
)
from orchestrator.watch.device_load import LoadMeter
from orchestrator.watch.progress import watching
from pipeline.errors import DiskError
from pipeline.text import printable
from workers.log import log_to, stop_logging


def run(request: Request, around: Surroundings) -> int:
    """Do what was asked for; the exit status.

    Raises:
        VrmatteError: nothing, or nothing more, can be done; its message says why.
    """
    settings = request.settings
    if request.cluster is not None:
        require_ray()
        if not request.dry_run:
            require_answer(request.cluster)
    started_at = datetime.now().astimezone()
    visible = visible_gpus(around.gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    devices = choose_devices(settings.workers.gpus, settings.workers.cpu_workers, visible)
    settle = settler(devices)
    general = settle(with_overrides(settings, ()))
    sources = discover(request.inputs, request.out, follow_links=settings.input.follow_links)
    per_file = choose(settings, general, sources, settle)
    settings = per_file.general
    request = replace(request, settings=settings)
    out = OutFolder(Path(os.path.realpath(request.out)))
    crew = gather(
        settings, devices, visible, out, cores=usable_cores(), machine_bytes=usable_memory()
    )
    out.create()
    with out.locked() as lock, _logged(out, settings.logging.level):
        out.sweep_drafts()
        if request.fresh and not request.dry_run:
            out.forget()
        with closing(Journal.open(out.journal)) as journal, ExitStack() as stack:
            plan = make_plan(request, around, out, journal, per_file, crew, devices)
            trials = Trials(lambda asked: around.stages(asked, devices.devices[0]))
            lanes = share_out(request, around, plan, devices, journal, trials)
            unfinished = journal.unfinished(plan.jobs)
            if unfinished and request.cluster is None:
                require_local_folder(settings.output)
            crew = crew.with_lanes(lanes.count).with_models(unfinished)
            cluster = request.cluster is not None
            announce(around.progress, plan, devices, lanes, cluster=cluster)
            for line in per_file.remarks():
                around.say(line)
            if request.dry_run:
                _foretell(request, around, out, plan, crew, devices, journal, trials)
                return FAILED if plan.set_aside else ALL_DONE
            require_what_is_needed(request, around, out, plan, devices, journal)
            team = stack.enter_context(gathered(request, around, out, crew, unfinished))
            out.drop_videos(replaced_videos(out.path, plan.jobs))
            out.write_run_file(run_record(request, plan, lanes, out.given_up()))
            watch = DiskWatch(out.path, out.lock, lock, gigabytes(settings.limits.reserve_gb))
            around.say_json("run-started", run_started(out.path, plan, team.workers, team.devices))
            facts = _facts(request, out, started_at)
            with around.page(out, facts, plan, journal.entries) as page:
                first, last = _work(settings, around, out, plan, team, journal, watch, page)
                if settings.output.sidecar:
                    done = [job for job in plan.jobs if journal.published(job) is not None]
                    for name in write_sidecars(done):
                        around.progress.print(
                            f"{name} exists and was not made by vrmatte: it stays", markup=False
                        )
                report = make_report(
                    replace(facts, ended_at=datetime.now().astimezone()),
                    plan,
                    first,
                    last,
                    entries=journal.entries,
                    load=page.load(),
                )
                try:
                    write_report(report, out.report)
                except DiskError as error:  # what was done is told, though it cannot be recorded
                    structlog.get_logger("vrmatte").error("no_report", error=str(error))
                    show_report(around.answers, report, None)
                    around.say_json("run-ended", run_ended(report, None))
                    if report.exit_status != STOPPED:
                        raise
                    return STOPPED
                with around.progress.status("finishing the page: pictures of the last videos"):
                    has_page = page.end(report)
    show_report(around.answers, report, out.report, out.page if has_page else None)
    around.say_json("run-ended", run_ended(report, out.report))
    return report.exit_status


def _foretell(
    request: Request,
    around: Surroundings,
    out: OutFolder,
    plan: Plan,
    crew: Crew,
    devices: Devices,
    journal: Journal,
    trials: Trials,
) -> None:
    """Show what would be done, how long it would take, and what it would need."""
    with around.progress.status("trying") as status:
        found = look_ahead(
            plan,
            crew,
            devices,
            out,
            journal,
            replace(trials, on_trial=status.update),
            cores=usable_cores(),
            reserve_gb=request.settings.limits.reserve_gb,
            price_per_hour=request.price_per_hour,
        )
    show_plan(around.answers, found)
    around.say_json("plan", plan_fields(found))


def _facts(request: Request, out: OutFolder, started_at: datetime) -> RunFacts:
    """Of a run that has just begun."""
    return RunFacts(
        version=version("vrmatte"),
        inputs=tuple(str(path.absolute()) for path in request.inputs),
        out=str(out.path),
        settings=video_settings(request.settings).fingerprint(),
        started_at=started_at,
        ended_at=started_at,
    )


def _work(
    settings: Settings,
    around: Surroundings,
    out: OutFolder,
    plan: Plan,
    team: Team,
    journal: Journal,
    disk_watch: DiskWatch,
    page: RunPage,
) -> tuple[Snapshot, Snapshot]:
    """Have the work done; how the run stood at its beginning, and at its end."""
    rules = Rules(
        attempts=settings.recovery.attempts,
        start_s=settings.limits.start_s,
        first_frame_s=settings.limits.first_frame_s,
        stall_s=settings.limits.stall_s,
        finish_s=settings.limits.finish_s,
        grace_s=settings.limits.grace_s,
        join_s=0.0 if team.arrivals is None else settings.limits.join_s,
        scratch_bytes=gigabytes(settings.limits.scratch_gb),
    )
    swept: set[str] = set()
    seen: list[Snapshot] = []
    with (
        LoadMeter(team.gpus, team.pids, usable_cores(), team.elsewhere) as meter,
        watching(
            plan.jobs,
            around.progress,
            out.path,
            meter.last,
            page.facts.started_at,
            around.write_json,
        ) as watch,
    ):
        page.load = meter.history

        def on_change(snapshot: Snapshot) -> None:
            watch.update(snapshot)
            page.update(snapshot)
            if not seen:
                seen.append(snapshot)
            for job, video in zip(plan.jobs, snapshot.videos, strict=True):
                if video.status == "done" and job.id not in swept:
                    swept.add(job.id)
                    out.sweep(Path(job.work_dir))

        outcome = around.supervise(
            plan.jobs,
            team.backend,
            team.workers,
            journal,
            rules=rules,
            on_change=on_change,
            disk_trouble=disk_watch.trouble,
            arrivals=team.arrivals,
        )
    return seen[0], outcome.snapshot


@contextmanager
def _logged(out: OutFolder, level: str) -> Iterator[None]:
    """Log this process to ``logs/orchestrator.jsonl``; an error leaves its traceback there."""
    path = out.logs / "orchestrator.jsonl"
    log = log_to(path, level=getLevelNamesMapping()[level.upper()])
    try:
        yield
    except Exception as error:
        log.exception("run_failed")
        error.add_note(f"the details are in {printable(str(path))}")
        raise
    finally:
        stop_logging()
