"""`vrmatte run`: the way of a job, from what was typed to the report, on one screen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from logging import getLevelNamesMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from orchestrator.backends.base import Arrivals, Backend
from orchestrator.backends.local import LocalBackend
from orchestrator.calibration import Lanes, choose_lanes
from orchestrator.cluster import Wanted, joined, require_ray
from orchestrator.config import (
    Settings,
    as_mapping,
    spelled_out,
    video_settings,
    with_overrides,
)
from orchestrator.crew import Crew, gather
from orchestrator.discover import discover
from orchestrator.disk import DiskWatch, check_room, gigabytes, within_scratch
from orchestrator.dry_run import look_ahead
from orchestrator.entries import Entry, RunEnded
from orchestrator.events import json_object
from orchestrator.exit_status import ALL_DONE, FAILED, STOPPED
from orchestrator.forecast import Trials
from orchestrator.jobs import Plan, VideoJob
from orchestrator.journal import Journal
from orchestrator.load import LoadMeter
from orchestrator.machine import (
    Devices,
    Gpu,
    choose_devices,
    list_gpus,
    usable_cores,
    usable_memory,
    visible_gpus,
)
from orchestrator.memory import fitted, with_needs
from orchestrator.moves import Rules, WorkerSpec
from orchestrator.out_folder import OutFolder
from orchestrator.ownership import Ownership
from orchestrator.per_file import PerFile, choose, settler
from orchestrator.plan import Planner, Probe, replaced_videos
from orchestrator.plan_view import plan_fields
from orchestrator.progress import watching
from orchestrator.prompting import needs_index, prompts_for
from orchestrator.report.run_page import RunPage
from orchestrator.run_report import RunFacts, write_report
from orchestrator.scaling import Scaler
from orchestrator.scratch import scratch_here
from orchestrator.sidecars import write_sidecars
from orchestrator.snapshot import Snapshot
from orchestrator.stages import StageRequest, Stages, stages_alone
from orchestrator.summary import make_report
from orchestrator.supervisor import Outcome
from orchestrator.supervisor import run as supervise
from orchestrator.terminal import (
    Counter,
    announce,
    run_ended,
    run_started,
    show_plan,
    show_report,
)
from orchestrator.words import printable
from pipeline.deliverables.device_trial import DeviceTrial, device_trial
from pipeline.deliverables.fit import with_encoder
from pipeline.encoders import Trial, nvenc_works
from pipeline.errors import DiskError, ErrorRecord, SettingsError
from pipeline.probe import probe_video
from pipeline.spec import MattingSettings, VideoInfo, VideoSettings
from workers.log import log_to, stop_logging
from workers.messages import ModelChoice

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Request:
    """What was typed.

    Attributes:
        fresh: forget what earlier runs left in OUT.
        dry_run: show the plan and end.
        price_per_hour: of this machine, in whatever money, for what a run will cost.
        cluster: the address of the Ray cluster that does the work; None: this machine does.
    """

    inputs: tuple[Path, ...]
    out: Path
    settings: Settings
    fresh: bool = False
    dry_run: bool = False
    price_per_hour: float | None = None
    cluster: str | None = None


class Supervise(Protocol):
    """`orchestrator.supervisor.run`, or a double of it."""

    def __call__(
        self,
        jobs: Sequence[VideoJob],
        backend: Backend,
        workers: Sequence[WorkerSpec],
        journal: Journal,
        *,
        rules: Rules | None,
        on_change: Callable[[Snapshot], None],
        disk_trouble: Callable[[], ErrorRecord | None],
        arrivals: Arrivals | None = None,
    ) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run meets outside of itself; tests put doubles here.

    Attributes:
        answers: for results (stdout).
        progress: for everything that is said on the way (stderr).
        write_json: takes the lines of ``--json``, if they are wanted.
    """

    answers: Console
    progress: Console
    fetch_model: Callable[[MattingSettings], None]
    supervise: Supervise = supervise
    probe: Probe = probe_video
    gpus: Callable[[], list[Gpu]] = list_gpus
    trial: Trial = nvenc_works
    device_trial: DeviceTrial = device_trial
    stages: Callable[[StageRequest, int | str], Stages] = stages_alone
    page: Callable[[OutFolder, RunFacts, Plan, list[Entry]], RunPage] = RunPage
    write_json: Callable[[str], object] | None = None

    def say_json(self, event: str, fields: dict[str, Any]) -> None:
        """A line of ``--json``, if they are wanted."""
        if self.write_json is not None:
            self.write_json(json_object(datetime.now().astimezone(), event, fields))


