"""The arguments of a run: the request of the command line, and the functions that tests replace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.backends.base import Arrivals, Backend
from orchestrator.engines.request import BuildEngine, build_engine
from orchestrator.estimate.model_trial import ModelTrial, Tried, try_models
from orchestrator.estimate.trial import StageRequest, Stages, stages_alone
from orchestrator.fleet.events_actions import Rules, WorkerSpec
from orchestrator.fleet.jobs import Plan, VideoJob
from orchestrator.fleet.journal_entries import Entry
from orchestrator.fleet.snapshot import Snapshot
from orchestrator.machine.devices import Devices, Gpu, driver_version, list_gpus
from orchestrator.machine.nvenc import nvenc_trials
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import Journal
from orchestrator.plan.planner import Probe
from orchestrator.plan.settle import SettleModel
from orchestrator.report.report import RunFacts
from orchestrator.report.run_page import RunPage
from orchestrator.run.further import Further
from orchestrator.run.supervisor import Outcome
from orchestrator.run.supervisor import run as supervise
from orchestrator.settings.settings import Settings
from orchestrator.watch.events import json_object
from orchestrator.watch.sender import Sender
from pipeline.contract import MattingSettings
from pipeline.encode.nvenc_trial import Nvenc
from pipeline.errors import ErrorRecord

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Request:
    """The command line.

    Attributes:
        fresh: discard what earlier runs left in OUT.
        dry_run: show the plan and end.
        price_per_hour: of this machine, in any currency, to estimate the cost.
        cluster: address of the Ray cluster that does the work; None: this machine does.
        command: as it was typed, for the report; see `orchestrator.run.typed`.
    """

    inputs: tuple[Path, ...]
    out: Path
    settings: Settings
    fresh: bool = False
    dry_run: bool = False
    price_per_hour: float | None = None
    cluster: str | None = None
    command: str = ""


class Supervise(Protocol):
    """`orchestrator.run.supervisor.run`, or a double of it."""

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
        further: Further | None = None,
    ) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The outside of a run: consoles, devices, network, supervisor. Tests put doubles here.

    Attributes:
        answers: for results (stdout).
        progress: for messages on the way (stderr).
        probe: reads files in this process; None: children do (`pipeline.source.probe.Prober`).
        write_json: writes a line of ``--json``; None where it was not asked for.
        sender: posts messages to those who want to know; to nobody by default.
    """

    answers: Console
    progress: Console
    fetch_model: Callable[[MattingSettings], object]
    settle_model: SettleModel = lambda matting: matting
    supervise: Supervise = supervise
    probe: Probe | None = None
    gpus: Callable[[], list[Gpu]] = list_gpus
    nvenc: Callable[[Devices], Nvenc] = nvenc_trials
    stages: Callable[[StageRequest, int | str], Stages] = stages_alone
    try_models: Callable[[ModelTrial, int | str], Sequence[Tried]] = try_models
    driver: Callable[[], str] = driver_version
    build_engine: BuildEngine = build_engine
    page: Callable[[OutFolder, RunFacts, Plan, list[Entry]], RunPage] = RunPage
    write_json: Callable[[str], object] | None = None
    sender: Sender = field(default_factory=Sender)

    def say(self, line: str) -> None:
        """Print a line to `progress` as it is: no markup, no colours, never folded."""
        self.progress.print(line, markup=False, highlight=False, soft_wrap=True)

    def say_json(self, event: str, fields: dict[str, Any]) -> None:
        """Write a line of ``--json``, if it was asked for."""
        if self.write_json is not None:
            self.write_json(json_object(datetime.now().astimezone(), event, fields))
