"""A clip whose subject vanishes for some frames: the report names the time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from orchestrator.demo.scene import Scene
from tests.runs import HereRun

pytestmark = pytest.mark.slow

EYE, FRAMES, RATE, SEGMENT = 128, 54, 30, 18
#: Over the border of two segments, and at the beginning of one.
GONE = ((16, 21), (36, 36))
SETTINGS: dict[str, dict[str, object]] = {
    "matting": {"model": "chroma"},
    "streaming": {"segment_frames": SEGMENT, "lanes": 1, "chunk_frames": 4},
    "workers": {"gpus": "none"},
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name, gone in (("good", ()), ("broken", GONE)):
        make_clip(folder / f"{name}_LR_180.mp4", gone)
    return folder


def make_clip(path: Path, gone: tuple[tuple[int, int], ...]) -> None:
    """Somebody before a green screen, but not from first to last of each of `gone`."""
    scene = Scene(FRAMES, eye_size=EYE)
    pictures = []
    for frame in range(FRAMES):
        empty = any(first <= frame <= last for first, last in gone)
        eyes = scene.plate("green") if empty else scene.picture(frame, "green")
        pictures.append(np.concatenate(list(eyes), axis=1).tobytes())
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "rawvideo"),
        *("-pix_fmt", "rgb24", "-s", f"{2 * EYE}x{EYE}", "-r", str(RATE), "-i", "-"),
        *("-c:v", "libx264", "-crf", "14", "-pix_fmt", "yuv420p", str(path)),
    ]
    subprocess.run(command, input=b"".join(pictures), check=True)


def reported(out: Path) -> dict[str, dict[str, Any]]:
    report = json.loads((out / "report.json").read_text())
    return {video["name"].partition("_")[0]: video for video in report["videos"]}


def test_the_report_names_the_time(videos: Path, tmp_path: Path) -> None:
    run = HereRun(videos, tmp_path / "out", SETTINGS, threads=True)
    assert run.run() == 0
    found = reported(run.out)
    good, broken = found["good"], found["broken"]
    assert good["flags"] == []
    assert not any("deserves a look" in note for note in good["notes"])
    assert [flag["kind"] for flag in broken["flags"]] == ["empty"] * len(GONE)
    for flag, (first, last) in zip(broken["flags"], GONE, strict=True):
        assert flag["start_s"] == pytest.approx(first / RATE, abs=1 / RATE)
        assert flag["end_s"] == pytest.approx((last + 1) / RATE, abs=1 / RATE)
    assert "deserves a look: 0:01 matte empty" in broken["notes"]
    assert "deserves a look: 0:01 matte empty" in run.said.getvalue()
    assert len(good["area"]) == FRAMES // SEGMENT * 16
    assert all(0.01 < area < 0.2 for area in good["area"])
    assert min(broken["area"]) < 0.01

    assert run.run() == 0, "nothing is left to do, and the report still knows"
    later = reported(run.out)
    assert later["broken"]["result"] == "done earlier"
    assert later["broken"]["flags"] == broken["flags"]
    assert later["broken"]["area"] == broken["area"]
