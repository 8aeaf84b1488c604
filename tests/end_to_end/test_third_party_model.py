"""Models of another package from the command line: planned, estimated, run and reported as ours.

Their options reach the trial's process as JSON and the worker's by pickle: alpha is what they say.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clips import X264, ClipSpec, make_clip, read_frames
from tests.their_package import install_theirs

pytestmark = pytest.mark.slow

SETTINGS = """
matting: {model: theirs, theirs_level: 0.25}
streaming: {segment_frames: 4, lanes: 1}
limits: {reserve_gb: 0}
workers: {gpus: none}
overrides:
- match: "*two*"
  model: theirs-bare
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    install_theirs(place / "theirs")
    (place / "videos").mkdir()
    for name in ("one_LR.mp4", "two_LR.mp4"):
        make_clip(place / "videos", ClipSpec(name, X264, num_frames=8))
    (place / "settings.yaml").write_text(SETTINGS)
    return place


def typed(place: Path, *options: str, out: str = "out") -> subprocess.CompletedProcess[str]:
    words = ["run", "videos", "-o", out, "--config", "settings.yaml", *options]
    return subprocess.run(
        [sys.executable, "-P", "-m", "orchestrator.cli", *words],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place / "theirs")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_planned_and_estimated(place: Path) -> None:
    done = typed(place, "--dry-run", "--json", out="planned")
    assert done.returncode == 0, done.stderr
    [plan] = [line for line in map(json.loads, done.stdout.splitlines()) if "videos" in line]
    assert [video["model"] for video in plan["videos"]] == ["theirs", "theirs-bare"]
    assert all(video["decoder"] for video in plan["videos"])  # their trials succeeded


def test_run_and_reported(place: Path) -> None:
    done = typed(place)
    assert done.returncode == 0, done.stderr
    for name, alpha in (("one", 0.25), ("two", 1.0)):
        [path] = (place / "out").glob(f"{name}*.webm")
        for picture in read_frames(path):
            assert abs(float(picture[..., 3].mean()) / 255 - alpha) < 0.02
    report = json.loads((place / "out/report.json").read_text())
    models = [video["facts"]["model"] for video in report["videos"]]
    assert models == ["theirs", "theirs-bare"]


def test_a_model_that_cannot_be_loaded_ends_the_command_in_one_line(place: Path) -> None:
    done = typed(place, "--model", "theirs-raises")
    assert done.returncode == 2
    [line, advice] = done.stderr.splitlines()
    assert line.startswith("error: --model: the model 'theirs-raises' of package their-models")
    assert advice == "repair or uninstall that package"
