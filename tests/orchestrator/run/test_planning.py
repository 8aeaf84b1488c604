"""Files that are read while others are worked on: the run begins early and makes the same."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from orchestrator.exit_status import ALL_DONE, FAILED, STOPPED
from orchestrator.fleet.jobs import Plan, SetAside, VideoJob
from orchestrator.fleet.snapshot import Snapshot
from orchestrator.out.folder import OutFolder
from orchestrator.plan.planner import Wanted
from orchestrator.report.run_page import NoPage
from orchestrator.run import planning
from orchestrator.run.planning import Planning
from pipeline.contract import AdaptiveScaling, VideoInfo, VideoSettings
from pipeline.errors import DiskError, ErrorRecord
from tests import runs
from tests.clips import X264, ClipSpec
from tests.orchestrator.worlds import make_job
from tests.runs import HereRun

GetClip = Callable[[ClipSpec], Path]
SETTINGS = {"matting": {"model": "chroma"}}
COUNT = 7
LAST = f"clip{COUNT - 1}_LR_180.mp4"


@pytest.fixture
def videos(clip: GetClip, tmp_path: Path) -> Path:
    """Small clips, one of them no video."""
    folder = tmp_path / "in"
    folder.mkdir()
    content = clip(ClipSpec("few.mp4", X264, num_frames=4, eye=(192, 96))).read_bytes()
    for number in range(COUNT):
        path = folder / f"clip{number}_LR_180.mp4"
        path.write_bytes(content if number != 3 else b"no video at all")
    return folder


class Reading:
    """Reads files as ever, but the last one only after `before_last` has returned.

    Attributes:
        done: set when a video has been made.
    """

    def __init__(self, patch: pytest.MonkeyPatch, first: int) -> None:
        self.done = threading.Event()
        self.before_last: Callable[[], object] = lambda: None
        real, really_told = runs.probe_here, NoPage.update

        def probe(path: Path, *rest: Any, **options: Any) -> VideoInfo:
            if path.name == LAST:
                self.before_last()
            return real(path, *rest, **options)

        def update(page: NoPage, snapshot: Snapshot) -> None:
            if any(video.status == "done" for video in snapshot.videos):
                self.done.set()
            really_told(page, snapshot)

        patch.setattr(runs, "probe_here", probe)
        patch.setattr(NoPage, "update", update)
        patch.setattr(planning, "FIRST_VIDEOS", first)


def told(out: Path) -> dict[str, Any]:
    """What is recorded of a run beside its outputs, without times."""
    record = yaml.safe_load((out / ".vrmatte/run.yaml").read_text())
    report = json.loads((out / "report.json").read_text())
    return {
        "videos": [(v["id"], v["segments"], Path(v["outputs"][0]).name) for v in record["videos"]],
        "set_aside": [each["name"] for each in record["set_aside"]],
        "report": [(video["name"], video["result"]) for video in report["videos"]],
    }


@pytest.mark.slow
def test_a_run_begins_before_its_last_file_is_read_and_makes_the_same(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = HereRun(videos, tmp_path / "whole", SETTINGS, threads=True)
    assert at_once.run() == FAILED
    reading = Reading(monkeypatch, first=1)
    reading.before_last = lambda: reading.done.wait(120) or pytest.fail("no video was made")
    early = HereRun(videos, tmp_path / "early", SETTINGS, threads=True)
    assert early.run() == FAILED  # for the one that is no video
    assert early.published() == at_once.published()
    assert len(early.published()) == COUNT - 1
    assert told(tmp_path / "early") == told(tmp_path / "whole")
    assert f"{COUNT - 1} files will be read meanwhile" in early.said.getvalue()


@pytest.mark.slow
def test_a_stop_while_files_are_read_waits_for_none_and_the_next_run_goes_on(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(monkeypatch, first=1)

    def stop() -> None:
        reading.done.wait(120)
        os.kill(os.getpid(), signal.SIGTERM)  # SIGINT may be ignored here, as in a job of a shell

    reading.before_last = stop
    run = HereRun(videos, tmp_path / "out", SETTINGS, threads=True)
    assert run.run() == STOPPED
    made = run.published()
    assert made
    reading.before_last = lambda: None
    assert run.run() == FAILED
    assert len(run.published()) == COUNT - 1
    assert made.items() <= run.published().items()


@pytest.mark.slow
def test_a_full_disk_while_files_are_read_stops_the_run_and_says_why(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(monkeypatch, first=1)

    def full() -> None:
        reading.done.wait(120)
        raise DiskError("no room left for index.json", "make room")

    reading.before_last = full
    run = HereRun(videos, tmp_path / "out", SETTINGS, threads=True)
    assert run.run() == STOPPED
    assert "stopped: no room left for index.json (make room)" in run.said.getvalue()
    reading.before_last = lambda: None
    assert run.run() == FAILED
    assert len(run.published()) == COUNT - 1


@pytest.mark.slow
def test_what_is_done_already_is_not_counted_among_the_first(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(monkeypatch, first=1)
    (videos / LAST).rename(tmp_path / LAST)
    run = HereRun(videos, tmp_path / "out", SETTINGS, threads=True)
    assert run.run() == FAILED
    (tmp_path / LAST).rename(videos / LAST)
    (videos / "clip3_LR_180.mp4").unlink()
    assert run.run() == ALL_DONE
    assert len(run.published()) == COUNT - 1
    assert reading.done.is_set()


def first_of(
    out: Path, *, wanted: Wanted | None = None, on_gpu: bool = False, **request: Any
) -> int | None:
    """How many videos are planned before a run begins."""
    asked = {"dry_run": False, "cluster": None, "fresh": False} | request
    ctx: Any = SimpleNamespace(
        request=SimpleNamespace(**asked),
        out=OutFolder(out),
        devices=SimpleNamespace(on_gpu=on_gpu),
        per_file=SimpleNamespace(wanted={"clip.mp4": wanted or Wanted()}),
    )
    return planning._first(ctx)


def test_all_files_are_read_first_where_others_at_work_would_matter(tmp_path: Path) -> None:
    settings = VideoSettings()
    assert first_of(tmp_path) == planning.FIRST_VIDEOS
    assert first_of(tmp_path, wanted=Wanted(candidates=(settings, settings))) == (
        planning.FIRST_TRIED
    )
    assert first_of(tmp_path, dry_run=True) is None
    assert first_of(tmp_path, cluster="auto") is None
    scaled = replace(
        settings, processing=replace(settings.processing, adaptive_scaling=AdaptiveScaling())
    )
    assert first_of(tmp_path, wanted=Wanted(scaled)) is None
    coded = replace(settings, deliverables=("greenscreen",))
    assert first_of(tmp_path, wanted=Wanted(coded)) == planning.FIRST_VIDEOS
    assert first_of(tmp_path, wanted=Wanted(coded), on_gpu=True) is None
    assert first_of(tmp_path, fresh=True) == planning.FIRST_VIDEOS
    (tmp_path / "report.json").touch()
    assert first_of(tmp_path, fresh=True) == planning.FIRST_VIDEOS
    (tmp_path / "clip0_LR_180_matte.webm").touch()
    assert first_of(tmp_path, fresh=True) is None


def source(count: int, closed: list[bool]) -> Generator[VideoJob | SetAside]:
    try:
        for number in range(count):
            if number % 5 == 4:
                yield SetAside(f"v{number}", "", ErrorRecord("input", "no video"))
            else:
                yield make_job(f"v{number}")
    finally:
        closed.append(True)


def taken(plans: Planning) -> list[str]:
    """The names of all that comes, as the loop of a run takes it."""
    names = []
    while plans.to_come:
        jobs, trouble = plans.take()
        assert trouble is None
        names += [job.name for job in jobs]
    return names


def test_what_an_earlier_run_began_is_among_the_first() -> None:
    plans = Planning(source(40, []), 40, lambda job: False)
    assert [job.name for job in plans.first(1, begun=["v7"]).jobs][-1] == "v7.mp4"
    plans.end()
    gone = Planning(source(40, []), 40, lambda job: False)
    assert len(gone.first(1, begun=["gone"]).jobs) == 32
    gone.end()


@pytest.mark.parametrize("first", [1, 7, 40])
def test_jobs_come_in_order_and_are_recorded_before(first: int) -> None:
    closed: list[bool] = []
    plans = Planning(source(40, closed), 40, lambda job: False)
    known = plans.first(first)
    assert len(known.jobs) == min(first, 32)
    recorded: list[tuple[int, int]] = []

    def record(whole: Plan, new: Plan) -> None:
        assert whole.jobs[len(whole.jobs) - len(new.jobs) :] == new.jobs
        recorded.append((len(whole.jobs), len(new.jobs)))

    plans.go_on(record)
    names = [job.name for job in known.jobs] + taken(plans)
    plans.end()
    assert names == [f"v{n}.mp4" for n in range(40) if n % 5 != 4]
    assert [job.name for job in plans.plan.jobs] == names
    assert len(plans.plan.set_aside) == 8
    assert closed
    # Each record holds all videos: their sum is linear, because each is half as long again.
    assert sum(whole for whole, _ in recorded) <= 5 * 32
    assert sum(new for _, new in recorded) == 32 - len(known.jobs)


def test_what_nobody_foresaw_ends_the_planning_and_the_run_hears_of_it() -> None:
    def broken() -> Generator[VideoJob | SetAside]:
        yield make_job("a")
        raise ZeroDivisionError

    plans = Planning(broken(), 2, lambda job: False)
    plans.first(1)
    plans.go_on(lambda whole, new: None)
    jobs, trouble = plans.take()
    plans.end()
    assert jobs == []
    assert trouble is not None
    assert trouble.kind == "unforeseen"
    assert plans.to_come == 1
