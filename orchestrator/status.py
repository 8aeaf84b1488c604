"""`vrmatte status OUT`: what the last run recorded, and what its journal says. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.entries import Entry, SegmentCommitted, VideoDone, VideoSetAside
from orchestrator.journal import measure, read_entries
from orchestrator.out_folder import OutFolder
from orchestrator.words import printable
from pipeline.errors import ErrorRecord

if TYPE_CHECKING:
    from rich.console import Console

Standing = Literal["done", "output is gone", "set aside", "begun", "not begun"]


@dataclass(frozen=True, slots=True)
class VideoStanding:
    """How far one video has come; frames are those of whole segments."""

    name: str
    standing: Standing
    frames: int
    frames_done: int
    segments: int
    segments_done: int
    outputs: tuple[str, ...]
    error: ErrorRecord | None


def show_status(path: Path, console: Console) -> None:
    """Print one row per video, and what remains.

    Raises:
        SettingsError: no run was started in `path`.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = OutFolder(path.absolute())
    record = out.read_run_file()
    videos = list(standings(record, read_entries(out.journal)))
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("Video", overflow="fold")
    table.add_column("State")
    table.add_column("Segments", justify="right", no_wrap=True)
    table.add_column("Frames", justify="right", no_wrap=True)
    for video in videos:
        table.add_row(
            Text(video.name),
            video.standing,
            f"{video.segments_done} of {video.segments}",
            f"{video.frames_done} of {video.frames}",
        )
    if videos:
        console.print(table)
    lines = [f"{video.name}: {video.error}" for video in videos if video.error]
    lines += [f"{aside['name']}: set aside: {aside['reason']}" for aside in record["set_aside"]]
    done = sum(video.standing == "done" for video in videos)
    going_on = "a run is going on" if out.in_use() else "no run is going on"
    lines.append(f"{done} of {len(videos)} videos done, begun {record['started']}; {going_on}")
    for line in lines:
        console.print(printable(line), markup=False, soft_wrap=True)


def standings(record: dict[str, Any], entries: Sequence[Entry]) -> Iterator[VideoStanding]:
    """For each video of the run that `record` (``run.yaml``) tells of, what the journal says."""
    settings = record["fingerprint"]
    for video in record["videos"]:
        own = [
            entry
            for entry in entries
            if isinstance(entry, SegmentCommitted | VideoDone | VideoSetAside)
            and (entry.video, entry.settings) == (video["id"], video.get("settings", settings))
        ]
        yield _standing(video, own)


def _standing(
    video: dict[str, Any], entries: Sequence[SegmentCommitted | VideoDone | VideoSetAside]
) -> VideoStanding:
    grid = {tuple(segment) for segment in video["segments"]}
    done = {
        (entry.start, entry.stop) for entry in entries if isinstance(entry, SegmentCommitted)
    } & grid
    last = next((e for e in reversed(entries) if not isinstance(e, SegmentCommitted)), None)
    outputs = tuple(video["outputs"])
    standing: Standing = "begun" if done else "not begun"
    if isinstance(last, VideoDone):
        done = grid
        sizes = tuple(output.size_bytes for output in last.outputs)
        standing = "done" if measure(outputs) == sizes else "output is gone"
    elif isinstance(last, VideoSetAside):
        standing = "set aside"
    return VideoStanding(
        name=video["name"],
        standing=standing,
        frames=video["frames"],
        frames_done=sum(stop - start for start, stop in done),
        segments=len(grid),
        segments_done=len(done),
        outputs=tuple(path for path in outputs if Path(path).is_file()),
        error=last.error if isinstance(last, VideoSetAside) else None,
    )
