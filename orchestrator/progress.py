"""Snapshots of the run -> what a person sees while it goes on. Decides nothing, waits for nothing.

On a terminal: one row per worker, one bar for the whole, the last events. Elsewhere: one plain
line per change of state.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from orchestrator.snapshot import Snapshot, VideoState, WorkerState
from orchestrator.words import clock, counted, printable
from workers.messages import TaskId

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

#: Rates are taken over this many seconds: long enough to even out segments of different cost.
RATE_WINDOW_S = 30.0
#: The live view is drawn at most this often, except when something happens.
REDRAW_S = 0.2
LAST_EVENTS = 5


class Progress(Protocol):
    """Is shown every snapshot as it comes."""

    def update(self, snapshot: Snapshot) -> None: ...


def changes(before: Snapshot | None, after: Snapshot) -> Iterator[str]:
    """One line for each change of state between two snapshots, without control characters."""
    old_workers = {worker.id: worker for worker in before.workers} if before else {}
    old_videos = {video.id: video for video in before.videos} if before else {}
    for worker in after.workers:
        line = _worker_change(old_workers.get(worker.id), worker)
        if line:
            yield printable(f"worker {worker.id}: {line}")
    for video in after.videos:
        for line in _video_changes(old_videos.get(video.id), video):
            yield printable(f"{video.name}: {line}")
    if after.stopping and not (before and before.stopping):
        yield "stopping: what is in hand is finished first; Ctrl-C again ends at once"


def _worker_change(old: WorkerState | None, new: WorkerState) -> str:
    reason = f": {new.error}" if new.error else ""
    if old and new.faults > old.faults:
        then = "given up" if new.status == "retired" else "is started again"
        return f"ended without being asked to, {then}{reason}"
    if old and old.status == new.status:
        return ""
    lines = {
        "ready": f"ready on {new.device or 'its device'}, {counted(new.lanes, 'lane')}",
        "retired": f"given up{reason}",
    }
    return lines.get(new.status, "")


def _video_changes(old: VideoState | None, new: VideoState) -> Iterator[str]:
    if old is None and new.earlier:
        yield "was done earlier"
        return
    if old is None and new.segments_done:
        yield f"goes on; {new.segments_done} of {counted(new.num_segments, 'segment')} done earlier"
    if old and new.retries > old.retries:
        yield "an attempt was lost, and is made again"
    if old and new.segments_done > old.segments_done:
        yield f"{new.segments_done} of {counted(new.num_segments, 'segment')} done"
    if new.started_at is not None and (old is None or old.started_at is None):
        yield f"started, {new.num_frames} frames in {counted(new.num_segments, 'segment')}"
    if old and old.status == new.status:
        return
    if new.status == "finishing":
        yield "joining the segments"
    elif new.status == "done":
        yield f"done{_took(new)}"
    elif new.status == "failed":
        yield f"failed: {new.error}"


def _took(video: VideoState) -> str:
    if video.started_at is None or video.ended_at is None:
        return ""
    return f" in {clock(video.ended_at - video.started_at)}"


class Pace:
    """Frames a second over the last `RATE_WINDOW_S`, of the run and of each worker.

    What was done before the first snapshot is not counted.
    """

    def __init__(self) -> None:
        self._in_hand: dict[tuple[int, TaskId, int], tuple[int, int]] = {}
        self._finished: dict[int, int] = {}  # worker -> frames of tasks that left its hands
        self._history: deque[tuple[float, int, dict[int, int]]] = deque()

    def add(self, snapshot: Snapshot) -> None:
        in_hand = {
            (worker.id, running.task, running.attempt): (running.frames_done, running.num_frames)
            for worker in snapshot.workers
            for running in worker.tasks
        }
        for key, (_, num_frames) in self._in_hand.items():
            if key not in in_hand:
                self._finished[key[0]] = self._finished.get(key[0], 0) + num_frames
        self._in_hand = in_hand
        frames = dict(self._finished)
        for (worker, _, _), (done, _) in in_hand.items():
            frames[worker] = frames.get(worker, 0) + done
        total = sum(video.frames_done for video in snapshot.videos)
        self._history.append((snapshot.now, total, frames))
        while len(self._history) > 2 and self._history[1][0] < snapshot.now - RATE_WINDOW_S:
            self._history.popleft()

    def run_fps(self) -> float:
        (begin, first, _), (end, last, _) = self._history[0], self._history[-1]
        return max(0.0, last - first) / (end - begin) if end > begin else 0.0

    def worker_fps(self, worker: int) -> float:
        (begin, _, first), (end, _, last) = self._history[0], self._history[-1]
        frames = last.get(worker, 0) - first.get(worker, 0)
        return max(0, frames) / (end - begin) if end > begin else 0.0


class PlainProgress:
    """One line per change of state, with the time of day."""

    def __init__(self, write: Callable[[str], None], time_of_day: Callable[[], str]) -> None:
        self._write = write
        self._time_of_day = time_of_day
        self._last: Snapshot | None = None
        self._pace = Pace()

    def update(self, snapshot: Snapshot) -> None:
        self._pace.add(snapshot)
        lines = list(changes(self._last, snapshot))
        for line in lines:
            self._write(f"{self._time_of_day()} {line}")
        if self._last and _segments(snapshot) > _segments(self._last):
            self._write(f"{self._time_of_day()} {whole(snapshot, self._pace)}")
        self._last = snapshot


class LiveProgress:
    """A view that is drawn in place."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._last: Snapshot | None = None
        self._drawn_at = float("-inf")
        self._pace = Pace()
        self._events: deque[str] = deque(maxlen=LAST_EVENTS)

    def update(self, snapshot: Snapshot) -> None:
        self._pace.add(snapshot)
        lines = list(changes(self._last, snapshot))
        self._events.extend(lines)
        self._last = snapshot
        if lines or snapshot.now - self._drawn_at >= REDRAW_S:
            self._drawn_at = snapshot.now
            self._live.update(view(snapshot, self._pace, list(self._events)), refresh=True)


