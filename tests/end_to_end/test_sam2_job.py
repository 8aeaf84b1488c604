"""`sam2` and `sam2+rvm` from the command line: killed and run again, the same frames.

Real SAM 2 networks of the smallest size with random weights, which stand in a checkpoint as they
are published; `depth` is both the seed model and the one that draws edges. A file of prompts lies
beside the video. Made are the matte, and masks of labels for the same frames.
"""

from __future__ import annotations

import shutil
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from orchestrator.demo.demo import make_demo
from tests.clips import read_frames
from tests.pipeline.sam2_networks import random_network
from tests.runs import CommandRun, HereRun, committed, outputs

pytestmark = pytest.mark.slow

EYE, FRAMES, SEGMENTS = 192, 4, 2
NAME = "demo_room_LR_180"
PROMPTS = f"""
objects:
- name: figure
  prompts:
  - {{frame: 2, points: [[{EYE // 2}, {EYE // 2}]]}}
  - {{frame: 3, eye: right, box: [40, 20, 150, 180]}}
"""
Settings = dict[str, dict[str, object]]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made, folder = tmp_path_factory.mktemp("demo"), tmp_path_factory.mktemp("videos")
    make_demo(made, seconds=FRAMES / 24, eye_size=EYE, fps=Fraction(24))
    shutil.move(made / f"{NAME}.mp4", folder)
    (folder / f"{NAME}.prompts.yaml").write_text(PROMPTS)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "sam2.pt"
    torch.save({"model": random_network(64, slim=False).state_dict()}, path)
    return path


def settings(model: str, checkpoint: Path) -> Settings:
    return {
        "matting": {
            "model": model,
            "sam2_size": "tiny",
            "sam2_image_size": 64,
            "sam2_checkpoint": str(checkpoint),
            "sam2_seed": "depth",
            "sam2_edge": "depth",
            "continuous_correction": model == "sam2",
            "correction_interval": 2,
        },
        "streaming": {"segment_frames": FRAMES // SEGMENTS, "warmup_frames": 1, "lanes": 1},
        "limits": {"reserve_gb": 0.0},
        "output": {"formats": ["webm", "tiff"]},
        "encoding": {"tiff_pages": "labels"},
    }


def killed(videos: Path, out: Path, asked: Settings) -> None:
    """Begin by the command line, and end the process by force once a segment is committed."""
    lines = [f"{group}: {members}" for group, members in asked.items()]
    begun = CommandRun(
        videos, out, "\n".join(lines).replace("True", "true").replace("False", "false")
    )
    while begun.goes_on(0.02):
        if committed(out):
            begun.process.kill()
            begun.process.wait()
    assert begun.process.returncode == -9, begun.said()
    assert begun.left_behind() == []


@pytest.mark.parametrize("model", ["sam2", "sam2+rvm"])
def test_killed_and_run_again_gives_the_same_frames(
    model: str, videos: Path, checkpoint: Path, tmp_path: Path
) -> None:
    asked = settings(model, checkpoint)
    undisturbed = HereRun(videos, tmp_path / "undisturbed", asked, threads=True)
    # A network without training makes mattes of no use: they are files all the same.
    status = undisturbed.run()
    assert status in (0, 1), undisturbed.said.getvalue()
    killed(videos, tmp_path / "out", asked)
    before = len(committed(tmp_path / "out"))
    assert 1 <= before < SEGMENTS
    resumed = HereRun(videos, tmp_path / "out", asked, threads=True)
    assert resumed.run() == status, resumed.said.getvalue()
    assert len(committed(tmp_path / "out")) == SEGMENTS
    assert resumed.published() == undisturbed.published()
    (path,) = (tmp_path / "out").glob("*.webm")
    alphas = [picture[..., 3] for picture in read_frames(path)]
    assert len(alphas) == FRAMES
    assert alphas[0].max() > 200  # it found somebody
    assert not any((before == after).all() for before, after in pairwise(alphas))
    (stack,) = (tmp_path / "out").glob("*.tif")
    with tifffile.TiffFile(stack) as file:
        pages = [page.asarray() for page in file.pages]
    assert len(pages) == FRAMES
    for number, page in enumerate(pages):
        assert set(np.unique(page)) <= {0, 1}  # the figure, and nobody
        off = [float(((alpha >= 128) != page).mean()) for alpha in alphas]
        assert off[number] == min(off), off  # its own frame's
        assert off[number] < 0.05, off  # a coded alpha is near the one that was made
    (expected,) = (tmp_path / "undisturbed").glob("*.tif")
    assert stack.read_bytes() == expected.read_bytes()
    assert len(outputs(tmp_path / "out")) == 1
