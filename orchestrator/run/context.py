"""`RunContext` and `Work`: the values that the steps of a run share, before and after the plan."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from logging import getLevelNamesMapping
from pathlib import Path

from orchestrator.engines.chooser import EngineChooser
from orchestrator.estimate.before_run import Trials
from orchestrator.estimate.choose_lanes import Lanes
from orchestrator.fleet.jobs import Plan, VideoJob
from orchestrator.machine.crew import Crew
from orchestrator.machine.devices import Devices
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import Journal
from orchestrator.plan.per_file import PerFile
from orchestrator.report.report import RunFacts
from orchestrator.run.request import Request, Surroundings
from orchestrator.settings.changed import changed_settings
from orchestrator.settings.settings import Settings, as_mapping, video_settings
from pipeline.errors import VrmatteError
from pipeline.stages.matting.weights import compiled_folder
from pipeline.text import printable
from workers.log import log_to, stop_logging


@dataclass(frozen=True, slots=True)
class RunContext:
    """A run whose settings are settled and whose output folder is open.

    Attributes:
        request: as typed, but with settled settings.
        devices: of this machine's workers.
        per_file: the settings of each source.
        out: locked for this run alone.
        lock: device and inode of that lock.
        journal: what earlier runs did in `out`, and what this one does.
        trials: of the stages, on this machine's first device.
        engines: chooses the built engine of each video.
    """

    request: Request
    around: Surroundings
    started_at: datetime
    devices: Devices
    per_file: PerFile
    out: OutFolder
    lock: tuple[int, int]
    journal: Journal
    trials: Trials
    engines: EngineChooser

    @property
    def settings(self) -> Settings:
        return self.request.settings

    @property
    def facts(self) -> RunFacts:
        """What a report says of a run that has just begun."""
        return RunFacts(
            version=version("vrmatte"),
            inputs=tuple(str(path.absolute()) for path in self.request.inputs),
            out=str(self.out.path),
            settings=video_settings(self.settings).fingerprint(),
            started_at=self.started_at,
            ended_at=self.started_at,
            command=self.request.command,
            changed=changed_settings(as_mapping(self.settings)),
        )


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done, and by whom.

    Attributes:
        plan: of the files that have been read.
        unfinished: the jobs of the plan that earlier runs have not completed.
        lanes: of each worker, and why so many.
        crew: this machine's workers; on a cluster, the pattern for those of its nodes.
        to_come: files that are still to be read.
    """

    plan: Plan
    unfinished: tuple[VideoJob, ...]
    lanes: Lanes
    crew: Crew
    to_come: int = 0


@contextmanager
def opened(
    request: Request,
    around: Surroundings,
    started_at: datetime,
    devices: Devices,
    per_file: PerFile,
) -> Iterator[RunContext]:
    """Create and lock OUT, log to it, and open its journal.

    Raises:
        SettingsError: OUT cannot be used, or another run uses it.
        DiskError: there is no room for what is always in it.
    """
    request = replace(request, settings=per_file.general)
    out = OutFolder(Path(os.path.realpath(request.out)))
    out.create()
    with out.locked() as lock, _logged(out, request.settings.logging.level):
        out.sweep_drafts()
        trials = Trials(lambda asked: around.stages(asked, devices.first))
        with closing(_journal(out, request, around)) as journal:
            yield RunContext(
                request,
                around,
                started_at,
                devices,
                per_file,
                out,
                lock,
                journal,
                trials,
                _engine_chooser(request, around, devices, out),
            )


def _journal(out: OutFolder, request: Request, around: Surroundings) -> Journal:
    """That of OUT. A fresh run keeps one that nobody can read aside, and begins another."""
    try:
        return Journal.open(out.journal, fresh=request.fresh)
    except VrmatteError as error:
        if not request.fresh or request.dry_run:
            raise
        kept = out.set_aside(out.journal)
        around.say(f"{error.message}: it is kept as {kept.name}, and a new one is begun")
        return Journal.open(out.journal, fresh=True)


def _engine_chooser(
    request: Request, around: Surroundings, devices: Devices, out: OutFolder
) -> EngineChooser:
    return EngineChooser(
        out.engines,
        compiled_folder(),
        devices.kind,
        devices.names,
        around.driver() if devices.on_gpu else "",
        lambda asked: around.build_engine(asked, devices.first),
        on_cluster=request.cluster is not None,
    )


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
