"""How a run ended: the table for a person, ``report.json`` for programs, the exit status.

The report is made of the plan and the last snapshot; table and status are made of the report.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator.entries import Entry, RunStarted, TaskLost
from orchestrator.flags import TimedFlag, in_words, timed
from orchestrator.jobs import Plan, SetAside, VideoJob
from orchestrator.load import LoadPoint, mean
from orchestrator.snapshot import Snapshot, VideoState
from orchestrator.stage_shares import StageShares, shares
from orchestrator.words import clock, counted, printable, readable_size
from pipeline.disk import write_file
from pipeline.errors import ErrorRecord
from pipeline.spec import Layout, OutputFile, ProjectionName

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

#: 2: what a page needs to show each video, its flags among it.
SCHEMA_VERSION = 2

ALL_DONE, SOME_FAILED, USAGE, CANNOT, STOPPED = 0, 1, 2, 3, 130

#: Points of the load that are reported: more than that no chart of a page shows.
MOST_LOAD_POINTS = 150
#: Lost attempts of a video that are reported, the last ones.
MOST_LOSSES = 12

Result = Literal["done", "done earlier", "failed", "set aside", "not finished"]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of a run beside its videos.

    Attributes:
        started_at, ended_at: with their time zone.
        settings: fingerprint of the settings that decide pixels.
    """

    version: str
    inputs: tuple[str, ...]
    out: str
    settings: str
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What one must know of a video to show it.

    Attributes:
        width, height: of the upright picture, in pixels, both eyes together.
        frame_rate: of the outputs, frames a second.
        first_frame: number in the source of the outputs' first frame.
        model: what cut the subject out.
    """

    width: int
    height: int
    layout: Layout
    projection: ProjectionName
    frame_rate: float
    first_frame: int
    model: str


@dataclass(frozen=True, slots=True)
class Loss:
    """An attempt that failed and was made again; `segment` is None for the joining of segments."""

    segment: int | None
    attempt: int
    worker: int
    error: ErrorRecord


@dataclass(frozen=True, slots=True)
class VideoReport:
    """What became of one video.

    Attributes:
        id: the name of its source under ``.vrmatte``; empty where it was not planned.
        frames: in the range that was asked for; 0 where the probe failed.
        frames_done: of them, in finished segments.
        frames_earlier: of them, by an earlier run.
        seconds: from its first task to its last; None if it was not worked on, or not to its end.
        started_s, ended_s: the same two, from the beginning of the work.
        losses: the last few attempts that failed, and why.
        notes: what the person should know, one line each.
        flags: runs of frames whose matte deserves a look, by time; the worst, if there are many.
        dropped_flags: how many there are beside them.
        area: see `MatteSummary`.
        stages: how busy each stage was, over all segments, an earlier run's too; null where none
            told.
    """

    name: str
    source: str
    result: Result
    frames: int = 0
    frames_done: int = 0
    frames_earlier: int = 0
    seconds: float | None = None
    frames_per_second: float | None = None
    outputs: tuple[OutputFile, ...] = ()
    retries: int = 0
    concealed_frames: int = 0
    mended_frames: int = 0
    subject_depth_m: float | None = None
    decoders: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: ErrorRecord | None = None
    id: str = ""
    facts: VideoFacts | None = None
    started_s: float | None = None
    ended_s: float | None = None
    losses: tuple[Loss, ...] = ()
    flags: tuple[TimedFlag, ...] = ()
    dropped_flags: int = 0
    area: tuple[float | None, ...] = ()
    stages: StageShares | None = None


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What became of one worker; `lives` counts its processes."""

    id: int
    device: str
    lanes: int
    lives: int
    faults: int
    retired: bool
    error: ErrorRecord | None


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run, as ``report.json`` holds it.

    Attributes:
        stop_reason: why it stopped, where nobody asked for it.
        load: of the devices, from the beginning of the work on; empty where nobody looked.
    """

    schema_version: int
    exit_status: int
    seconds: float
    run: RunFacts
    videos: tuple[VideoReport, ...]
    workers: tuple[WorkerReport, ...]
    stop_reason: ErrorRecord | None = None
    load: tuple[LoadPoint, ...] = ()


def make_report(
    facts: RunFacts,
    plan: Plan,
    first: Snapshot,
    last: Snapshot,
    *,
    entries: Sequence[Entry] = (),
    load: Sequence[LoadPoint] = (),
) -> Report:
    """Put together what is known of a run, from its first and its last snapshot.

    Args:
        entries: of the journal, for why attempts were lost.
        load: since the work began.
    """
    earlier = {video.id: video.frames_done for video in first.videos}
    states = {video.id: video for video in last.videos}
    workers = tuple(
        WorkerReport(
            w.id, w.device, w.lanes, w.life, w.faults, w.status == "retired", _told(w.error)
        )
        for w in last.workers
    )
    videos = (
        *(
            _video_report(job, states[job.id], earlier[job.id], first.now, _losses(job.id, entries))
            for job in plan.jobs
        ),
        *(_set_aside_report(aside) for aside in plan.set_aside),
    )
    return Report(
        schema_version=SCHEMA_VERSION,
        exit_status=_exit_status(videos, workers, last.stopping),
        seconds=round((facts.ended_at - facts.started_at).total_seconds(), 3),
        run=facts,
        videos=videos,
        workers=workers,
        stop_reason=_told(last.stop_reason),
        load=thinned(load, MOST_LOAD_POINTS),
    )


def _losses(video: str, entries: Sequence[Entry]) -> tuple[Loss, ...]:
    """Of this run: an earlier one's are behind the entry with which this one began."""
    lost: list[Loss] = []
    for entry in reversed(entries):
        if isinstance(entry, RunStarted) or len(lost) == MOST_LOSSES:
            break
        if isinstance(entry, TaskLost) and entry.video == video:
            error = dataclasses.replace(entry.error, detail="")
            lost.append(Loss(entry.segment, entry.attempt, entry.worker, error))
    return tuple(reversed(lost))


