"""`vrmatte status OUT`: what the last run recorded, what its journal says, and how one stands now.

Changes nothing, and can be asked at any time, also when a run was killed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.fleet.journal_entries import (
    Entry,
    Redo,
    SegmentCommitted,
    VideoDone,
    VideoSetAside,
)
from orchestrator.fleet.snapshot import ALL_BUT_JOINED, VideoState
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import measure, read_lines
from orchestrator.out.ledger import finished_files_of, key_of, known_videos, told_beside
from orchestrator.out.redone import (
    differs_in_words,
    parts_redone,
    redo_in_words,
    unfinished_redos,
)
from orchestrator.watch.standing import Standing, read_standing
from orchestrator.words import MOST_LINES, clock, counted, gathered
from pipeline.errors import ErrorRecord, MachineError
from pipeline.foreign.files import Unreadable, read_bytes
from pipeline.judge.doubt import Doubt, doubts_of
from pipeline.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: A run that has not shown how it stands for so long is told so, in seconds.
SILENT_S = 30.0

#: Lines: what is printed once may scroll.
_NO_LIMIT = 10_000

#: From this width on there is room for the segments beside a name.
_WIDE = 60

Completion = Literal[
    "done",
    "doubtful",
    "output is gone",
    "output has changed",
    "set aside",
    "all segments made; joining is left",
    "begun",
    "not begun",
]


@dataclass(frozen=True, slots=True)
class VideoStanding:
    """How far one video has come; frames are those of whole segments, and of what is in hand.

    Attributes:
        standing: "doubtful": done, and likely of no use.
        doubts: why; only of a video whose outputs are there.
        redone: parts of these that were made again.
    """

    id: str
    name: str
    standing: Completion
    frames: int
    frames_done: int
    segments: int
    segments_done: int
    outputs: tuple[str, ...]
    error: ErrorRecord | None
    doubts: tuple[Doubt, ...] = ()
    redone: tuple[Redo, ...] = ()


def show_status(
    path: Path,
    console: Console,
    wall_clock: Callable[[], datetime] = lambda: datetime.now().astimezone(),
) -> None:
    """Print how the run stands, if one goes on; one row per video; and what remains.

    Raises:
        SettingsError: no run was started in `path`.
        MachineError: its record is damaged; what is known without it was shown.
    """
    out = OutFolder(path.absolute())
    going_on = out.in_use()
    standing = standing_of(out) if going_on else None
    if going_on and not out.run_file.exists():
        console.print(_state(going_on, standing, wall_clock()), markup=False, soft_wrap=True)
        return
    if standing is not None:
        from orchestrator.watch.terminal_view import view

        plain = not console.encoding.startswith("utf")
        console.print(view(standing, console.width, _NO_LIMIT, plain=plain))
    entries, damaged_lines = read_lines(out.journal)
    try:
        record = out.read_run_file()
    except MachineError:  # what is known without it is shown first
        console.print(_without_record(entries), markup=False, soft_wrap=True)
        raise
    known = known_videos(out, entries)
    record["videos"] += told_beside(known.videos, record["videos"])
    videos = list(standings(record, entries))
    if standing is not None:
        states = {state.id: state for state in standing.snapshot.videos}
        videos = [_with_hand(video, states.get(video.id)) for video in videos]
    shown = videos if len(videos) <= MOST_LINES else _untidy(videos)[:MOST_LINES]
    if shown:
        console.print(_table(shown, console.width))
    lines = gathered([(v.name, f"doubtful: {doubt}") for v in videos for doubt in v.doubts])
    lines += gathered([(video.name, str(video.error)) for video in videos if video.error])
    lines += gathered([*_redone(videos, record, entries)])
    lines += gathered([(a["name"], f"set aside: {a['reason']}") for a in record["set_aside"]])
    others = Counter(video.standing for video in videos) - Counter(v.standing for v in shown)
    if others:
        which = ", ".join(f"{count} {standing}" for standing, count in others.items())
        lines.append(f"of {counted(len(videos), 'video')} not in the table: {which}")
    lines += _damages(out, record["damaged"], damaged_lines)
    lines += [known.remark(out)] if known.damage else []
    done = sum(video.standing == "done" for video in videos)
    doubtful = sum(video.standing == "doubtful" for video in videos)
    now = _state(going_on, standing, wall_clock())
    if not going_on and done + doubtful < len(videos):
        now += ": the same command resumes it"
    also = f", {doubtful} doubtful" if doubtful else ""
    lines.append(
        f"{done} of {counted(len(videos), 'video')} done{also}, begun {record['started']}; {now}"
    )
    for line in lines:
        console.print(printable(line), markup=False, soft_wrap=True)


def _redone(
    videos: Sequence[VideoStanding], record: dict[str, Any], entries: Sequence[Entry]
) -> Iterator[tuple[str, str]]:
    """Parts that were made again, and redos that are not finished, by the videos' names.

    Args:
        videos: of those in `record`, in the same order.
    """
    begun = unfinished_redos(entries)
    for video, told in zip(videos, record["videos"], strict=True):
        for part in video.redone:
            words = f"{redo_in_words(part)}, with {differs_in_words(part)}"
            yield video.name, f"made again: {words}"
        key = told["id"], told.get("settings", record["fingerprint"])
        if (redo := begun.get(key)) is not None:
            how = redo.command or "the same command"
            yield video.name, f"a redo is not finished: {redo_in_words(redo)}; {how} resumes it"


def standing_of(out: OutFolder) -> Standing | None:
    """How the run that is going on in `out` stands; None before its first standing.

    A run that was killed leaves its file behind: the process number tells them apart.
    """
    standing = read_standing(out.path)
    try:
        holder = read_bytes(out.lock, 64).strip()
    except Unreadable:
        return None
    return standing if standing is not None and holder == str(standing.pid).encode() else None


def _without_record(entries: Sequence[Entry]) -> str:
    done = {entry.video for entry in entries if isinstance(entry, VideoDone)}
    made = sum(isinstance(entry, SegmentCommitted) for entry in entries)
    return f"by the journal, {counted(len(done), 'video')} done, {counted(made, 'segment')} made"


def _damages(out: OutFolder, entries: int, lines: int) -> Iterator[str]:
    if entries:
        yield f"{out.run_file.name} is damaged: {counted(entries, 'video')} in it cannot be shown"
    if lines:
        yield (
            f"{out.journal.name} is damaged: {counted(lines, 'line')} of it cannot be read, and"
            " what they told of is made again"
        )


def _state(going_on: bool, standing: Standing | None, now: datetime) -> str:
    if not going_on:
        return "no run is going on"
    if standing is None:
        return "a run is going on, and has not begun its work yet"
    silent_s = (now - standing.updated).total_seconds()
    if silent_s > SILENT_S:
        return f"a run is going on, and was last heard of {clock(silent_s)} ago"
    return f"a run is going on (process {standing.pid})"


def _untidy(videos: Sequence[VideoStanding]) -> list[VideoStanding]:
    """Those that are begun, and those with which something is wrong."""
    return [video for video in videos if video.standing not in ("done", "not begun")]


def _table(videos: Sequence[VideoStanding], width: int) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("Video", overflow="fold", min_width=8)
    table.add_column("State")
    if width >= _WIDE:
        table.add_column("Segments", justify="right", no_wrap=True)
    table.add_column("Frames", justify="right", no_wrap=True)
    for video in videos:
        table.add_row(
            Text(printable(video.name)),
            video.standing,
            *([f"{video.segments_done} of {video.segments}"] if width >= _WIDE else []),
            f"{video.frames_done} of {video.frames}",
        )
    return table


def _with_hand(video: VideoStanding, state: VideoState | None) -> VideoStanding:
    """With the frames of segments that are in hand now."""
    if state is None or state.status in ("done", "failed"):
        return video
    begun = state.started_at is not None and video.standing == "not begun"
    standing: Completion = "begun" if begun else video.standing
    return replace(video, standing=standing, frames_done=max(video.frames_done, state.frames_done))


def standings(record: dict[str, Any], entries: Sequence[Entry]) -> Iterator[VideoStanding]:
    """For each video of the run that `record` (``run.yaml``) tells of, what the journal says."""
    settings = record["fingerprint"]
    model = record.get("settings", {}).get("matting", {}).get("model", "")
    told: dict[tuple[str, str], list[SegmentCommitted | VideoDone | VideoSetAside]] = {}
    for entry in entries:
        if isinstance(entry, SegmentCommitted | VideoDone | VideoSetAside):
            told.setdefault((entry.video, entry.settings), []).append(entry)
    for video in record["videos"]:
        own = told.get((video["id"], video.get("settings", settings)), [])
        yield _standing(video, own, video.get("model") or model)


def _standing(
    video: dict[str, Any],
    entries: Sequence[SegmentCommitted | VideoDone | VideoSetAside],
    model: str,
) -> VideoStanding:
    grid = {tuple(segment) for segment in video["segments"]}
    found = {
        (entry.start, entry.stop): entry.result.findings
        for entry in entries
        if isinstance(entry, SegmentCommitted) and (entry.start, entry.stop) in grid
    }
    done = set(found)
    doubts: tuple[Doubt, ...] = ()
    redone: tuple[Redo, ...] = ()
    last = next((e for e in reversed(entries) if not isinstance(e, SegmentCommitted)), None)
    outputs = tuple(video["outputs"])
    standing: Completion = "begun" if done else "not begun"
    if done and len(done) == len(grid):
        standing = ALL_BUT_JOINED
    if isinstance(last, VideoDone):
        done = grid
        sizes = tuple(output.size_bytes for output in finished_files_of(video, entries))
        sizes_now = measure(outputs)
        standing = "output is gone" if sizes_now is None else "output has changed"
        if sizes_now == sizes:
            doubts = doubts_of(chain.from_iterable(found.values()), model)
            standing = "doubtful" if doubts else "done"
            redone = parts_redone(outputs, entries)
    elif isinstance(last, VideoSetAside):
        standing = "set aside"
    return VideoStanding(
        id=key_of(video),
        name=video["name"],
        standing=standing,
        frames=video["frames"],
        frames_done=sum(stop - start for start, stop in done),
        segments=len(grid),
        segments_done=len(done),
        outputs=tuple(path for path in outputs if Path(path).is_file()),
        error=last.error if isinstance(last, VideoSetAside) else None,
        doubts=doubts,
        redone=redone,
    )
