"""What `vrmatte status` says while a run goes on, when it is silent, and after it was killed."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from orchestrator.out.folder import OutFolder
from orchestrator.watch.standing import StandingFile
from orchestrator.watch.status import show_status
from pipeline.errors import SettingsError
from pipeline.judge.doubt import advice
from tests.orchestrator.finished_out import finished_out
from tests.orchestrator.snapshots import running, snapshot, video, worker
from tests.orchestrator.watch.test_standing import standing

NOW = standing().updated


@pytest.fixture
def out(tmp_path: Path) -> OutFolder:
    """One video of four segments, begun, with nothing in the journal."""
    out = OutFolder(tmp_path)
    out.create()
    entry = {
        "id": "v0",
        "name": "talk_LR_180.mp4",
        "frames": 240,
        "segments": [[begin, begin + 60] for begin in range(0, 240, 60)],
        "outputs": [str(tmp_path / "talk.webm")],
    }
    record = {"fingerprint": "f", "videos": [entry], "set_aside": [], "started": "2026-01-02"}
    out.run_file.write_text(yaml.safe_dump(record))
    state = video(status="running", frames_done=100, started_at=0.0)
    hand = worker(tasks=(running(1, 40), running(2)))
    shown = replace(standing(), pid=os.getpid(), snapshot=snapshot(9, (state,), hand), to_go_s=90.0)
    StandingFile(tmp_path).update(shown)
    return out


def said(out: OutFolder, later_s: float = 1.0, width: int = 100) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    show_status(out.path, console, lambda: NOW + timedelta(seconds=later_s))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_while_a_run_goes_on_its_workers_and_time_to_go_are_shown(
    out: OutFolder, width: int
) -> None:
    with out.locked():
        lines = said(out, width=width)
    assert all(len(line) <= width for line in lines[:-1]), "but for the last, nothing is cut"
    assert lines[0].split()[0] == "Worker"
    assert any("about 1 min 30 s to go" in line for line in lines)
    row = next(line for line in lines if line.rstrip().endswith("100 of 240"))
    assert "beg" in row
    assert lines[-1].endswith(f"; a run is going on (process {os.getpid()})")


def test_a_run_that_is_silent_is_told_so(out: OutFolder) -> None:
    with out.locked():
        assert said(out, later_s=95)[-1].endswith("was last heard of 1:35 ago")


def test_after_a_kill_what_it_said_last_does_not_count(out: OutFolder) -> None:
    lines = said(out)
    assert not any("to go" in line for line in lines)
    assert any(line.rstrip().endswith("0 of 240") for line in lines)
    assert lines[-1] == (
        "0 of 1 video done, begun 2026-01-02; no run is going on: the same command resumes it"
    )


def test_what_an_earlier_run_said_does_not_count_for_the_next(out: OutFolder) -> None:
    with out.locked():
        out.lock.write_text("1\n")
        lines = said(out)
    assert lines[-1].endswith("a run is going on, and has not begun its work yet")


def test_a_first_run_that_reads_its_files(tmp_path: Path) -> None:
    out = OutFolder(tmp_path)
    out.create()
    with out.locked():
        assert said(out) == ["a run is going on, and has not begun its work yet"]
    with pytest.raises(SettingsError, match="no run was started"):
        said(out)


def test_a_video_whose_matte_is_of_no_use_is_doubtful_until_its_output_is_gone(
    tmp_path: Path,
) -> None:
    out = finished_out(tmp_path / "out", 2, empty=(1,))
    assert said(out)[-2:] == [
        "talk01.mp4: doubtful: no person was found in 100 of 100 frames"
        f" ({advice('nothing_found', 'rvm')})",
        "1 of 2 videos done, 1 doubtful, begun 2026-11-21T20:00:00+00:00; no run is going on",
    ]
    (out.path / "talk01_LR_180_matte.webm").unlink()
    assert not any("doubtful" in line for line in said(out))


def test_segments_that_are_all_made_are_told_as_what_is_left_to_do(tmp_path: Path) -> None:
    out = finished_out(tmp_path / "out", 1)
    lines = out.journal.read_bytes().splitlines(keepends=True)
    out.journal.write_bytes(b"".join(line for line in lines if b"video-done" not in line))
    (row,) = [line for line in said(out) if "talk00.mp4" in line]
    assert "all segments made; joining is left" in row
    assert row.rstrip().endswith("2 of 2   100 of 100")
    out.journal.write_bytes(lines[0])
    assert any("begun" in line for line in said(out) if "talk00.mp4" in line)
