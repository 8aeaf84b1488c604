"""Makes the report of a run from the plan, the first and last snapshot and the journal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

from orchestrator.exit_status import ALL_DONE, CANNOT, FAILED, STOPPED, USAGE
from orchestrator.fleet.jobs import Plan, SetAside, VideoJob
from orchestrator.fleet.journal_entries import Entry, Redo, RunStarted, TaskLost, VideoDone
from orchestrator.fleet.snapshot import Snapshot, VideoState
from orchestrator.out.redone import differs_in_words, parts_redone, redo_in_words
from orchestrator.plan.part import part_in_words
from orchestrator.plan.sound_notes import sound_notes
from orchestrator.report.findings import VideoFindings, in_words, read_findings
from orchestrator.report.report import (
    SCHEMA_VERSION,
    Loss,
    RedonePart,
    Report,
    Result,
    RunFacts,
    VideoFacts,
    VideoReport,
    WorkerReport,
)
from orchestrator.report.stage_shares import shares
from orchestrator.settings.changed import value_text
from orchestrator.watch.device_load import LoadPoint, mean
from orchestrator.words import counted
from pipeline.contract import Finding
from pipeline.errors import ErrorRecord
from pipeline.stages.matting.catalogue import MODELS

#: Points of the load that are reported: more than that no chart of a page shows.
MOST_LOAD_POINTS = 150
#: Lost attempts of a video that are reported, the last ones.
MOST_LOSSES = 12


def make_report(
    facts: RunFacts,
    plan: Plan,
    first: Snapshot,
    last: Snapshot,
    *,
    entries: Sequence[Entry] = (),
    load: Sequence[LoadPoint] = (),
    read: Callable[[VideoJob, tuple[Finding, ...]], VideoFindings] = read_findings,
    others: Sequence[VideoReport] = (),
    redone: Mapping[str, tuple[Redo, ...]] | None = None,
) -> Report:
    """Put together what is known of a run, from its first and its last snapshot.

    Args:
        entries: of the journal, for why attempts were lost.
        load: since the work began.
        read: sums up the findings of a video; a `FindingsReader` where reports follow each other.
        others: what OUT holds beside the videos of this run; the exit status does not count them.
        redone: parts of videos that were made again, by their ids; None: by the journal.
    """
    earlier = {video.id: video.frames_done for video in first.videos}
    states = {video.id: video for video in last.videos}
    workers = tuple(
        WorkerReport(
            w.id, w.device, w.lanes, w.life, w.faults, w.status == "retired", _told(w.error)
        )
        for w in last.workers
    )
    losses = _losses(entries)
    again = _parts_redone(plan, entries) if redone is None else redone
    videos = (
        *(
            _video_report(
                job,
                states[job.id],
                read(job, states[job.id].findings),
                earlier[job.id],
                first.now,
                losses.get(job.id, ()),
                again.get(job.id, ()) if states[job.id].status == "done" else (),
            )
            for job in plan.jobs
        ),
        *(_set_aside_report(aside) for aside in plan.set_aside),
    )
    return Report(
        schema_version=SCHEMA_VERSION,
        exit_status=_exit_status(videos, workers, last),
        seconds=round((facts.ended_at - facts.started_at).total_seconds(), 3),
        run=facts,
        videos=(*videos, *others),
        workers=workers,
        stop_reason=_told(last.stop_reason),
        load=thinned(load, MOST_LOAD_POINTS),
    )


def _losses(entries: Sequence[Entry]) -> dict[str, tuple[Loss, ...]]:
    """Of this run, by video: an earlier one's are behind the entry with which this one began."""
    lost: dict[str, list[Loss]] = {}
    for entry in reversed(entries):
        if isinstance(entry, RunStarted):
            break
        if isinstance(entry, TaskLost):
            own = lost.setdefault(entry.video, [])
            if len(own) < MOST_LOSSES:
                error = dataclasses.replace(entry.error, detail="")
                own.append(Loss(entry.segment, entry.attempt, entry.worker, error))
    return {video: tuple(reversed(own)) for video, own in lost.items()}


