"""Events of a run: the changes between two snapshots, each with a line for a person.

Plain output, the last lines on a terminal and ``--json`` all show these. Decides nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from orchestrator.fleet.snapshot import ALL_BUT_JOINED, Snapshot, VideoState, WorkerState
from orchestrator.words import about, clock, counted
from pipeline.contract import OutputFile
from pipeline.errors import ErrorRecord
from pipeline.text import printable

#: Of the lines of ``--json``; docs/events.md says what each holds.
SCHEMA_VERSION = 1

Kind = Literal[
    "worker-ready",
    "worker-lost",
    "worker-given-up",
    "waiting-for-worker",
    "video-done-earlier",
    "video-resumed",
    "attempt-lost",
    "segments-done",
    "video-started",
    "video-joining",
    "joining-left",
    "video-done",
    "video-failed",
    "stopping",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """One change of state.

    Attributes:
        text: the same as a line, without control characters.
        worker: its number, where it is about one.
        video: its name, where it is about one.
    """

    event: Kind
    text: str
    worker: int | None = None
    device: str | None = None
    video: str | None = None
    segments_done: int | None = None
    segments: int | None = None
    frames_done: int | None = None
    frames: int | None = None
    seconds: float | None = None
    outputs: tuple[OutputFile, ...] | None = None
    error: ErrorRecord | None = None


def changes(before: Snapshot | None, after: Snapshot) -> Iterator[RunEvent]:
    """One event for each change of state between two snapshots, in the order of their happening."""
    old_workers = {worker.id: worker for worker in before.workers} if before else {}
    for worker in after.workers:
        yield from _worker_changes(old_workers.get(worker.id), worker)
    for old, video in after.changed(before):
        yield from _video_changes(old, video)
    yield from _joining_changes(before, after)
    if after.waits_s is not None and not (before and before.waits_s is not None):
        yield RunEvent(
            event="waiting-for-worker",
            text=f"no worker is left: waiting {about(after.waits_s)} for a node to join;"
            " Ctrl-C stops, and the same command goes on",
            seconds=after.waits_s,
        )
    if after.stopping and not (before and before.stopping):
        reason = f" ({after.stop_reason})" if after.stop_reason else ""
        yield RunEvent(
            event="stopping",
            text=printable(
                f"stopping{reason}: what is in hand is finished first; Ctrl-C again ends at once"
            ),
            error=after.stop_reason,
        )


def _worker_changes(old: WorkerState | None, new: WorkerState) -> Iterator[RunEvent]:
    def event(kind: Kind, text: str, error: ErrorRecord | None = None) -> RunEvent:
        line = printable(f"worker {new.id}: {text}")
        return RunEvent(event=kind, text=line, worker=new.id, device=new.device, error=error)

    reason = f": {new.error}" if new.error else ""
    retired = new.status == "retired"
    if old and new.faults > old.faults:
        then = "given up" if retired else "is started again"
        kind: Kind = "worker-given-up" if retired else "worker-lost"
        full = new.error is not None and new.error.kind == "local-folder"
        how = "" if full else "ended without being asked to, "
        yield event(kind, f"{how}{then}{reason}", new.error)
    elif old and old.status == new.status:
        return
    elif new.status == "ready":
        where = new.device or "its device"
        yield event("worker-ready", f"ready on {where}, {counted(new.lanes, 'lane')}")
    elif retired:
        yield event("worker-given-up", f"given up{reason}", new.error)


def _video_changes(old: VideoState | None, new: VideoState) -> Iterator[RunEvent]:
    def event(kind: Kind, text: str, **more: Any) -> RunEvent:
        return _of_video(new, kind, text, **more)

    segments = counted(new.num_segments, "segment")
    if old is None and new.earlier:
        yield event("video-done-earlier", "was done earlier", outputs=new.outputs)
        return
    if old is None and new.segments_done:
        yield event("video-resumed", f"goes on; {new.segments_done} of {segments} done earlier")
    if old and new.retries > old.retries:
        yield event("attempt-lost", "an attempt was lost, and is made again")
    if old and new.segments_done > old.segments_done:
        yield event("segments-done", f"{new.segments_done} of {segments} done")
    if new.started_at is not None and (old is None or old.started_at is None):
        yield event("video-started", f"started, {new.num_frames} frames in {segments}")
    if old and old.status == new.status:
        return
    if new.status == "done":
        seconds = _seconds(new)
        took = "" if seconds is None else f" in {clock(seconds)}"
        yield event("video-done", f"done{took}", seconds=seconds, outputs=new.outputs)
    elif new.status == "failed":
        yield event("video-failed", f"failed: {new.error}", error=new.error)


def _joining_changes(before: Snapshot | None, after: Snapshot) -> Iterator[RunEvent]:
    """Of videos whose segments are all there: whether they are joined, or a stop leaves that."""
    if joining := _joining(after) - _joining(before):
        for video in after.videos:
            if video.id in joining:
                yield _of_video(video, "video-joining", "joining the segments")
    if after.stopping:
        left_before = {video.id for video in _left(before)}
        for video in _left(after):
            if video.id not in left_before:
                yield _of_video(video, "joining-left", ALL_BUT_JOINED)


def _joining(snapshot: Snapshot | None) -> set[str]:
    """Ids of the videos that a worker joins."""
    workers = () if snapshot is None else snapshot.workers
    tasks = [running.task for worker in workers for running in worker.tasks]
    return {task.video for task in tasks if task.segment is None}


def _left(snapshot: Snapshot | None) -> list[VideoState]:
    """The videos that a run which stops leaves with nothing but the joining to be done."""
    if snapshot is None or not snapshot.stopping:
        return []
    joining = _joining(snapshot)
    return [v for v in snapshot.videos if v.status == "finishing" and v.id not in joining]


def _of_video(video: VideoState, kind: Kind, text: str, **more: Any) -> RunEvent:
    return RunEvent(
        event=kind,
        text=printable(f"{video.name}: {text}"),
        video=printable(video.name),
        segments_done=video.segments_done,
        segments=video.num_segments,
        frames_done=video.frames_done,
        frames=video.num_frames,
        **more,
    )


def _seconds(video: VideoState) -> float | None:
    if video.started_at is None or video.ended_at is None:
        return None
    return round(video.ended_at - video.started_at, 3)


def json_line(at: datetime, event: RunEvent) -> str:
    """One line of ``--json``, without its end; what an event does not have is left out."""
    fields = dataclasses.asdict(event)
    if event.error is not None:
        fields["error"] = _told(event.error)
    return json_object(at, str(fields.pop("event")), fields)


def json_object(at: datetime, event: str, fields: dict[str, Any]) -> str:
    """A line of ``--json``: schema, time and name of the event first."""
    told = {name: value for name, value in fields.items() if value is not None}
    head = {
        "schema": SCHEMA_VERSION,
        "time": at.isoformat(timespec="milliseconds"),
        "event": event,
    }
    return json.dumps(head | told, separators=(",", ":"))


def _told(error: ErrorRecord) -> dict[str, str]:
    """As a person may see it: the traceback is for the log."""
    return {"kind": error.kind, "message": error.message, "advice": error.advice}
