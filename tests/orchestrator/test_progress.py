"""Progress: every change of state is said once, and the view fits its terminal."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import replace

import pytest
from rich.console import Console
from rich.text import Text

from orchestrator.progress import (
    Pace,
    PlainProgress,
    changes,
    open_progress,
    view,
    whole,
)
from orchestrator.snapshot import Snapshot
from pipeline.errors import ErrorRecord
from tests.orchestrator.snapshots import running, snapshot, video, worker


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that can do everything, whatever the one is in which the tests run."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def said(snapshots: Iterable[Snapshot]) -> list[str]:
    lines: list[str] = []
    before = None
    for after in snapshots:
        lines += changes(before, after)
        before = after
    return lines


def test_a_whole_run_is_told_in_order() -> None:
    story = [
        snapshot(0, (video(),), worker(status="starting")),
        snapshot(1, (video(),), worker()),
        snapshot(2, (video(status="running", started_at=1.5),), worker(tasks=(running(0),))),
        snapshot(3, (video(status="running", started_at=1.5, segments_done=1),), worker()),
        snapshot(4, (video(status="finishing", started_at=1.5, segments_done=4),), worker()),
        snapshot(
            5, (video(status="done", started_at=1.5, ended_at=67.5, segments_done=4),), worker()
        ),
    ]
    assert said(story) == [
        "worker 0: ready on NVIDIA L4 (cuda:0), 2 lanes",
        "talk_LR_180.mp4: started, 240 frames in 4 segments",
        "talk_LR_180.mp4: 1 of 4 segments done",
        "talk_LR_180.mp4: 4 of 4 segments done",
        "talk_LR_180.mp4: joining the segments",
        "talk_LR_180.mp4: done in 1:06",
    ]


def test_nothing_is_said_twice() -> None:
    same = snapshot(1, (video(status="running", started_at=0),), worker())
    assert said([same, same, same]) == list(changes(None, same))


def test_faults_are_told_with_their_reason() -> None:
    error = ErrorRecord("device", "killed by SIGSEGV", "")
    bad = ErrorRecord("input", "no frames", "leave it out")
    story = [
        snapshot(0, (video(),), worker()),
        snapshot(1, (video(retries=1),), worker(status="down", faults=1, error=error)),
        snapshot(2, (video(retries=1),), worker(status="ready", faults=1, error=error)),
        snapshot(3, (video(retries=1),), worker(status="retired", faults=2, error=error)),
        snapshot(4, (video(status="failed", retries=1, error=bad),), stopping=True),
    ]
    assert said(story)[1:] == [
        "worker 0: ended without being asked to, is started again: killed by SIGSEGV",
        "talk_LR_180.mp4: an attempt was lost, and is made again",
        "worker 0: ready on NVIDIA L4 (cuda:0), 2 lanes",
        "worker 0: ended without being asked to, given up: killed by SIGSEGV",
        "talk_LR_180.mp4: failed: no frames (leave it out)",
        "stopping: what is in hand is finished first; Ctrl-C again ends at once",
    ]


def test_a_resumed_run_says_what_was_there() -> None:
    videos = (video("a", id="a", status="done", earlier=True), video("b", id="b", segments_done=2))
    assert said([snapshot(0, videos)]) == [
        "a: was done earlier",
        "b: goes on; 2 of 4 segments done earlier",
    ]


def test_file_names_cannot_steer_the_terminal() -> None:
    [line] = said([snapshot(0, (video("a\x1b[2J\n[red]b.mp4", status="done", earlier=True),))])
    assert line.isprintable()
    assert "[red]b.mp4" in line


def test_the_pace_counts_frames_of_tasks_in_hand_and_done() -> None:
    pace = Pace()
    pace.add(snapshot(0, (video(frames_done=120),), worker(tasks=(running(2, 0),))))
    assert pace.run_fps() == 0
    pace.add(snapshot(2, (video(frames_done=150),), worker(tasks=(running(2, 30),))))
    assert pace.run_fps() == 15
    assert pace.worker_fps(0) == 15
    pace.add(snapshot(6, (video(frames_done=190),), worker(tasks=(running(3, 10),))))
    assert pace.run_fps() == pytest.approx(70 / 6)
    assert pace.worker_fps(0) == pytest.approx(70 / 6)


def test_the_pace_forgets_what_is_long_ago() -> None:
    pace = Pace()
    for second in range(100):
        frames = second * 10 if second < 50 else 500 + (second - 50) * 2
        pace.add(snapshot(second, (video(frames_done=frames),)))
    assert pace.run_fps() == pytest.approx(2)


def test_the_whole_in_one_line() -> None:
    pace = Pace()
    pace.add(snapshot(0, (video(),)))
    last = snapshot(10, (video(frames_done=60), video(id="v1", status="failed", frames_done=9)))
    pace.add(last)
    assert whole(last, pace).startswith("25 %, 60 of 240 frames, 1 of 2 videos, ")
    assert whole(last, pace).endswith(" to go")
    assert whole(replace(last, stopping=True), pace).endswith(" frames/s, stopping")


@pytest.mark.parametrize("width", [20, 80, 200])
def test_the_view_fits_its_terminal(width: int) -> None:
    workers = [
        worker(0, tasks=(running(0, 30), running(1, 6))),
        worker(1, status="starting"),
        worker(2, status="retired"),
        worker(3, tasks=(running(None),)),
    ]
    now = snapshot(0, (video("[bold]a rather long name_LR_180.mp4" * 3),), *workers)
    pace = Pace()
    pace.add(now)
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system="standard")
    console.print(view(now, pace, ["an event that is longer than eighty characters " * 3]))
    lines = Text.from_ansi(stream.getvalue()).plain.splitlines()
    assert len(lines) == len(workers) + 3
    assert all(len(line) <= width for line in lines)
    if width == 200:
        assert "segment 1 (50 %), segment 2 (10 %) of [bold]a rather" in lines[0]
        assert "loads the model" in lines[1]
        assert "joining" in lines[3]


def test_off_a_terminal_one_plain_line_each() -> None:
    stream = io.StringIO()
    with open_progress(Console(file=stream)) as progress:
        assert isinstance(progress, PlainProgress)
        progress.update(snapshot(0, (video(),), worker()))
        progress.update(snapshot(1, (video(),), worker()))
    [line] = stream.getvalue().splitlines()
    assert line.endswith("worker 0: ready on NVIDIA L4 (cuda:0), 2 lanes")


def test_on_a_terminal_the_view_goes_away_at_the_end() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80)
    with open_progress(console) as progress:
        for second in range(5):
            progress.update(snapshot(second, (video(frames_done=second * 9),), worker()))
    written = stream.getvalue()
    assert "36 of 240 frames" in written
    assert "\x1b[" in written
