"""How a run stands leaves the process whole, not too often, and never as a trouble."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.watch.device_load import DeviceLoad
from orchestrator.watch.standing import (
    SCHEMA_VERSION,
    Standing,
    StandingFile,
    read_standing,
    standing_path,
)
from pipeline.contract import OutputFile
from pipeline.errors import ErrorRecord
from tests.orchestrator.snapshots import running, snapshot, video, worker


def standing(fps: float = 3.0) -> Standing:
    done = replace(video("a\udcff.mp4"), outputs=(OutputFile("webm", "/out/a.webm", 5, 240),))
    failed = video(id="v1", status="failed", error=ErrorRecord("input", "bad", "leave it"))
    return Standing(
        schema=SCHEMA_VERSION,
        pid=7,
        updated=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        started=datetime(2026, 1, 2, 3, 0, 0, tzinfo=UTC),
        phase="working",
        elapsed_s=245.0,
        to_go_s=None,
        share_done=0.25,
        fps=fps,
        worker_fps={0: fps},
        snapshot=snapshot(1.0, (done, failed), worker(tasks=(running(0, 3), running(None)))),
        load=(DeviceLoad(0, 0, "L4", 0.9, None, 0.1, 0.5, 70.0, 0.2, 1 << 30),),
        events=("a line",),
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    standing_path(tmp_path).parent.mkdir()
    return tmp_path


def test_what_is_written_is_read(out: Path) -> None:
    StandingFile(out).update(standing())
    assert read_standing(out) == standing()
    assert [path.name for path in standing_path(out).parent.iterdir()] == ["live.json"]


def test_it_is_not_written_too_often_but_at_the_end(out: Path) -> None:
    now = [0.0]
    file = StandingFile(out, lambda: now[0])
    file.update(standing(1))
    now[0] = 1.9
    file.update(standing(2))
    assert read_standing(out) == standing(1)
    now[0] = 2.0
    file.update(standing(3))
    assert read_standing(out) == standing(3)
    file.update(replace(standing(4), phase="ended"))
    assert read_standing(out) == replace(standing(4), phase="ended")


def test_what_cannot_be_read_is_nothing(out: Path) -> None:
    assert read_standing(out) is None
    StandingFile(out).update(standing())
    whole = standing_path(out).read_bytes()
    standing_path(out).write_bytes(whole[: len(whole) // 2])
    assert read_standing(out) is None
    standing_path(out).write_bytes(whole.replace(b'"schema":1', b'"schema":2'))
    assert read_standing(out) is None


def test_a_disk_that_takes_no_more_is_no_trouble(tmp_path: Path) -> None:
    StandingFile(tmp_path / "gone").update(standing())
