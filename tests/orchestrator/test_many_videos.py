"""Ten thousand videos: no step looks at all of them for each, and what is shown stays readable."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from rich.console import Console

from orchestrator.estimate.makespan import VideoAhead, WorkerAhead, seconds_left
from orchestrator.fleet.events_actions import Rules, Tick, WorkerSpec
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.jobs import Plan, VideoJob
from orchestrator.fleet.journal_entries import Entry, RunStarted, TaskLost, VideoSetAside
from orchestrator.fleet.snapshot import Snapshot, VideoState
from orchestrator.out.folder import OutFolder
from orchestrator.plan.discover import discover, output_stems
from orchestrator.plan.places import Places
from orchestrator.plan.planner import Planner, Wanted
from orchestrator.report.cards import look_order
from orchestrator.report.make_report import make_report
from orchestrator.report.page import Album, render
from orchestrator.report.rebuild import entries_of
from orchestrator.report.report import Report, RunFacts
from orchestrator.report.state import PageState, all_ended
from orchestrator.report.summary_table import remarks, summary_table
from orchestrator.run.said import plan_remarks, show_report
from orchestrator.watch.events import changes
from orchestrator.watch.standing import StandingFile
from orchestrator.watch.status import show_status, standings
from orchestrator.words import MOST_LINES, gathered
from pipeline.contract import Layout, OutputFile, ProjectionName, VideoInfo, VideoSettings
from pipeline.errors import ErrorRecord
from tests.orchestrator.snapshots import ProbeDouble, running, snapshot, video, video_info, worker
from tests.orchestrator.watch.test_standing import standing

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LOST = ErrorRecord("lost", "the worker's process ended")


def jobs(count: int) -> list[VideoJob]:
    info = replace(video_info(Path(__file__)), notes=("odd size 639x480 is padded to 640x480",))
    settings = VideoSettings()
    return [
        VideoJob(
            f"{n:016x}", f"clip{n}.mp4", info, settings, (f"/out/clip{n}.webm",), ((0, 240),),
            "index", "work",
        )
        for n in range(count)
    ]  # fmt: skip


def states(count: int, failed: tuple[int, ...] = ()) -> tuple[VideoState, ...]:
    """All of them done, but for those."""
    return tuple(
        replace(
            video(f"clip{n}.mp4", id=f"{n:016x}", status="done", frames_done=240),
            outputs=(OutputFile("webm", f"/out/clip{n}.webm", 1000, 240),),
        )
        if n not in failed
        else video(f"clip{n}.mp4", id=f"{n:016x}", status="failed", error=LOST)
        for n in range(count)
    )


def entries(count: int) -> list[Entry]:
    lost = [TaskLost(f"{n:016x}", 0, 1, 0, LOST) for n in range(count)]
    return [RunStarted(count, 1), *lost]


def report(count: int, failed: tuple[int, ...] = ()) -> Report:
    facts = RunFacts("1", ("/in",), "/out", "f" * 16, NOW, NOW)
    told = snapshot(9, states(count, failed))
    return make_report(facts, Plan(tuple(jobs(count)), ()), told, told, entries=entries(count))


def page(count: int, failed: tuple[int, ...] = ()) -> PageState:
    made = report(count, failed)
    return PageState(made, NOW, "in order", all_ended(made))


def record(count: int) -> dict[str, Any]:
    own = [
        {
            "id": job.id,
            "name": job.name,
            "frames": 240,
            "segments": [[0, 240]],
            "outputs": list(job.outputs),
        }
        for job in jobs(count)
    ]
    return {"fingerprint": "f", "videos": own, "set_aside": [], "started": "2026-01-02"}


def operations(work: Callable[[], object]) -> int:
    """How many lines of Python run meanwhile, each turn of a loop anew."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def playing_through(count: int) -> Callable[[], object]:
    """The rest of a run of which most is done."""
    ahead = [VideoAhead(0, [1.0] * (n % 10 == 0)) for n in range(count)]
    return lambda: seconds_left([WorkerAhead(2)], ahead)


def one_event(count: int) -> Callable[[], object]:
    fleet = Fleet(jobs(count), [WorkerSpec(0, 2)], Rules())
    fleet.handle(Tick(), 0.0)
    before = fleet.snapshot()
    return lambda: [*changes(before, fleet.snapshot())]


def reporting(count: int) -> Callable[[], object]:
    plan, told, lost = Plan(tuple(jobs(count)), ()), snapshot(9, states(count)), entries(count)
    facts = RunFacts("1", (), "/out", "f", NOW, NOW)
    return lambda: make_report(facts, plan, told, told, entries=lost)


