"""Snapshots of the run -> what those see who look in while it goes on. Decides nothing.

The loop hands over each snapshot and goes on at once; a thread makes one value of it now and then
(`orchestrator/watch/standing.py`) and shows it to all outlets: the terminal or plain lines,
``--json``, the file. So neither a terminal that is held with Ctrl-S nor a slow disk ever holds up
the work.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.estimate.cost_class import share_done
from orchestrator.estimate.during_run import TimeToGo
from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.snapshot import Snapshot
from orchestrator.watch.background import Background
from orchestrator.watch.device_load import LoadPoint
from orchestrator.watch.events import RunEvent, changes, json_line, json_object
from orchestrator.watch.frame_rates import Pace
from orchestrator.watch.standing import SCHEMA_VERSION, Phase, Standing, StandingFile
from pipeline.structlog_import import structlog
from pipeline.text import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live as RichLive

#: How often the outlets are shown how the run stands, when nothing happens.
SHOW_S = 0.5
#: How often the rest of the run is thought through, at the most, and with so many videos.
THINK_S = 1.0
THINK_VIDEOS = 2000
#: How often ``--json`` says how far the run is.
PROGRESS_S = 2.0
LAST_EVENTS = 5

#: How long the end of a run waits for its last words to be said.
_LAST_WAIT_S = 5.0


class Outlet(Protocol):
    """Shows how the run stands, in whatever way; called by one thread."""

    def show(self, standing: Standing, events: Sequence[RunEvent]) -> None:
        """`events` are those since the call before."""
        ...


class Watch(Background):
    """Takes snapshots while it is entered; shows how the run stands a last time when it is left.

    Args:
        jobs: the plan, in the order of the snapshots' videos; it may grow.
        load: the newest sample, or None.
        clock: the snapshots' clock, in seconds.
        wall_clock: for people.
    """

    def __init__(
        self,
        jobs: Sequence[VideoJob],
        outlets: Sequence[Outlet],
        load: Callable[[], LoadPoint | None] = lambda: None,
        *,
        started: datetime,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        super().__init__("watch", every_s=SHOW_S, leave_s=_LAST_WAIT_S)
        self._jobs = jobs
        self._outlets = list(outlets)
        self._load = load
        self._started = started
        self._clock = clock
        self._wall_clock = wall_clock
        self._pace = Pace()
        self._time_to_go = TimeToGo(jobs)
        self._first: Snapshot | None = None
        self._last: Snapshot | None = None
        self._events: list[RunEvent] = []
        self._lines: deque[str] = deque(maxlen=LAST_EVENTS)
        self._thought: tuple[float, float | None] | None = None
        self._lock = threading.Lock()
        self._failed = False

    def update(self, snapshot: Snapshot) -> None:
        """Take notice of the next snapshot; quick, and it never fails, whatever goes wrong."""
        if self._failed:
            return
        try:
            events = self._take(snapshot)
        except Exception:
            self._failed = True
            structlog.get_logger("vrmatte").exception("not_followed")
            return
        if events:
            self.wake()

    def _take(self, snapshot: Snapshot) -> list[RunEvent]:
        with self._lock:
            self._first = self._first or snapshot
            self._pace.add(snapshot)
            self._time_to_go.add(snapshot)
            events = list(changes(self._last, snapshot))
            self._last = snapshot
            self._events += events
            at = self._wall_clock().strftime("%H:%M:%S")
            self._lines.extend(f"{at} {event.text}" for event in events)
            return events

    def step(self) -> None:
        self._show()

    def last_step(self) -> None:
        self._show(ended=True)

    def _show(self, *, ended: bool = False) -> None:
        with self._lock:
            events, self._events = self._events, []
            standing = self._now(ended=ended)
        if standing is None:
            return
        for outlet in list(self._outlets):
            try:
                outlet.show(standing, events)
            except Exception:  # what is shown is for people: the work goes on without it
                structlog.get_logger("vrmatte").exception("not_shown", outlet=type(outlet).__name__)
                self._outlets.remove(outlet)

    def _now(self, *, ended: bool) -> Standing | None:
        first, last = self._first, self._last
        if first is None or last is None:
            return None
        now = max(self._clock(), last.now)
        think_s = THINK_S * max(1.0, len(self._jobs) / THINK_VIDEOS)
        if self._thought is None or now - self._thought[0] >= think_s:
            self._thought = now, self._time_to_go.seconds()
        to_go_s = self._thought[1]
        if to_go_s is not None and to_go_s > 0:
            # Where nothing is heard, as when segments are joined, time goes by all the same.
            to_go_s = max(1.0, to_go_s - (now - self._thought[0]))
        load = self._load()
        return Standing(
            schema=SCHEMA_VERSION,
            pid=os.getpid(),
            updated=self._wall_clock(),
            started=self._started,
            phase="ended" if ended else _phase(first, last),
            elapsed_s=round(now - first.now, 3),
            to_go_s=None if to_go_s is None or ended else round(to_go_s, 1),
            share_done=round(share_done(self._jobs, last), 5),
            fps=round(self._pace.run_fps(), 3),
            worker_fps={
                worker.id: round(self._pace.worker_fps(worker.id), 3)
                for worker in last.workers
                if worker.tasks
            },
            snapshot=without_details(last),
            load=load.devices if load is not None else (),
            events=tuple(self._lines),
        )


def _phase(first: Snapshot, last: Snapshot) -> Phase:
    if last.stopping:
        return "stopping"
    before = sum(video.frames_done for video in first.videos)
    return "working" if sum(video.frames_done for video in last.videos) > before else "starting"


def without_details(snapshot: Snapshot) -> Snapshot:
    """The same without tracebacks, which are for the logs."""
    videos, workers = snapshot.videos, snapshot.workers
    if any(video.error for video in videos):
        videos = tuple(map(_without_detail, videos))
    if any(worker.error for worker in workers):
        workers = tuple(map(_without_detail, workers))
    return dataclasses.replace(snapshot, videos=videos, workers=workers)


def _without_detail(state: Any) -> Any:
    if state.error is None:
        return state
    return dataclasses.replace(state, error=dataclasses.replace(state.error, detail=""))


class PlainLines:
    """One line per event, with the time of day."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def show(self, standing: Standing, events: Sequence[RunEvent]) -> None:
        at = standing.updated.strftime("%H:%M:%S")
        for event in events:
            self._write(f"{at} {event.text}")


