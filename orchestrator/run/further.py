"""Jobs that are planned while a run goes on, as the loop of the run is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from socket import socket
from typing import Protocol

from orchestrator.fleet.events_actions import VideosPlanned
from orchestrator.fleet.jobs import VideoJob
from orchestrator.out.journal import Journal
from pipeline.errors import ErrorRecord
from workers.messages import TaskId


class Further(Protocol):
    """Tells of jobs that are planned while a run goes on.

    Attributes:
        connection: `multiprocessing.connection.wait` finds it ready when there is something to
            `take`.
        to_come: files that are still to be planned, beside the jobs that were taken.
    """

    @property
    def connection(self) -> socket: ...

    @property
    def to_come(self) -> int: ...

    def take(self) -> tuple[Sequence[VideoJob], ErrorRecord | None]:
        """Further jobs, in order; and why there will be none after them, if that is an error."""
        ...


def videos_planned(jobs: Sequence[VideoJob], to_come: int, journal: Journal) -> VideosPlanned:
    """The jobs with what the journal says of them."""
    published = {job.id: outputs for job in jobs if (outputs := journal.published(job)) is not None}
    committed = {
        TaskId(job.id, number): result
        for job in jobs
        for number, result in (
            journal.told(job) if job.id in published else journal.committed(job)
        ).items()
    }
    committed |= {TaskId(job.id, number): result for job in jobs for number, result in job.kept}
    return VideosPlanned(jobs, to_come, committed, published)
