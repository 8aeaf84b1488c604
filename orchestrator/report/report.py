"""A whole run as ``report.json`` holds it; `make_report.py` makes it, table and page show it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from orchestrator.out.below import written
from orchestrator.report.findings import TimedFlag
from orchestrator.watch.device_load import LoadPoint
from pipeline.contract import Layout, OutputFile, ProjectionName
from pipeline.errors import ErrorRecord
from pipeline.files.disk import write_file
from pipeline.judge.doubt import Doubt

#: 2: what a page needs to show each video, its flags among it. 3: `stages` by any name. 4: videos
#: that are done can be "doubtful". 5: paths of outputs are relative to OUT, and outputs have
#: digests. 6: videos of earlier runs (`of_this_run`), and formats that are left out.
SCHEMA_VERSION = 6

#: Versions that are read. Reports of earlier ones hold nothing that is not understood.
READ_VERSIONS = (2, 3, 4, 5, SCHEMA_VERSION)

#: A file of that name that is longer was not written here.
LONGEST_BYTES = 256 << 20

#: "doubtful": its files are there, by this run or an earlier one, and likely of no use.
Result = Literal["done", "done earlier", "doubtful", "failed", "set aside", "not finished"]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of a run beside its videos.

    Attributes:
        started_at, ended_at: with their time zone.
        settings: fingerprint of the settings that decide pixels.
        command: that began it, as a shell takes it; what `--on-done` runs is left out. Empty where
            it is not known.
        changed: settings that differ from the defaults, by ``group.key``, as text.
    """

    version: str
    inputs: tuple[str, ...]
    out: str
    settings: str
    started_at: datetime
    ended_at: datetime
    command: str = ""
    changed: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What one must know of a video to show it.

    Attributes:
        width, height: of the upright picture, in pixels, both eyes together.
        frame_rate: of the outputs, frames a second.
        first_frame: number in the source of the outputs' first frame.
        model: what cut the subject out.
        model_why: why it was chosen; empty where a person named it.
        every, phase: all numbers of frames count the frames taken: frame k is frame ``phase + k *
            every`` of the source. 1 and 0 where all are taken.
        right_first: the right eye is the left (or upper) half of the picture.
    """

    width: int
    height: int
    layout: Layout
    projection: ProjectionName
    frame_rate: float
    first_frame: int
    model: str
    model_why: str = ""
    every: int = 1
    phase: int = 0
    right_first: bool = False


@dataclass(frozen=True, slots=True)
class Loss:
    """An attempt that failed and was made again; `segment` is None for the joining of segments."""

    segment: int | None
    attempt: int
    worker: int
    error: ErrorRecord


@dataclass(frozen=True, slots=True)
class RedonePart:
    """A part of the outputs that `vrmatte redo` made again.

    Attributes:
        begin_s, end_s: times of the outputs.
        differs: its settings that are others than the video's, by ``group.key``, as text.
    """

    begin_s: float
    end_s: float
    differs: Mapping[str, str] = field(default_factory=dict, hash=False)


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
        doubts: why its matte is likely of no use; only of videos that are done.
        area: see `MatteSummary`.
        of_this_run: it was asked for; otherwise an earlier run left it in OUT.
        left_out: formats that were asked for and cannot be made of it; the notes say why.
        segment_starts: first frame of each of its segments, ascending.
        differs: settings that its overrides change, by ``group.key``, as text.
        redone: parts that were made again since, the last one last.
        stages: the share of the segments' time for which each stage was at work, 0..1, by its
            name, over all segments, an earlier run's too; null if none was measured.
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
    doubts: tuple[Doubt, ...] = ()
    area: tuple[float | None, ...] = ()
    stages: Mapping[str, float] | None = None
    left_out: tuple[str, ...] = ()
    of_this_run: bool = True
    segment_starts: tuple[int, ...] = ()
    differs: Mapping[str, str] = field(default_factory=dict, hash=False)
    redone: tuple[RedonePart, ...] = ()


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


def with_outputs(report: Report, change: Callable[[str], str]) -> Report:
    """The report with other paths of outputs."""
    videos = tuple(
        dataclasses.replace(
            video,
            outputs=tuple(
                dataclasses.replace(file, path=change(file.path)) for file in video.outputs
            ),
        )
        for video in report.videos
    )
    return dataclasses.replace(report, videos=videos)


def write_report(report: Report, path: Path) -> None:
    """Write the report whole or not at all; paths of outputs are relative to its folder, OUT.

    Raises:
        DiskError: the disk is full, or cannot be written any more.
    """
    report = with_outputs(report, lambda place: written(place, path.parent))
    text = json.dumps(dataclasses.asdict(report), indent=2, default=datetime.isoformat)
    write_file(path, text.encode() + b"\n")