class Screen:
    """Draws the view on a terminal."""

    def __init__(self, screen: RichLive) -> None:
        self._screen = screen
        self._drawn: tuple[RenderableType, int] | None = None

    def show(self, standing: Standing, events: Sequence[RunEvent]) -> None:
        from orchestrator.watch.terminal_view import view

        console = self._screen.console
        plain = not console.encoding.startswith("utf")
        width = console.width
        drawn = view(standing, width, console.height, plain=plain)
        self._erase_folds(width)
        self._screen.update(drawn, refresh=True)
        self._drawn = drawn, width

    def _erase_folds(self, width: int) -> None:
        """A terminal made narrower folds what was drawn into more lines than rich knows of."""
        from rich.control import Control
        from rich.segment import ControlType, Segment

        if self._drawn is None or self._drawn[1] <= width:
            return
        console = self._screen.console
        before, before_width = self._drawn
        lines = console.render_lines(before, console.options.update_width(before_width), pad=False)
        folds = sum((max(1, Segment.get_line_length(line)) - 1) // width for line in lines)
        console.control(
            *[Control((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))] * folds
        )


class JsonLines:
    """One JSON object a line: each event, and every other second how far the run is."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._told_at: float | None = None

    def show(self, standing: Standing, events: Sequence[RunEvent]) -> None:
        for event in events:
            self._write(json_line(standing.updated, event))
        young = self._told_at is not None and standing.elapsed_s - self._told_at < PROGRESS_S
        if young and standing.phase != "ended":
            return
        self._told_at = standing.elapsed_s
        self._write(json_object(standing.updated, "progress", progress_fields(standing)))


def progress_fields(standing: Standing) -> dict[str, Any]:
    """What a ``progress`` line holds; docs/events.md says what each is."""
    videos, loads = standing.snapshot.videos, {load.worker: load for load in standing.load}
    names = {video.id: printable(video.name) for video in videos}
    return {
        "phase": standing.phase,
        "elapsed_s": standing.elapsed_s,
        "to_go_s": standing.to_go_s,
        "share_done": standing.share_done,
        "fps": standing.fps,
        "frames_done": sum(video.frames_done for video in videos),
        "frames": sum(video.num_frames for video in videos),
        "videos_done": sum(video.status == "done" for video in videos),
        "videos_failed": sum(video.status == "failed" for video in videos),
        "videos": len(videos),
        "files_to_come": standing.snapshot.to_come,
        "workers": [
            {
                "worker": worker.id,
                "status": worker.status,
                "device": worker.device,
                "fps": standing.worker_fps.get(worker.id, 0.0),
                "tasks": [
                    {
                        "video": names[running.task.video],
                        "segment": running.task.segment,
                        "frames_done": running.frames_done,
                        "frames": running.num_frames,
                    }
                    for running in worker.tasks
                ],
                "load": dataclasses.asdict(loads[worker.id]) if worker.id in loads else None,
            }
            for worker in standing.snapshot.workers
        ],
    }


class Recorded:
    """Leaves how the run stands in OUT."""

    def __init__(self, file: StandingFile) -> None:
        self._file = file

    def show(self, standing: Standing, events: Sequence[RunEvent]) -> None:
        self._file.update(standing)


@contextmanager
def shown_on(console: Console) -> Iterator[Outlet]:
    """The outlet that suits `console`; a live view disappears at the end."""
    if not console.is_terminal or console.is_dumb_terminal:
        stream = console.file

        def write(text: str) -> None:
            stream.write(text + "\n")
            stream.flush()

        yield PlainLines(write)
        return
    from rich.live import Live as RichLive

    with RichLive(console=console, auto_refresh=False, transient=True) as screen:
        yield Screen(screen)


@contextmanager
def watching(
    jobs: Sequence[VideoJob],
    console: Console,
    out: Path,
    load: Callable[[], LoadPoint | None],
    started: datetime,
    write_json: Callable[[str], object] | None = None,
    more: Sequence[Outlet] = (),
) -> Iterator[Watch]:
    """A `Watch` that shows the run on `console`, in OUT's file, as JSON lines if wanted, and to
    what `more` there is."""
    with shown_on(console) as outlet:
        outlets: list[Outlet] = [Recorded(StandingFile(out)), outlet, *more]
        if write_json is not None:
            outlets.append(JsonLines(write_json))
        with Watch(jobs, outlets, load, started=started) as watch:
            yield watch