def view(snapshot: Snapshot, pace: Pace, events: list[str]) -> RenderableType:
    """What the terminal shows; fits any width."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    def line(text: str, style: str = "") -> Text:
        return Text(text, style=style, no_wrap=True, overflow="ellipsis")

    names = {video.id: video.name for video in snapshot.videos}
    workers = Table.grid(padding=(0, 2), expand=True)
    workers.add_column(no_wrap=True)
    workers.add_column(max_width=24, no_wrap=True, overflow="ellipsis")
    workers.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    workers.add_column(justify="right", no_wrap=True)
    for worker in snapshot.workers:
        rate = f"{pace.worker_fps(worker.id):.1f} frames/s" if worker.tasks else ""
        style = "red" if worker.status == "retired" else ""
        doing = line(printable(_doing(worker, names)), style)
        workers.add_row(
            line(f"worker {worker.id}"), line(printable(worker.device)), doing, line(rate)
        )
    done, total = _frames(snapshot)
    bar = Table.grid(expand=True)
    bar.add_row(ProgressBar(total=max(total, 1), completed=done))
    return Group(
        workers,
        bar,
        line(whole(snapshot, pace), "bold"),
        *(line(event, "dim") for event in events),
    )


def whole(snapshot: Snapshot, pace: Pace) -> str:
    """The whole run in one line."""
    done, total = _frames(snapshot)
    ended = [video for video in snapshot.videos if video.status in ("done", "failed")]
    rate = pace.run_fps()
    parts = [
        f"{100 * done // max(total, 1)} %",
        f"{done} of {total} frames",
        f"{len(ended)} of {len(snapshot.videos)} videos",
        f"{rate:.1f} frames/s",
    ]
    if snapshot.stopping:
        parts.append("stopping")
    elif rate > 0 and done < total:
        parts.append(f"{clock((total - done) / rate)} to go")
    return ", ".join(parts)


def _doing(worker: WorkerState, names: dict[str, str]) -> str:
    if not worker.tasks:
        idle = {"ready": "waits", "starting": "loads the model", "retired": "given up"}
        return idle.get(worker.status, worker.status)
    by_video: dict[str, list[str]] = {}
    for running in worker.tasks:
        number = running.task.segment
        share = f"{100 * running.frames_done // max(running.num_frames, 1)} %"
        what = "joining" if number is None else f"segment {number + 1} ({share})"
        by_video.setdefault(names.get(running.task.video, running.task.video), []).append(what)
    return "; ".join(f"{', '.join(parts)} of {name}" for name, parts in by_video.items())


def _frames(snapshot: Snapshot) -> tuple[int, int]:
    """Frames done and frames to do, of the videos that have not been given up."""
    alive = [video for video in snapshot.videos if video.status != "failed"]
    return sum(v.frames_done for v in alive), sum(v.num_frames for v in alive)


def _segments(snapshot: Snapshot) -> int:
    return sum(video.segments_done for video in snapshot.videos)


@contextmanager
def open_progress(console: Console) -> Iterator[Progress]:
    """The view that suits `console`; a live view disappears at the end."""
    if not console.is_terminal or console.is_dumb_terminal:
        stream = console.file

        def write(text: str) -> None:
            stream.write(text + "\n")
            stream.flush()

        yield PlainProgress(write, lambda: time.strftime("%H:%M:%S"))
        return
    from rich.live import Live

    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield LiveProgress(live)