def thinned(points: Sequence[LoadPoint], most: int) -> tuple[LoadPoint, ...]:
    """At most `most` points, each the mean of as many that follow each other."""
    each = -(-len(points) // most)
    return tuple(mean(points[begin : begin + each]) for begin in range(0, len(points), each or 1))


def _told(error: ErrorRecord | None) -> ErrorRecord | None:
    """An error as a person may see it: the traceback is for the log."""
    return None if error is None else dataclasses.replace(error, detail="")


def _video_report(
    job: VideoJob,
    state: VideoState,
    found: VideoFindings,
    earlier: int,
    began: float,
    losses: tuple[Loss, ...],
    redone: tuple[Redo, ...],
) -> VideoReport:
    seconds = None
    if state.started_at is not None and state.ended_at is not None:
        seconds = round(state.ended_at - state.started_at, 3)
    result: Result = "not finished"
    doubts = found.doubts if state.status == "done" else ()
    if doubts:
        result = "doubtful"
    elif state.status == "done":
        result = "done earlier" if state.earlier else "done"
    elif state.status == "failed":
        result = "failed"
    own_frames = state.num_frames - earlier
    depth_m = found.subject_depth_m
    return VideoReport(
        name=job.name,
        source=job.info.path,
        result=result,
        frames=state.num_frames,
        frames_done=state.frames_done,
        seconds=seconds,
        frames_earlier=earlier,
        frames_per_second=(
            round(own_frames / seconds, 2)
            if seconds and own_frames and state.status == "done" and not state.earlier
            else None
        ),
        outputs=state.outputs,
        retries=state.retries,
        concealed_frames=state.concealed_frames,
        mended_frames=found.mended_frames,
        subject_depth_m=None if depth_m is None else round(depth_m, 2),
        decoders=state.decoders,
        notes=(
            *job.info.notes,
            *sound_notes(job),
            *_part(job),
            *_region(job),
            *_redone(redone),
            *_notes(state, found, earlier),
            *_joined(state),
            *_looks(found),
        ),
        error=_told(state.error),
        id=job.id,
        facts=VideoFacts(
            width=job.info.width,
            height=job.info.height,
            layout=job.info.layout,
            projection=job.info.projection,
            frame_rate=float(job.info.frame_rate),
            first_frame=job.segments[0][0],
            every=job.settings.every,
            phase=job.settings.phase,
            right_first=job.info.right_first,
            model=job.settings.matting.model,
            model_why=job.model_why,
        ),
        started_s=None if state.started_at is None else round(state.started_at - began, 3),
        ended_s=None if state.ended_at is None else round(state.ended_at - began, 3),
        losses=losses,
        flags=found.flags,
        dropped_flags=found.dropped_flags,
        doubts=doubts,
        area=found.area,
        stages=shares(state.stage_seconds, state.wall_s),
        left_out=job.left_out,
        segment_starts=tuple(start for start, _ in job.segments),
        differs={str(key): value_text(value) for key, value in job.differing},
        redone=tuple(RedonePart(part.begin_s, part.end_s, part.differs) for part in redone),
    )


def _parts_redone(plan: Plan, entries: Sequence[Entry]) -> Mapping[str, tuple[Redo, ...]]:
    """By the journal, of the jobs of a run."""
    told = {entry.video for entry in entries if isinstance(entry, VideoDone) and entry.redone}
    found = {}
    for job in plan.jobs if told else ():
        if job.id in told:
            key = job.id, job.settings.fingerprint()
            own = [e for e in entries if isinstance(e, VideoDone) and (e.video, e.settings) == key]
            found[job.id] = parts_redone(job.outputs, own)
    return found


def _part(job: VideoJob) -> Iterator[str]:
    if part := part_in_words(job.info, job.settings):
        yield f"only {part}"


def _redone(redone: Sequence[Redo]) -> Iterator[str]:
    for part in redone:
        yield f"made again: {redo_in_words(part)}, with {differs_in_words(part)}"


def _region(job: VideoJob) -> Iterator[str]:
    matting = job.settings.matting
    row = MODELS.get(matting.model)  # None: of another package that is gone, or not known
    if row is not None and row.takes_boxes and matting.region == "whole":
        yield (
            "people were seen in the whole eye, not in boxes around them"
            " (matting.region: whole, or a memory limit)"
        )


def _notes(state: VideoState, found: VideoFindings, earlier: int) -> Iterator[str]:
    if earlier and not state.earlier:
        yield f"{counted(earlier, 'frame')} done by an earlier run"
    if state.concealed_frames:
        lost = counted(state.concealed_frames, "frame")
        yield f"{lost} could not be decoded: a neighbour is shown"
    for decoder in state.decoders:
        reason = decoder.partition("CPU: ")[2]
        if reason:
            yield f"decoded on the CPU: {reason}"
    if found.mended_frames:
        yield f"the eyes disagreed in {counted(found.mended_frames, 'frame')}, which were mended"
    if state.eased_segments:
        yield f"{counted(state.eased_segments, 'segment')} made in smaller chunks after trouble"
    if state.retries:
        yield f"{counted(state.retries, 'attempt')} lost and made again"
    yield from found.notes


def _joined(state: VideoState) -> Iterator[str]:
    for output in state.outputs:
        for note in output.notes:
            yield f"{output.deliverable}: {note}"


def _looks(found: VideoFindings) -> Iterator[str]:
    if found.flags:
        yield f"deserves a look: {in_words(found.flags, found.dropped_flags)}"


def _set_aside_report(aside: SetAside) -> VideoReport:
    return VideoReport(aside.name, aside.path, "set aside", error=_told(aside.error))


def _exit_status(
    videos: Sequence[VideoReport], workers: Sequence[WorkerReport], last: Snapshot
) -> int:
    unfinished = bool(last.to_come) or any(video.result == "not finished" for video in videos)
    if unfinished and last.stopping:
        return STOPPED
    if not unfinished and not any(video.error for video in videos):
        lacking = any(video.doubts or video.left_out for video in videos)
        return FAILED if lacking else ALL_DONE
    if workers and all(worker.retired for worker in workers):
        # No worker could go on: what ended them all is the machine's fault, or the settings'.
        kinds = {worker.error.kind for worker in workers if worker.error}
        if kinds == {"settings"}:
            return USAGE
        if kinds == {"machine"}:
            return CANNOT
    return FAILED