def ordering(count: int) -> Callable[[], object]:
    state = page(count)
    return lambda: look_order(state)


def asking(count: int) -> Callable[[], object]:
    known, told = record(count), [VideoSetAside(job.id, "f", LOST) for job in jobs(count)]
    return lambda: [*standings(known, told)]


def rebuilding(count: int) -> Callable[[], object]:
    known, told = record(count), entries(count)
    return lambda: entries_of(known, told)


STEPS = {
    "report": reporting,
    "order of the page": ordering,
    "status": asking,
    "rebuilt page": rebuilding,
    "time to go": playing_through,
    "event": one_event,
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_linear_in_the_number_of_videos(step: str) -> None:
    few, many = (operations(STEPS[step](count)) for count in (60, 480))
    assert many <= 8 * few * 1.25


def test_names_are_linear_in_the_number_of_videos(tmp_path: Path) -> None:
    for n in range(240):
        (tmp_path / f"clip{n}.mp4").touch()
        (tmp_path / f"clip{n}.mov").touch()
    sources = discover([tmp_path], tmp_path.parent / "out")
    few, many = (operations(partial(output_stems, sources[:n])) for n in (60, 480))
    assert many <= 8 * few * 1.25


class LastFirst(ProbeDouble):
    """Has an answer for the first file only when all others have theirs."""

    def __init__(self, count: int) -> None:
        super().__init__(broken=("clip2.mp4",))
        self._left = count
        self._all = threading.Condition()

    def __call__(
        self,
        path: Path,
        index_path: Path,
        *,
        layout: Layout | None,
        deadline_s: float | None,
        projection: ProjectionName | None = None,
    ) -> VideoInfo:
        with self._all:
            self._left -= 1
            self._all.notify_all()
            if path.name == "clip0.mp4":
                assert self._all.wait_for(lambda: self._left == 0, 60)
        return super().__call__(path, index_path, layout=layout, deadline_s=deadline_s)


@pytest.mark.parametrize("at_once", [2, 7, 16])
def test_a_plan_does_not_depend_on_how_many_files_are_read_at_once(
    at_once: int, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for n in range(12):
        (tmp_path / "in" / f"clip{n}.mp4").write_bytes(b"%d" % n)
    sources = discover([tmp_path / "in"], tmp_path / "out")

    def plan(probe: ProbeDouble, at_once: int) -> Plan:
        (tmp_path / "out/.vrmatte/probed").mkdir(parents=True, exist_ok=True)
        for known in (tmp_path / "out/.vrmatte/probed").iterdir():
            known.unlink()
        return Planner(
            Places(tmp_path / "out"), wanted=lambda source: Wanted(), probe=probe, at_once=at_once
        ).plan(sources)

    alone = plan(ProbeDouble(broken=("clip2.mp4",)), 1)
    found = plan(LastFirst(12), at_once)
    assert found.jobs == alone.jobs
    assert [str(each.error) for each in found.set_aside] == [
        str(each.error) for each in alone.set_aside
    ]
    assert [job.name for job in alone.jobs] == [f"clip{n}.mp4" for n in range(12) if n != 2]


def test_unchanged_videos_are_known_by_identity() -> None:
    videos = states(3)
    equal = replace(videos[1], outputs=videos[1].outputs)
    other = replace(videos[2], retries=5)
    before = snapshot(1, videos)
    assert [*snapshot(2, (videos[0], equal, other)).changed(before)] == [(videos[2], other)]
    # Also where one comes or goes, or they change places.
    assert [*snapshot(2, videos[1:]).changed(before)] == []
    assert [*before.changed(snapshot(0, videos[1:]))] == [(None, videos[0])]
    assert [*before.changed(None)] == [(None, each) for each in videos]


def test_lines_of_many_videos_are_gathered() -> None:
    few = [(f"clip{n}", "odd size") for n in range(MOST_LINES)]
    assert gathered(few) == [f"clip{n}: odd size" for n in range(MOST_LINES)]
    same = gathered([*few, ("last", "two eyes")])
    assert same == [f"clip0, clip1, clip2 and {MOST_LINES - 3} more: odd size", "last: two eyes"]
    each = gathered([(f"clip{n}", f"reason {n}") for n in range(1000)])
    assert len(each) == MOST_LINES + 1
    assert each[-1] == f"and {1000 - MOST_LINES} more such lines"


def printed(show: Callable[[Console], object]) -> list[str]:
    stream = io.StringIO()
    show(Console(file=stream, width=100))
    return stream.getvalue().splitlines()


def test_a_terminal_shows_what_is_not_done_and_a_summary() -> None:
    made = report(3000, failed=(7, 2999))
    lines = printed(lambda console: show_report(console, made, None))
    assert len(lines) < 30
    assert sum("failed" in line for line in lines) == 4  # a row and a reason for each
    assert "clip2999.mp4: failed: the worker's process ended" in lines
    assert "of 3000 videos not in the table: 2998 done" in lines
    assert "2998 files in /out" in lines
    assert any("and 2997 more: odd size 639x480 is padded" in line for line in lines)
    few = report(3, failed=(1,))
    assert not any("not in the table" in line for line in remarks(few))
    assert summary_table(few).row_count == 3
    assert len([*plan_remarks(Plan(tuple(jobs(3000)), ()))]) == 1


def test_status_shows_what_is_in_work_and_a_summary(tmp_path: Path) -> None:
    out = OutFolder(tmp_path)
    out.create()
    out.write_run_file(record(3000))
    told = list(states(3000))
    told = [replace(each, status="pending", frames_done=0, outputs=()) for each in told]
    told[5] = replace(told[5], status="running", frames_done=100, started_at=0.0)
    hand = worker(tasks=(running(0, 100, told[5].id),))
    now = replace(standing(), pid=os.getpid(), snapshot=snapshot(9, tuple(told), hand))
    StandingFile(tmp_path).update(now)
    with out.locked():
        lines = printed(lambda console: show_status(out.path, console))
    assert len(lines) < 30
    assert any("clip5.mp4" in line and "begun" in line for line in lines)
    assert "of 3000 videos not in the table: 2999 not begun" in lines


def test_a_page_is_bounded_and_tells_of_what_it_leaves_out() -> None:
    text = render(page(2600, failed=(2599,)), Album({}))
    assert len(text) < 2_000_000
    first = text.index("<article")
    assert text.index("clip2599.mp4", first) < text.index("clip0.mp4", first)
    assert text.count("<article") == 300
    assert "2000 more videos" in text
    assert "And 300 videos that this page does not list" in text


def test_run_yaml_is_the_same_for_names_that_are_no_text(tmp_path: Path) -> None:
    out = OutFolder(tmp_path)
    out.create()
    least = {"fingerprint": "f" * 16, "started": "2026-01-02", "videos": []}
    for name in ("talk.mp4", "видео: {a}\n.mp4", "tab\t\u2028'\"", "broken\udcff.mp4"):
        said = {"name": name, "number": 1.5, "none": None, "long": "word " * 90}
        out.write_run_file(least | said)
        assert out.read_run_file()["name"] == name
        assert out.given_up() == ()
    given_up = [f"{tmp_path}/видео.webm", f"{tmp_path}/a\ngiven_up: b.webm"]
    out.write_run_file(least | {"name": "\ngiven_up: [x]", "given_up": given_up})
    assert out.given_up() == tuple(given_up)


def test_the_file_of_how_a_run_stands_is_written_less_often_for_many_videos(
    tmp_path: Path,
) -> None:
    out = OutFolder(tmp_path)
    out.create()
    clock = [100.0]
    file = StandingFile(tmp_path, lambda: clock[0])
    path = tmp_path / ".vrmatte/live.json"
    for count, interval_s in ((1, 2.0), (8000, 8.0)):
        now = replace(standing(), snapshot=Snapshot(9, states(1) * count, (), False))
        clock[0] += 1000
        file.update(now)
        path.unlink()
        clock[0] += interval_s - 0.5
        file.update(now)
        assert not path.exists()
        clock[0] += 1.0
        file.update(now)
        assert path.exists()


def test_what_lies_in_the_work_folder_is_counted_while_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(jobs(1)[0], work_dir=str(tmp_path / "work"))
    gone = replace(job, work_dir=str(tmp_path / "gone"))
    (tmp_path / "work/deep").mkdir(parents=True)
    (tmp_path / "work/deep/whole").write_bytes(bytes(700))
    (tmp_path / "work/renamed").write_bytes(bytes(70))
    real = Path.lstat

    def late(path: Path) -> os.stat_result:
        if path.name == "renamed":
            path.unlink()
        return real(path)

    monkeypatch.setattr(Path, "lstat", late)
    assert OutFolder(tmp_path).work_bytes([job, gone]) == 700
