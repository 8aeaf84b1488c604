"""`PageState`: the report so far, and the work in progress, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from orchestrator.fleet.snapshot import Snapshot, VideoState, WorkerState
from orchestrator.report.newest import NewestSegment
from orchestrator.report.report import Report
from orchestrator.words import counted

VideoPhase = Literal["waits", "in work", "is joined", "ended"]

#: How a run that goes on no more came to its end.
Ending = Literal["in order", "without a word"]


@dataclass(frozen=True, slots=True)
class PageState:
    """One moment of a run.

    Attributes:
        report: so far; whole when `ending` is "in order".
        now: with its time zone.
        ending: None while the run goes on.
        standings: of the videos of `report`, in its order.
        doing: of its workers, in words.
        frames_per_second, to_go_s: of the whole run; None where they are not known.
        newest: finished segments of the videos in work, by the videos' ids.
    """

    report: Report
    now: datetime
    ending: Ending | None
    standings: tuple[VideoPhase, ...]
    doing: tuple[str, ...] = ()
    frames_per_second: float | None = None
    to_go_s: float | None = None
    newest: Mapping[str, NewestSegment] = field(default_factory=dict, hash=False)


def all_ended(report: Report) -> tuple[VideoPhase, ...]:
    """When nothing is in work any more."""
    return tuple("ended" for _ in report.videos)


def standings(report: Report, snapshot: Snapshot) -> tuple[VideoPhase, ...]:
    """Where each video of the report is, by a snapshot of the same run."""
    states = {video.id: video for video in snapshot.videos}
    return tuple(_standing(states.get(video.id)) for video in report.videos)


def _standing(video: VideoState | None) -> VideoPhase:
    if video is None or video.status in ("done", "failed"):
        return "ended"
    known: dict[str, VideoPhase] = {"running": "in work", "finishing": "is joined"}
    return known.get(video.status, "waits")


def doings(snapshot: Snapshot) -> tuple[str, ...]:
    """What each worker does."""
    names = {video.id: video.name for video in snapshot.videos}
    return tuple(_doing(worker, names) for worker in snapshot.workers)


def _doing(worker: WorkerState, names: dict[str, str]) -> str:
    if not worker.tasks:
        idle = {"ready": "waits", "starting": "loads the model", "retired": "given up"}
        return idle.get(worker.status, worker.status)
    videos = list(dict.fromkeys(names[running.task.video] for running in worker.tasks))
    segments = sum(running.task.segment is not None for running in worker.tasks)
    what = [counted(segments, "segment")] if segments else []
    if segments < len(worker.tasks):
        what.append("joining")
    return f"{' and '.join(what)} of {', '.join(videos)}"