def run(request: Request, around: Surroundings) -> int:
    """Do what was asked for; the exit status.

    Raises:
        VrmatteError: nothing, or nothing more, can be done; its message says why.
    """
    settings = request.settings
    if request.cluster is not None:
        require_ray()
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
            plan = _plan(request, around, out, journal, per_file, crew, devices)
            trials = Trials(lambda asked: around.stages(asked, devices.devices[0]))
            lanes = _lanes(request, around, plan, devices, journal, trials)
            unfinished = [job for job in plan.jobs if journal.published(job) is None]
            crew = crew.with_lanes(lanes.count).with_models(unfinished)
            announce(around.progress, plan, devices, lanes)
            for line in per_file.remarks():
                around.progress.print(line, markup=False, highlight=False, soft_wrap=True)
            if request.dry_run:
                with around.progress.status("trying") as status:
                    found = look_ahead(
                        plan,
                        crew,
                        devices,
                        out,
                        journal,
                        replace(trials, on_trial=status.update),
                        cores=usable_cores(),
                        reserve_gb=settings.limits.reserve_gb,
                        price_per_hour=request.price_per_hour,
                    )
                show_plan(around.answers, found)
                around.say_json("plan", plan_fields(found))
                return FAILED if plan.set_aside else ALL_DONE
            _require_what_is_needed(request, around, out, plan, devices, journal)
            team = stack.enter_context(_team(request, around, out, crew, unfinished))
            out.drop_videos(replaced_videos(out.path, plan.jobs))
            out.write_run_file(_run_record(request, plan, lanes, out.given_up()))
            watch = DiskWatch(out.path, out.lock, lock, gigabytes(settings.limits.reserve_gb))
            around.say_json("run-started", run_started(out.path, plan, crew.setups))
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


def fetch_model(matting: MattingSettings) -> None:
    """Have at hand what the model needs from elsewhere, before any worker asks for it.

    Raises:
        MachineError: it cannot be had.
    """
    if matting.model == "rvm":
        from pipeline.models.weights import fetch_rvm

        fetch_rvm(matting)
    elif matting.model in ("sam2", "sam2+rvm"):
        from pipeline.models.sam2_weights import fetch_checkpoint

        fetch_checkpoint(matting)
        fetch_model(replace(matting, model=matting.sam2_seed))
        if matting.model == "sam2+rvm":
            fetch_model(replace(matting, model=matting.sam2_edge))


def _plan(
    request: Request,
    around: Surroundings,
    out: OutFolder,
    journal: Journal,
    per_file: PerFile,
    crew: Crew,
    devices: Devices,
) -> Plan:
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


def _lanes(
    request: Request,
    around: Surroundings,
    plan: Plan,
    devices: Devices,
    journal: Journal,
    trials: Trials,
) -> Lanes:
    unfinished = [job for job in plan.jobs if journal.published(job) is None]
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


def _require_what_is_needed(
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
    unfinished = [job for job in plan.jobs if journal.published(job) is None]
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


@dataclass(frozen=True, slots=True)
class Team:
    """The workers of a run, wherever they are.

    Attributes:
        gpus: number and UUID of the GPU of each worker on this machine; None on the CPU.
        pids: the processes of those workers.
        arrivals: tells of further workers, where any may come.
    """

    backend: Backend
    workers: Sequence[WorkerSpec]
    gpus: Mapping[int, tuple[int, str] | None]
    pids: Callable[[], Mapping[int, int]]
    arrivals: Arrivals | None = None


@contextmanager
def _team(
    request: Request, around: Surroundings, out: OutFolder, crew: Crew, jobs: Sequence[VideoJob]
) -> Iterator[Team]:
    """This machine's workers, or those of the cluster if there is anything to do for them."""
    if request.cluster is None or not jobs:
        backend = LocalBackend(crew.setups, crew.memory_used)
        gpus = {w: (g.number, g.uuid) if (g := crew.gpus.get(w)) else None for w in crew.setups}
        with scratch_here(request.settings.output) if jobs else nullcontext():
            yield Team(backend, crew.specs(), gpus, backend.pids)
        return

    def say(line: str) -> None:
        around.progress.print(line, markup=False, highlight=False, soft_wrap=True)

    wanted = Wanted(request.settings, crew, jobs, out, around.fetch_model, say)
    with joined(request.cluster, wanted) as (cluster, workers):
        yield Team(cluster.backend, workers, {}, dict, cluster)


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
        LoadMeter(team.gpus, team.pids, usable_cores()) as meter,
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


def is_unfinished(entries: Sequence[Entry]) -> bool:
    """Whether a journal ends before its run did."""
    last = entries[-1] if entries else None
    return last is not None and not (isinstance(last, RunEnded) and not last.stopped)


def _run_record(
    request: Request, plan: Plan, lanes: Lanes, given_up: Sequence[str]
) -> dict[str, Any]:
    fingerprint = video_settings(request.settings).fingerprint()
    if request.fresh:  # a run that goes on with this one may still replace them
        outputs = (output for job in plan.jobs for output in job.outputs)
        given_up = [output for output in outputs if os.path.lexists(output)]
    return {
        "version": version("vrmatte"),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "inputs": [printable(str(path.absolute())) for path in request.inputs],
        "fingerprint": fingerprint,
        "preset": request.settings.preset,
        "settings": as_mapping(spelled_out(request.settings)),
        "lanes": {"each_worker": lanes.count, "why": lanes.reason},
        "videos": [
            {
                "id": job.id,
                "name": job.name,
                "settings": job.settings.fingerprint(),
                "scale_factor": job.settings.processing.scale_factor,
                "differs": dict(job.differing),
                "frames": job.num_frames,
                "segments": [list(segment) for segment in job.segments],
                "outputs": list(job.outputs),
            }
            for job in plan.jobs
        ],
        "set_aside": [{"name": aside.name, "reason": str(aside.error)} for aside in plan.set_aside],
        "given_up": list(given_up),
    }


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
