"""Runs whose segments are written in a local folder: the same OUT, and faults told as its own.

The real pipeline, with workers as threads. What is killed, with real processes: `test_main_job.py`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.deliverables.webm import WebM
from pipeline.errors import SettingsError
from tests.clips import X264, ClipSpec
from tests.mounts import small_disk
from tests.runs import HereRun, files_left, journal
from tests.shared_runs import UndisturbedRun, VideosOf

pytestmark = pytest.mark.slow

CLIP = ClipSpec("tiny_LR.mp4", X264, num_frames=8, eye=(32, 32), audio=("aac",))
FORMATS = ["webm", "greenscreen"]
OPEN_SEGMENT = WebM.open_segment


@pytest.fixture(scope="module")
def videos(videos_of: VideosOf) -> Path:
    return videos_of([CLIP])


def settings(local: Path | None) -> dict[str, dict[str, object]]:
    return {
        "matting": {"model": "chroma"},
        "streaming": {"segment_frames": 4, "lanes": 1},
        "workers": {"gpus": "none"},
        "limits": {"reserve_gb": 0.0},
        "output": {"formats": FORMATS, "local_folder": None if local is None else str(local)},
    }


def run_of(videos: Path, out: Path, local: Path) -> HereRun:
    return HereRun(videos, out, settings(local), threads=True)


def files(out: Path) -> dict[str, str]:
    """sha256 of each output, and of each segment by the journal."""
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.iterdir()
        if path.suffix in (".webm", ".mp4")
    }
    for entry in segments(out):
        found |= {f"{entry['segment']} {n}": d for n, d in enumerate(entry["result"]["digests"])}
    return found


def segments(out: Path) -> list[dict[str, Any]]:
    entries = [line["entry"] for line in journal(out)]
    return [entry for entry in entries if entry["kind"] == "segment"]


@pytest.fixture(scope="module")
def undisturbed(undisturbed_run: UndisturbedRun) -> dict[str, str]:
    found = files(undisturbed_run([CLIP], settings(None)).out)
    assert len(found) == len(FORMATS) * (1 + 2)
    return found


def left(out: Path) -> set[str]:
    drafts = {path.name for path in out.rglob("*.part*")}
    return drafts | {name for name in files_left(out) if not name.endswith(".mp4")}


def test_a_full_local_folder_stops_the_run_and_with_another_the_files_are_the_same_byte_for_byte(
    videos: Path, undisturbed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Path] = []
    place = tmp_path / "disk"
    place.mkdir()
    with small_disk(place, "1m") as disk:

        def fill(deliverable: WebM, path: Path) -> Any:
            if not begun:
                (disk.seen / "filler").write_bytes(bytes(shutil.disk_usage(disk.seen).free))
            begun.append(path)
            return OPEN_SEGMENT(deliverable, path)

        run = run_of(videos, tmp_path / "out", disk.seen)
        monkeypatch.setattr(WebM, "open_segment", fill)
        assert run.run() == 130, run.said.getvalue()
        said = "".join(run.said.getvalue().split())  # its lines are wrapped
        assert f"noroomleftinthelocalfolder{disk.seen}(makeroom" in said, run.said.getvalue()
        assert [path.name for path in disk.seen.iterdir()] == ["filler"]
    assert left(run.out) == set()
    assert segments(run.out) == []

    begun.append(place)  # nothing is filled any more
    local = tmp_path / "nvme"
    local.mkdir()
    (local / "film.mp4").write_bytes(b"somebody else's")
    again = run_of(videos, run.out, local)
    assert again.run() == 0, again.said.getvalue()
    assert files(run.out) == undisturbed
    assert left(run.out) == set()
    assert [path.is_relative_to(local) for path in begun[-2:]] == [True, True]
    assert [path.name for path in local.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES])
def test_a_local_folder_that_takes_no_files_is_refused_before_work(
    number: int, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = tmp_path / "nvme"
    if number == errno.EACCES:
        local.mkdir()
        refused = PermissionError(number, os.strerror(number))
        monkeypatch.setattr("orchestrator.machine.local_folder.refusal", lambda folder: refused)
    run = run_of(videos, tmp_path / "out", local)
    how = run.run()
    assert isinstance(how, SettingsError)
    assert str(how).startswith(f"cannot write to the local folder {local}: {os.strerror(number)}")
    assert "output.local_folder" in how.advice
    assert local.exists() == (number == errno.EACCES)
