"""Those who look in see every event, and how the run stands at its end; none holds it up."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.estimate.during_run import TimeToGo
from orchestrator.watch.device_load import DeviceLoad, LoadPoint
from orchestrator.watch.events import RunEvent
from orchestrator.watch.progress import JsonLines, Watch, shown_on, watching
from orchestrator.watch.standing import Standing, read_standing, standing_path
from pipeline.errors import ErrorRecord
from tests.orchestrator.clockwork import Clockwork, videos
from tests.orchestrator.snapshots import snapshot, video, worker
from tests.orchestrator.watch.test_standing import standing
from tests.orchestrator.worlds import make_job

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LOAD = LoadPoint(1.0, (DeviceLoad(0, cpu=0.5, rss_bytes=10),), 0.5, 10)


class Kept:
    """An outlet that keeps what it is shown."""

    def __init__(self) -> None:
        self.standings: list[Standing] = []
        self.events: list[RunEvent] = []

    def show(self, standing: Standing, events: Sequence[RunEvent]) -> None:
        self.standings.append(standing)
        self.events += events


class Broken:
    calls = 0

    def show(self, standing: Standing, events: Sequence[RunEvent]) -> None:
        self.calls += 1
        raise ValueError("a bug in the view")


def watch(*outlets: Kept | Broken, now: float = 100.0) -> Watch:
    jobs = [make_job("v0", 4, 60)]
    return Watch(jobs, outlets, lambda: LOAD, started=STARTED, clock=lambda: now)


def test_every_event_is_shown_and_the_end_too() -> None:
    kept = Kept()
    with watch(kept) as watching_it:
        watching_it.update(snapshot(90, (video(),), worker(status="starting")))
        watching_it.update(snapshot(91, (video(),), worker()))
        watching_it.update(snapshot(92, (video(status="done", frames_done=240),), worker()))
    assert [event.event for event in kept.events] == ["worker-ready", "video-done"]
    last = kept.standings[-1]
    assert (last.phase, last.to_go_s, last.share_done, last.elapsed_s) == ("ended", None, 1.0, 10)
    assert last.load == LOAD.devices
    assert [line.split(" ", 1)[1] for line in last.events][-1] == "talk_LR_180.mp4: done"


def test_a_view_that_fails_costs_itself_only() -> None:
    kept, broken = Kept(), Broken()
    with watch(broken, kept) as watching_it:
        watching_it.update(snapshot(90, (video(),), worker()))
    assert broken.calls == 1
    assert kept.standings[-1].phase == "ended"


def test_the_loop_goes_on_while_an_outlet_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    held, let_go = threading.Event(), threading.Event()

    class Held(Kept):
        def show(self, standing: Standing, events: Sequence[RunEvent]) -> None:
            held.set()
            let_go.wait()
            super().show(standing, events)

    outlet = Held()
    with watch(outlet) as watching_it:
        watching_it.update(snapshot(90, (video(),), worker()))
        held.wait()
        watching_it.update(snapshot(91, (video(frames_done=3),), worker()))
        assert outlet.standings == []
        let_go.set()
    assert outlet.standings[-1].snapshot.videos[0].frames_done == 3


def test_a_bug_in_what_is_foretold_is_no_matter_of_the_loops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = Kept()
    with watch(kept) as watching_it:
        watching_it.update(snapshot(90, (video(),), worker()))
        monkeypatch.setattr(TimeToGo, "add", lambda self, shot: 1 / 0)
        watching_it.update(snapshot(91, (video(frames_done=3),), worker()))
        watching_it.update(snapshot(92, (video(frames_done=9),), worker()))
    assert kept.standings[-1].phase == "ended"


def test_a_run_without_snapshots_shows_nothing() -> None:
    kept = Kept()
    with watch(kept):
        pass
    assert kept.standings == []


def test_tracebacks_stay_in_the_logs() -> None:
    kept = Kept()
    error = ErrorRecord("input", "bad", "leave it", "Traceback ...")
    with watch(kept) as watching_it:
        failed = video(status="failed", error=error)
        watching_it.update(snapshot(90, (failed,), worker(error=error)))
    shown = kept.standings[-1].snapshot
    assert [v.error and v.error.detail for v in shown.videos] == [""]
    assert [w.error and w.error.detail for w in shown.workers] == [""]


def test_lines_of_json_tell_a_whole_run() -> None:
    jobs = videos((2, 30, 64), (3, 20, 128))
    lines: list[str] = []
    now = 0.0
    outlet = JsonLines(lines.append)
    watching_it = Watch(jobs, [outlet], started=STARTED, clock=lambda: now)
    with watching_it:
        for shot in Clockwork(jobs, workers=2, pixel_s=1e-4).snapshots():
            now = shot.now
            watching_it.update(shot)
    told = [json.loads(line) for line in lines]
    assert {line["schema"] for line in told} == {1}
    events = [line["event"] for line in told]
    assert events.count("video-done") == events.count("video-started") == 2
    assert events.count("segments-done") == 5
    assert events[-1] == "progress"
    assert [line.get("phase") for line in told].count("ended") == 1
    last = told[-1]
    assert (last["phase"], last["frames_done"], last["frames"]) == ("ended", 120, 120)
    assert (last["videos_done"], last["share_done"]) == (2, 1.0)
    assert [each["worker"] for each in last["workers"]] == [0, 1]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    standing_path(tmp_path).parent.mkdir()
    return tmp_path


def test_off_a_terminal_one_plain_line_each(out: Path) -> None:
    stream = io.StringIO()
    jobs = [make_job("v0", 4, 60)]
    with watching(jobs, Console(file=stream), out, lambda: None, STARTED) as watch_it:
        watch_it.update(snapshot(0, (video(),), worker()))
        watch_it.update(snapshot(1, (video(),), worker()))
    [line] = stream.getvalue().splitlines()
    assert line.endswith(" worker 0: ready on NVIDIA L4 (cuda:0), 2 lanes")
    told = read_standing(out)
    assert told is not None
    assert told.phase == "ended"


def test_on_a_terminal_the_view_goes_away_at_the_end(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, height=24)
    jobs = [make_job("v0", 4, 60)]
    with watching(jobs, console, out, lambda: None, STARTED) as watch_it:
        for second in range(5):
            watch_it.update(snapshot(second, (video(frames_done=second * 9),), worker()))
    written = stream.getvalue()
    assert "36 of 240 frames" in written
    assert "\x1b[" in written


def test_a_terminal_made_narrower_keeps_nothing_of_what_it_folded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, height=24)
    climbed = []
    with shown_on(console) as screen:
        for width in (80, 80, 39, 39):
            console.width = width
            screen.show(standing(), ())
            climbed.append(stream.getvalue().count("\x1b[1A"))
    rises = [after - before for before, after in pairwise(climbed)]
    # Five lines: the head, a worker and the bar are folded twice, the counts once, "a line" never.
    assert rises == [4, 4 + 3 * 2 + 1, 4]
