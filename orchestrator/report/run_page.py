"""The page of a run in progress, from its newest snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Self

from orchestrator.exit_status import STOPPED
from orchestrator.fleet.jobs import Plan
from orchestrator.fleet.journal_entries import Entry
from orchestrator.fleet.snapshot import Snapshot
from orchestrator.out.folder import OutFolder
from orchestrator.report.findings import FindingsReader
from orchestrator.report.make_report import make_report
from orchestrator.report.newest import NewestSegments
from orchestrator.report.rebuild import reports_of_others
from orchestrator.report.report import Report, RunFacts, VideoReport
from orchestrator.report.state import PageState, all_ended, doings, standings
from orchestrator.report.writer import LAST_WAIT_S, STOP_WAIT_S, PageWriter
from orchestrator.watch.device_load import LoadPoint
from orchestrator.watch.device_load_file import LoadFile
from orchestrator.watch.standing import read_standing
from pipeline.structlog_import import structlog


class RunPage(PageWriter):
    """Keeps ``report.html`` while it is entered; see `PageWriter`.

    Args:
        facts: of the run; its end is yet to come.
        entries: of the journal, which grow.

    Attributes:
        read: reads findings for all reports of the run.
    """

    def __init__(self, out: OutFolder, facts: RunFacts, plan: Plan, entries: list[Entry]) -> None:
        super().__init__(out.page, self._state, {job.id: job.info for job in plan.jobs})
        self.load: Callable[[], Sequence[LoadPoint]] = tuple
        self.read = FindingsReader()
        self._out = out
        self.facts = facts
        self._plan = plan
        self._entries = entries
        self._segments = NewestSegments(entries)
        self._first: Snapshot | None = None
        self._load_file = LoadFile(out.path)
        self._others: tuple[VideoReport, ...] = ()
        self._others_of = -1  # videos of the plan beside which these are

    def know(self, plan: Plan) -> None:
        """Take a plan that goes on where the last one ended, before any snapshot of its videos."""
        self._infos |= {job.id: job.info for job in plan.jobs[len(self._plan.jobs) :]}
        self._plan = plan

    def others(self) -> tuple[VideoReport, ...]:
        """What OUT holds of videos that are not in the plan."""
        jobs = self._plan.jobs
        if self._others_of != len(jobs):
            self._others_of = len(jobs)
            self._others, infos = reports_of_others(self._out, self.facts, self._entries, jobs)
            self._infos = {**infos, **self._infos}
        aside = {each.path for each in self._plan.set_aside}
        return tuple(  # each is told of once
            video for video in self._others if video.outputs or video.source not in aside
        )

    def update(self, snapshot: Snapshot) -> None:
        """Leave the newest snapshot. Takes no time."""
        self._first = snapshot if self._first is None else self._first.with_new(snapshot)
        super().update(snapshot)

    def end(self, report: Report) -> bool:
        """Have the last page written; whether it was. Whoever stopped the run does not wait."""
        state = PageState(
            report=report,
            now=datetime.now().astimezone(),
            ending="in order",
            standings=all_ended(report),
        )
        wait_s = STOP_WAIT_S if report.exit_status == STOPPED else LAST_WAIT_S
        written = self.write_last(state, wait_s)
        if not written:
            structlog.get_logger("vrmatte").warning("page_not_written", path=str(self._out.page))
        return written

    def _state(self, snapshot: Snapshot) -> PageState:
        now = datetime.now().astimezone()
        plan, first = self._plan, self._first or snapshot  # either may be newer than the snapshot
        report = make_report(
            replace(self.facts, ended_at=now),
            replace(plan, jobs=plan.jobs[: len(snapshot.videos)]),
            first,
            snapshot,
            entries=self._entries,
            load=self.load(),
            read=self.read,
            others=self.others(),
        )
        self._load_file.update(report.load, now)
        standing = read_standing(self._out.path)
        if standing is not None and standing.updated < self.facts.started_at:  # an earlier run's
            standing = None
        working = {
            video.id for video in snapshot.videos if video.status in ("running", "finishing")
        }
        return PageState(
            report=report,
            now=now,
            ending=None,
            standings=standings(report, snapshot),
            newest=self._segments.of(job for job in plan.jobs if job.id in working),
            doing=doings(snapshot),
            frames_per_second=standing.fps if standing is not None else None,
            to_go_s=standing.to_go_s if standing is not None else None,
        )


class NoPage(RunPage):
    """For runs at whose page nobody would look."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def update(self, snapshot: Snapshot) -> None:
        pass

    def end(self, report: Report) -> bool:
        return False
