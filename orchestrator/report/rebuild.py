"""OUT -> what a page tells of its last run, also where that was killed. Changes nothing.

``report.json`` is believed where the journal says that the run ended in order. Otherwise the
report is made as at the end of a run, of what ``run.yaml``, the journal and what the probes found
say; how fast it was is taken from what the run last said of itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from orchestrator.fleet.jobs import Plan, SetAside, VideoJob
from orchestrator.fleet.journal_entries import (
    Entry,
    Redo,
    RunEnded,
    RunStarted,
    SegmentCommitted,
    TaskLost,
    VideoDone,
    VideoSetAside,
)
from orchestrator.fleet.snapshot import Snapshot, VideoState
from orchestrator.fleet.video import Video
from orchestrator.out.below import in_out
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import measure, read_lines
from orchestrator.out.ledger import finished_files_of, key_of, known_videos, told_beside
from orchestrator.out.redone import parts_redone
from orchestrator.plan.kept_probes import kept_probe, read_info
from orchestrator.report.make_report import make_report
from orchestrator.report.report import (
    LONGEST_BYTES,
    READ_VERSIONS,
    Report,
    RunFacts,
    VideoReport,
    with_outputs,
)
from orchestrator.report.state import PageState, all_ended
from orchestrator.settings.changed import changed_settings
from orchestrator.watch.device_load_file import read_load
from orchestrator.watch.standing import read_standing
from pipeline.contract import MattingSettings, VideoInfo, VideoSettings
from pipeline.deliverables.formats import FORMATS
from pipeline.errors import ErrorRecord, MachineError
from pipeline.foreign.json_text import read_json
from pipeline.text import printable
from workers.messages import TaskId


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in OUT.

    Attributes:
        infos: what the probes said, by the videos' ids, as far as it is there.
        remarks: what is damaged of what the run left, one line each.
    """

    state: PageState
    infos: Mapping[str, VideoInfo]
    remarks: tuple[str, ...] = ()


def found_in(out: OutFolder, now: datetime, *, anew: bool = False) -> Found:
    """How the last run in `out` stands.

    Args:
        anew: ``report.json`` is not believed, whatever the journal says.

    Raises:
        SettingsError: there was none.
        MachineError: what it left is damaged.
    """
    entries, damaged_lines = read_lines(out.journal)
    remarks = [f"{out.journal.name}: damaged lines: {damaged_lines}"] if damaged_lines else []
    try:
        record = out.read_run_file()
    except MachineError as error:
        if (report := _readable_report(out)) is None:
            raise
        state = PageState(report, now, "in order", all_ended(report))
        return Found(state, {}, (f"{error.message}: the page shows {out.report.name}", *remarks))
    if record["damaged"]:
        remarks.append(f"{out.run_file.name}: damaged videos: {record['damaged']}")
    known = known_videos(out, entries)
    if known.damage:
        remarks.append(known.remark(out))
    record["videos"] += told_beside(known.videos, record["videos"])
    try:
        infos = {key_of(v): info for v in record["videos"] if (info := _info(out, v))}
        begun = datetime.fromisoformat(record["started"])
        ended = bool(entries) and isinstance(entries[-1], RunEnded)
        report = _report_of_that_run(out, begun) if ended and not anew else None
        if report is None:
            report = _rebuilt(out, record, entries, infos, begun)
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise MachineError(f"{out.run_file} is damaged ({error})", "run again") from None
    state = PageState(
        report=report,
        now=now,
        ending="in order" if ended else "without a word",
        standings=all_ended(report),
    )
    return Found(state, infos, tuple(remarks))


def read_report(path: Path) -> Report:
    """``report.json`` as it was written, of an OUT that is where it is now.

    Raises:
        ValueError: it cannot be read, is damaged, or another version's.
    """
    said = read_json(path, LONGEST_BYTES)
    if not isinstance(said, dict) or said.get("schema_version") not in READ_VERSIONS:
        raise ValueError(f"{path} is of another version")
    report: Report = TypeAdapter(Report).validate_python(_shown(said), strict=False)
    report = replace(report, run=replace(report.run, out=str(path.parent)))
    return with_outputs(report, lambda place: in_out(place, path.parent))