def thinned(points: Sequence[LoadPoint], most: int) -> tuple[LoadPoint, ...]:
    """At most `most` points, each the mean of as many that follow each other."""
    each = -(-len(points) // most)
    return tuple(mean(points[begin : begin + each]) for begin in range(0, len(points), each or 1))


def _told(error: ErrorRecord | None) -> ErrorRecord | None:
    """An error as a person may see it: the traceback is for the log."""
    return None if error is None else dataclasses.replace(error, detail="")


def _video_report(
    job: VideoJob, state: VideoState, earlier: int, began: float, losses: tuple[Loss, ...]
) -> VideoReport:
    seconds = None
    if state.started_at is not None and state.ended_at is not None:
        seconds = round(state.ended_at - state.started_at, 3)
    result: Result = "not finished"
    if state.status == "done":
        result = "done earlier" if state.earlier else "done"
    elif state.status == "failed":
        result = "failed"
    own_frames = state.num_frames - earlier
    flags = tuple(timed(flag, job.info.frame_rate) for flag in state.matte.flags)
    dropped = state.matte.dropped_flags
    return VideoReport(
        name=job.name,
        source=job.info.path,
        result=result,
        frames=state.num_frames,
        frames_done=state.frames_done,
        seconds=seconds,
        frames_earlier=earlier,
        frames_per_second=(
            round(own_frames / seconds, 2) if seconds and own_frames and result == "done" else None
        ),
        outputs=state.outputs,
        retries=state.retries,
        concealed_frames=state.concealed_frames,
        mended_frames=state.mended_frames,
        subject_depth_m=None if state.subject_depth_m is None else round(state.subject_depth_m, 2),
        decoders=state.decoders,
        notes=(*job.info.notes, *_notes(state, earlier), *_looks(flags, dropped)),
        error=_told(state.error),
        id=job.id,
        facts=VideoFacts(
            width=job.info.width,
            height=job.info.height,
            layout=job.info.layout,
            projection=job.info.projection,
            frame_rate=float(job.info.frame_rate),
            first_frame=job.segments[0][0],
            model=job.settings.matting.model,
        ),
        started_s=None if state.started_at is None else round(state.started_at - began, 3),
        ended_s=None if state.ended_at is None else round(state.ended_at - began, 3),
        losses=losses,
        flags=flags,
        dropped_flags=dropped,
        area=state.matte.area,
        stages=shares(state.stages),
    )


def _notes(state: VideoState, earlier: int) -> Iterator[str]:
    if earlier and not state.earlier:
        yield f"{counted(earlier, 'frame')} done by an earlier run"
    if state.concealed_frames:
        yield f"{state.concealed_frames} frames could not be decoded and repeat their neighbour"
    for decoder in state.decoders:
        reason = decoder.partition("CPU: ")[2]
        if reason:
            yield f"decoded on the CPU: {reason}"
    if state.mended_frames:
        yield f"the eyes disagreed in {counted(state.mended_frames, 'frame')}, which were mended"
    if state.eased_segments:
        yield f"{counted(state.eased_segments, 'segment')} made in smaller chunks after trouble"
    if state.retries:
        yield f"{counted(state.retries, 'attempt')} lost and made again"


def _looks(flags: Sequence[TimedFlag], dropped: int) -> Iterator[str]:
    if flags:
        yield f"deserves a look: {in_words(flags, dropped)}"


def _set_aside_report(aside: SetAside) -> VideoReport:
    return VideoReport(aside.name, aside.path, "set aside", error=_told(aside.error))


def _exit_status(
    videos: Sequence[VideoReport], workers: Sequence[WorkerReport], stopped: bool
) -> int:
    unfinished = any(video.result == "not finished" for video in videos)
    if unfinished and stopped:
        return STOPPED
    if not unfinished and not any(video.error for video in videos):
        return ALL_DONE
    if workers and all(worker.retired for worker in workers):
        # No worker could go on: what ended them all is the machine's fault, or the settings'.
        kinds = {worker.error.kind for worker in workers if worker.error}
        if kinds == {"settings"}:
            return USAGE
        if kinds == {"machine"}:
            return CANNOT
    return SOME_FAILED


def write_report(report: Report, path: Path) -> None:
    """Write the report whole or not at all.

    Raises:
        DiskError: the disk is full, or cannot be written any more.
    """
    text = json.dumps(dataclasses.asdict(report), indent=2, default=datetime.isoformat)
    write_file(path, text.encode() + b"\n")


def summary_table(report: Report) -> Table:
    """One row per video."""
    table = _table("Result")
    table.add_column("Result")
    for heading in ("Frames", "Time", "Frames/s", "Size"):
        table.add_column(heading, justify="right", no_wrap=True)
    styles = {"done": "green", "done earlier": "green", "not finished": "yellow"}
    for video in report.videos:
        size = sum(output.size_bytes for output in video.outputs)
        frames = str(video.frames or "")
        if video.result == "not finished":
            frames = f"{video.frames_done} of {video.frames}"
        table.add_row(
            _text(video.name),
            _text(video.result, styles.get(video.result, "red")),
            frames,
            clock(video.seconds) if video.seconds is not None else "",
            f"{video.frames_per_second:.1f}" if video.frames_per_second else "",
            readable_size(size) if size else "",
        )
    return table


def remarks(report: Report) -> Iterator[str]:
    """What must be said beside the table: notes and errors, one line each."""
    for video in report.videos:
        for note in video.notes:
            yield printable(f"{video.name}: {note}")
        if video.error:
            yield printable(f"{video.name}: {video.result}: {video.error}")
    for worker in report.workers:
        if worker.retired:
            yield printable(f"worker {worker.id}: given up: {worker.error or 'no reason known'}")
    if report.stop_reason:
        yield printable(f"stopped: {report.stop_reason}")


def plan_remarks(plan: Plan) -> Iterator[str]:
    """Settings of some videos, notes of the probes, and what was set aside, one line each."""
    for job in plan.jobs:
        if job.differing:
            own = "; ".join(f"{key}: {_plain(value)}" for key, value in job.differing)
            yield printable(f"{job.name}: {own}")
        for note in job.info.notes:
            yield printable(f"{job.name}: {note}")
    for aside in plan.set_aside:
        yield printable(f"{aside.name}: set aside: {aside.error}")


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("Video", overflow="fold")
    return table


def _text(text: str, style: str = "") -> Text:
    """Text that is shown as it is: brackets in file names are no markup."""
    from rich.text import Text

    return Text("\n".join(map(printable, text.splitlines())), style=style)
