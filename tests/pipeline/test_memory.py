"""Memory does not grow with the length of a video: 120 s take what 20 s take, within 5 %."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import pytest

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
    short, long = peak_of(tmp_path, 20), peak_of(tmp_path, 120)
    print(f"KiB, 20 s: {short}, 120 s: {long}")  # noqa: T201
    assert long <= 1.05 * short
