"""End a run: write the sidecars, ``report.json`` and the last page, and show the result."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from orchestrator.exit_status import STOPPED
from orchestrator.fleet.jobs import Plan
from orchestrator.fleet.snapshot import Snapshot
from orchestrator.out.sidecars import write_sidecars
from orchestrator.report.make_report import make_report
from orchestrator.report.report import Report, write_report
from orchestrator.report.run_page import RunPage
from orchestrator.run.context import RunContext
from orchestrator.run.request import Surroundings
from orchestrator.run.said import run_ended, show_report
from orchestrator.watch import notices
from pipeline.errors import DiskError
from pipeline.structlog_import import structlog


@dataclass(frozen=True, slots=True)
class Ended:
    """A report, and where it was written; None where it could not be.

    Attributes:
        path: of ``report.json``.
        page: of ``report.html``.
    """

    report: Report
    path: Path | None = None
    page: Path | None = None


def end(ctx: RunContext, plan: Plan, page: RunPage, first: Snapshot, last: Snapshot) -> Ended:
    """Record how the run went.

    Raises:
        DiskError: sidecars or the report cannot be written. A report that cannot be is shown
            nevertheless; after a run that was stopped, that is enough.
    """
    if ctx.settings.output.sidecar:
        done = [job for job in plan.jobs if ctx.journal.published(job) is not None]
        for name in write_sidecars(done):
            ctx.around.progress.print(
                f"the sidecar {name} is not written: something else is in its place",
                markup=False,
            )
    report = make_report(
        replace(ctx.facts, ended_at=datetime.now().astimezone()),
        plan,
        first,
        last,
        entries=ctx.journal.entries,
        load=page.load(),
        read=page.read,
        others=page.others(),
    )
    try:
        write_report(report, ctx.out.report)
    except DiskError as error:
        structlog.get_logger("vrmatte").error("no_report", error=str(error))
        if report.exit_status != STOPPED:
            show_end(ctx.around, Ended(report))
            raise
        return Ended(report)
    with ctx.around.progress.status("finishing the page: pictures of the last videos"):
        has_page = page.end(report)
    return Ended(report, ctx.out.report, ctx.out.page if has_page else None)


def tell_end(ctx: RunContext, report: Report) -> None:
    """The result, for those who are elsewhere; while OUT's log is there for what goes wrong."""
    results = Counter[str](video.result for video in report.videos if video.of_this_run)
    ctx.around.sender.post(
        [
            notices.run_ended(
                ctx.out.path, report.exit_status, report.seconds, results, report.stop_reason
            )
        ]
    )
    ctx.around.sender.finish()


def show_end(around: Surroundings, ended: Ended) -> None:
    """The result, for people and for ``--json``."""
    show_report(around.answers, ended.report, ended.path, ended.page)
    around.say_json("run-ended", run_ended(ended.report, ended.path))
