"""A green screen before which nobody stands: every view of it says that the matte is of no use."""

from __future__ import annotations

import io
import json
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console

from orchestrator.cli import main
from orchestrator.demo.scene import Scene
from orchestrator.out.folder import OutFolder
from orchestrator.report.rebuild import found_in
from orchestrator.watch.status import show_status
from tests.runs import HereRun

pytestmark = pytest.mark.slow

EYE, FRAMES, RATE = 128, 24, 30
SETTINGS: dict[str, dict[str, object]] = {
    "matting": {"model": "chroma"},
    "streaming": {"segment_frames": 10, "lanes": 1, "chunk_frames": 4},
    "workers": {"gpus": "none"},
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    make_clip(folder / "somebody_LR_180.mp4", somebody=True)
    make_clip(folder / "nobody_LR_180.mp4", somebody=False)
    return folder


def make_clip(path: Path, *, somebody: bool) -> None:
    scene = Scene(FRAMES, eye_size=EYE)
    pictures = []
    for frame in range(FRAMES):
        eyes = scene.picture(frame, "green") if somebody else scene.plate("green")
        pictures.append(np.concatenate(list(eyes), axis=1).tobytes())
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "rawvideo"),
        *("-pix_fmt", "rgb24", "-s", f"{2 * EYE}x{EYE}", "-r", str(RATE), "-i", "-"),
        *("-c:v", "libx264", "-crf", "14", "-pix_fmt", "yuv420p", str(path)),
    ]
    subprocess.run(command, input=b"".join(pictures), check=True)


def by_name(out: Path) -> dict[str, dict[str, Any]]:
    report = json.loads((out / "report.json").read_text())
    assert report["exit_status"] == 1
    return {video["name"].partition("_")[0]: video for video in report["videos"]}


def test_a_run_its_report_and_its_status_agree(videos: Path, tmp_path: Path) -> None:
    run = HereRun(videos, tmp_path / "out", SETTINGS, threads=True)
    assert run.run() == 1
    found = by_name(run.out)
    assert found["somebody"]["result"] == "done"
    assert found["somebody"]["doubts"] == []
    nobody = found["nobody"]
    assert nobody["result"] == "doubtful"
    assert [doubt["kind"] for doubt in nobody["doubts"]] == ["nothing_found"]
    assert nobody["subject_depth_m"] is None
    assert all((run.out / output["path"]).is_file() for output in nobody["outputs"])
    seen = f"nothing was found in {FRAMES} of {FRAMES} frames"
    line = f"nobody_LR_180.mp4: doubtful: {seen} ({nobody['doubts'][0]['advice']})"
    said = run.said.getvalue()
    assert line in said.replace("\n", " ")
    assert any("doubtful" in row and "nobody" in row for row in said.splitlines())

    shown = io.StringIO()
    show_status(run.out, Console(file=shown, width=100))
    assert line in shown.getvalue().splitlines()
    assert "1 of 2 videos done, 1 doubtful" in shown.getvalue()
    # The journal alone says it as well.
    (run.out / "report.json").unlink()
    rebuilt = found_in(OutFolder(run.out), datetime.now().astimezone()).state.report
    assert sorted(video.result for video in rebuilt.videos) == ["done", "doubtful"]

    assert run.run() == 1, "nothing is left to do, and it is as doubtful as before"
    assert by_name(run.out)["nobody"]["result"] == "doubtful"


def test_a_preview_and_a_dry_run_agree_with_it(videos: Path, tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(SETTINGS))
    asked = ["--config", str(config), "--gpus", "none"]
    for name, status in (("somebody", 0), ("nobody", 1)):
        video = str(videos / f"{name}_LR_180.mp4")
        sheet = tmp_path / f"{name}.png"
        made = CliRunner().invoke(main, ["preview", video, "-o", str(sheet), *asked])
        assert made.exit_code == status, made.output
        assert sheet.is_file()
        assert ("doubtful: nothing was found in 3 of 3 frames" in made.output) == bool(status)

        dry = ["run", video, "-o", str(tmp_path / name), "--dry-run", "--json", *asked]
        told = CliRunner().invoke(main, dry)
        assert told.exit_code == status, told.output
        [plan] = [json.loads(line) for line in told.stdout.splitlines()]
        assert [doubt["kind"] for doubt in plan["videos"][0]["doubts"]] == (
            ["nothing_found"] if status else []
        )
        assert ("doubtful, by a trial of 20 frames: nothing was found" in told.stderr) == bool(
            status
        )