def _shown(value: Any, key: str = "") -> Any:
    """Names whose bytes are no text cannot be held to a schema. Links need paths as they are."""
    if isinstance(value, str):
        is_kept = value.isprintable() or (key == "path" and _is_text(value))
        return value if is_kept else printable(value)
    if isinstance(value, list):
        return [_shown(part) for part in value]
    if isinstance(value, dict):
        return {name: _shown(part, name) for name, part in value.items()}
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _report_of_that_run(out: OutFolder, begun: datetime) -> Report | None:
    """None where it could not be written at the end, or cannot be read now."""
    report = _readable_report(out)
    # run.yaml is written after a run has begun, and tells whole seconds.
    is_of_it = report is not None and report.run.ended_at + timedelta(seconds=1) >= begun
    return report if is_of_it else None


def _readable_report(out: OutFolder) -> Report | None:
    try:
        report = read_report(out.report)
    except ValueError:
        return None
    zones = (report.run.started_at.tzinfo, report.run.ended_at.tzinfo)
    return None if None in zones else report


def _rebuilt(
    out: OutFolder,
    record: Mapping[str, Any],
    entries: Sequence[Entry],
    infos: Mapping[str, VideoInfo],
    begun: datetime,
) -> Report:
    standing = read_standing(out.path)
    if standing is not None and standing.updated < begun:
        standing = None
    videos = record["videos"]
    known = [video for video in videos if key_of(video) in infos]
    jobs = [_job(record, video, infos[key_of(video)]) for video in known]
    unknown = [video for video in videos if key_of(video) not in infos]
    aside = [
        *(SetAside(v["name"], "", ErrorRecord("error", v["reason"])) for v in record["set_aside"]),
        *(SetAside(v["name"], "", _not_known(out)) for v in unknown),
    ]
    start = max((n for n, e in enumerate(entries) if isinstance(e, RunStarted)), default=0)
    before, all_told = entries_of(record, entries[:start]), entries_of(record, entries)
    first = [_state(job, video, before[job.id]) for job, video in zip(jobs, known, strict=True)]
    seen = {} if standing is None else {video.id: video for video in standing.snapshot.videos}
    last = [
        _of_this_run(_state(job, video, all_told[job.id]), earlier, seen.get(job.id))
        for job, video, earlier in zip(jobs, known, first, strict=True)
    ]
    began_at = standing.snapshot.now - standing.elapsed_s if standing is not None else 0.0
    workers = standing.snapshot.workers if standing is not None else ()
    facts = RunFacts(
        version=record["version"],
        inputs=tuple(record["inputs"]),
        out=str(out.path),
        settings=record["fingerprint"],
        started_at=begun,
        ended_at=standing.updated if standing is not None else begun,
        command=record["command"],
        changed=changed_settings(record["settings"]),
    )
    return make_report(
        facts,
        Plan(tuple(jobs), tuple(aside)),
        Snapshot(began_at, tuple(first), (), False),
        Snapshot(began_at, tuple(last), workers, True),
        entries=entries,
        load=read_load(out.path, begun),
        redone=_redone(known, all_told),
    )


def reports_of_others(
    out: OutFolder, facts: RunFacts, entries: Sequence[Entry], planned: Sequence[VideoJob]
) -> tuple[tuple[VideoReport, ...], Mapping[str, VideoInfo]]:
    """What OUT holds beside what a run makes, and what the probes said of those videos."""
    own = [{"id": job.id, "outputs": job.outputs} for job in planned]
    videos = told_beside(known_videos(out, entries).videos, own)
    infos = {key_of(video): info for video in videos if (info := _info(out, video))}
    videos = [video for video in videos if key_of(video) in infos]
    record = {"fingerprint": "", "videos": videos, "settings": {"matting": {"model": ""}}}
    jobs = tuple(_job(record, video, infos[key_of(video)]) for video in videos)
    told = entries_of(record, entries)
    states = tuple(
        replace(_state(job, video, told[job.id]), retries=0)
        for job, video in zip(jobs, videos, strict=True)
    )
    report = make_report(
        facts,
        Plan(jobs, ()),
        Snapshot(0.0, states, (), False),
        Snapshot(0.0, states, (), False),
        redone=_redone(videos, told),
    )
    found = (replace(v, of_this_run=False) for v in report.videos if v.outputs or v.frames_done)
    return tuple(found), infos


