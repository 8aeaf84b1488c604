"""Memory does not grow with the length of a video, and little pictures take little of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import pytest

from workers.launch import WORKER_ENVIRONMENT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RATE = 5
PROGRAM = """
import resource, sys
from pathlib import Path
from tests.render import chroma_settings, render
render(Path(sys.argv[1]), Path(sys.argv[2]), chroma_settings(50))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_of(folder: Path, seconds: int) -> int:
    """Peak resident KiB of the process that decodes, mattes and joins."""
    clip = folder / f"{seconds}.mp4"
    ball = f"mandelbrot=s=160x160:r={RATE},drawbox=c=0x00b140:t=fill:w=110"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-f", "lavfi"]
    command += ["-i", f"{ball},split[a][b];[a][b]hstack", "-t", str(seconds)]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", str(clip)]
    subprocess.run(command, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(clip), str(folder / f"out{seconds}")],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


def test_peak_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    short, long = peak_of(tmp_path, 10), peak_of(tmp_path, 50)
    print(f"KiB, 10 s: {short}, 50 s: {long}")  # noqa: T201
    assert long <= 1.05 * short


KEY = """
import re
from pathlib import Path
import torch
from pipeline.pixels.batches import EyeBatch
from pipeline.stages.matting.chroma import load
from pipeline.contract import MattingSettings, ProcessingSettings
from tests.pipeline.demo_truth import Clip

def held(what):
    return int(re.search(what + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10

torch.set_num_threads(1)
model = load(MattingSettings(model="chroma"), ProcessingSettings(), torch.device("cpu"))
rgb = torch.randint(0, 20, (8, 2, 3, 960, 960), dtype=torch.uint8)
rgb[..., 1, :, :] += 180
rgb[..., 300:700, 300:700] = 40
clip, before = Clip(rgb), held("VmRSS")
state = model.start(2, 960, 960, model.prepare(clip))
model.matte(EyeBatch(rgb[:4], 0), state)
print(held("VmHWM") - before)
"""


def test_the_key_of_a_small_picture_takes_little() -> None:
    """Of both eyes of 960x960, the screen found and a chunk keyed: its mattes are 0.12 GB."""
    done = subprocess.run(
        [sys.executable, "-c", KEY],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | WORKER_ENVIRONMENT,
    )
    assert 0.12e9 < int(done.stdout) < 0.9e9
