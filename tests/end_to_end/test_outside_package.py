"""Stages of another package in a run from end to end: law 1 holds for them, killed and resumed too.

One stage holds frames back, the other doubles the size of the picture.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clips import X264, ClipSpec
from tests.finished import decoded, digests
from tests.packages import install
from tests.pipeline.stages import outside_stages
from tests.runs import environment, left_behind
from tests.shared_runs import VideosOf

pytestmark = pytest.mark.slow

CLIP = ClipSpec("one_LR.mp4", X264, num_frames=40, audio=("aac",))
FORMATS = ("webm", "greenscreen", "matte")
SEGMENT = 8

SETTINGS = f"""
output: {{formats: [{", ".join(FORMATS)}]}}
matting: {{model: chroma}}
processing: {{stages: [lagging, doubled]}}
streaming: {{segment_frames: {SEGMENT}, chunk_frames: 3}}
encoding: {{encoder: software}}
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def start(videos_of: VideosOf, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Begins a run of the clip; the package is found by PYTHONPATH, as an installer leaves it."""
    folder = tmp_path_factory.mktemp("outside")
    entries = {name: f"their_stages:{name.upper()}" for name in ("lagging", "doubled")}
    source = Path(outside_stages.__file__).read_text()
    install(folder, "their-stages", entries, "vrmatte.stages", their_stages=source)
    videos = videos_of([CLIP])
    config = folder / "settings.yaml"
    config.write_text(SETTINGS)
    known = os.environ.get("PYTHONPATH")
    places = os.pathsep.join([str(folder), known] if known else [str(folder)])

    def begin(out: Path, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "orchestrator.cli", "run", str(videos), "-o", str(out)),
                *("--config", str(config), "--gpus", "none", *options),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment(out), "PYTHONPATH": places},
        )

    return begin


def frames_of(out: Path) -> dict[str, list[str]]:
    """Digest of each decoded frame of each output."""
    return {path.name: digests(path) for path in sorted(out.glob("one_LR*"))}


@pytest.fixture(scope="module")
def undisturbed(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    process = start(out, "--cpu-workers", "1", "--lanes", "1")
    _, said = process.communicate()
    assert process.returncode == 0, said
    return out


def test_frames_out_are_frames_in_at_the_size_of_the_last_stage(undisturbed: Path) -> None:
    outputs = sorted(undisturbed.glob("one_LR*"))
    assert len(outputs) == len(FORMATS)
    width, height = CLIP.eye
    for output in outputs:
        sizes = [(frame.width, frame.height) for frame in decoded(output)]
        assert sizes == [(4 * width, 2 * height)] * CLIP.num_frames


def test_lanes_a_kill_and_a_resume_give_the_same_frames(
    start: Start, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    journal = out / ".vrmatte/journal.jsonl"
    process = start(out, "--cpu-workers", "1", "--lanes", "2")
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            if "segments done" in line and journal.read_text().count('"segment"') >= 3:
                process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert left_behind(out) == []
    again = start(out, "--cpu-workers", "2", "--lanes", "2")
    _, said = again.communicate()
    assert again.returncode == 0, said
    assert frames_of(out) == frames_of(undisturbed)


def test_what_their_stages_find_and_take_is_reported(undisturbed: Path) -> None:
    [video] = json.loads((undisturbed / "report.json").read_text())["videos"]
    assert any("lagging" in note and "brightened" in note for note in video["notes"])
    assert {"matting", "stereo", "judge", "lagging", "doubled"} <= set(video["stages"])