def _redone(
    videos: Sequence[Mapping[str, Any]], told: Mapping[str, Sequence[Entry]]
) -> Mapping[str, tuple[Redo, ...]]:
    return {key_of(video): parts_redone(video["outputs"], told[key_of(video)]) for video in videos}


def _not_known(out: OutFolder) -> ErrorRecord:
    return ErrorRecord("error", f"what was known of it is gone from {out.state}", "run again")


def _job(record: Mapping[str, Any], video: Mapping[str, Any], info: VideoInfo) -> VideoJob:
    """As much of it as a report needs; its settings are those that the page names."""
    model = video.get("model") or record["settings"]["matting"]["model"]
    return VideoJob(
        id=key_of(video),
        name=video["name"],
        info=replace(info, notes=tuple(video.get("notes", info.notes))),
        settings=VideoSettings(
            deliverables=tuple(name for name in video.get("formats", ()) if name in FORMATS),
            audio=video.get("audio", "keep"),
            start_frame=video.get("start_frame", 0),
            max_frames=video.get("max_frames"),
            every=video.get("every", 1),
            matting=MattingSettings(model=model),
        ),
        outputs=tuple(video["outputs"]),
        segments=tuple((start, stop) for start, stop in video["segments"]),
        index_path="",
        work_dir="",
        model_why=video.get("model_why", ""),
        left_out=tuple(video.get("left_out", ())),
        differing=tuple(video.get("differs", {}).items()),
    )


def entries_of(record: Mapping[str, Any], entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """What the journal says of each video under the settings of that run, and its runs.

    By `key_of` each.
    """
    told: dict[str, list[Entry]] = {key_of(video): [] for video in record["videos"]}
    keys: dict[tuple[str, str], list[str]] = {}
    for video in record["videos"]:
        settings = video.get("settings", record["fingerprint"])
        keys.setdefault((video["id"], settings), []).append(key_of(video))
    for entry in entries:
        if isinstance(entry, RunStarted):
            for own in told.values():
                own.append(entry)
        elif isinstance(entry, TaskLost):
            told.get(entry.video, []).append(entry)
        elif isinstance(entry, SegmentCommitted | VideoDone | VideoSetAside):
            for key in keys.get((entry.video, entry.settings), ()):
                told[key].append(entry)
    return told


def _state(job: VideoJob, told: Mapping[str, Any], entries: Sequence[Entry]) -> VideoState:
    """Where a video stands by the journal; what went wrong counts for the last run only."""
    video = Video(job, home=0)
    results = {
        entry.segment: entry.result
        for entry in entries
        if isinstance(entry, SegmentCommitted)
        and entry.segment < len(job.segments)
        and (entry.start, entry.stop) == job.segments[entry.segment]
    }
    done = tuple(finished_files_of(told, entries))
    if done and measure(job.outputs) == tuple(output.size_bytes for output in done):
        video.publish(done, earlier=True)
    for number, result in results.items():
        video.resume(TaskId(job.id, number), result)
    lost = 0
    for entry in entries:
        if isinstance(entry, RunStarted):
            lost = 0
        elif isinstance(entry, TaskLost):
            lost += 1
        elif isinstance(entry, VideoSetAside) and entry is entries[-1]:
            video.set_aside(entry.error)
    return replace(video.state(), retries=lost)


def _of_this_run(state: VideoState, before: VideoState, told: VideoState | None) -> VideoState:
    """With what only the run itself knew, and told last: what was its own work, and when."""
    state = replace(state, earlier=before.status == "done")
    if told is None:
        return state
    return replace(state, started_at=told.started_at, ended_at=told.ended_at)


def _info(out: OutFolder, video: Mapping[str, Any]) -> VideoInfo | None:
    info = read_info(kept_probe(out.path, video["id"]))
    every = video.get("every", 1)
    return None if info is None else info.every_nth(every, video.get("start_frame", 0) % every)
