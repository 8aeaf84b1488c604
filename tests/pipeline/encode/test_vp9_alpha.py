"""The encoder of WebM: the same pictures as ffmpeg's, in a third of its memory."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from pipeline.encode import vp9_alpha
from pipeline.encode.ffmpeg_pipe import PipeEncoder, ffmpeg_command
from pipeline.errors import EncodeError
from pipeline.files.child import tied
from tests.clips import read_frames

COLOUR = ("-color_range", "tv", "-colorspace", "bt709")
OPTIONS = [
    *("-auto-alt-ref", "0", "-lag-in-frames", "0", "-deadline", "realtime", "-cpu-used", "6"),
    *("-crf", "30", "-b:v", "0", "-g", "4", "-threads", "2", "-row-mt", "1"),
    *(*COLOUR, "-flags:v", "+bitexact"),
]


def pictures(width: int, height: int, frames: int = 6) -> torch.Tensor:
    """Raw ``yuva420p`` of smooth noise that moves, uint8 ``[T, W*H*5/2]``."""
    draw = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 1, 5 * height // 16, width // 8, generator=draw) * 255
    smooth = torch.nn.functional.interpolate(coarse, (5 * height // 2, width), mode="bilinear")
    planes = smooth[0, 0].to(torch.uint8)
    return torch.stack([planes.roll(3 * k, dims=1).flatten() for k in range(frames)])


@pytest.mark.parametrize(("width", "height"), [(256, 128), (202, 74)])
def test_pictures_are_those_of_ffmpeg(width: int, height: int, tmp_path: Path) -> None:
    raw = ("-f", "rawvideo", "-pix_fmt", "yuva420p", "-video_size", f"{width}x{height}")
    ours, theirs = tmp_path / "ours.webm", tmp_path / "theirs.webm"
    commands = [
        vp9_alpha.command((width, height), Fraction(30000, 1001), OPTIONS, str(ours)),
        ffmpeg_command(
            *(*raw, "-framerate", "30000/1001", *COLOUR, "-i", "pipe:0", "-c:v", "libvpx-vp9"),
            *("-pix_fmt", "yuva420p", *OPTIONS, f"file:{theirs}"),
        ),
    ]
    for command in commands:
        encoder = PipeEncoder(command)
        encoder.write(pictures(width, height))
        encoder.close()
    frames, expected = read_frames(ours), read_frames(theirs)
    assert len(frames) == 6
    assert all((a == b).all() for a, b in zip(frames, expected, strict=True))
    assert min(int(frame[..., 3].min()) for frame in frames) < 100


def test_the_same_file_every_time(tmp_path: Path) -> None:
    made = [tmp_path / "one.webm", tmp_path / "two.webm"]
    for path in made:
        encoder = PipeEncoder(vp9_alpha.command((64, 32), Fraction(30), OPTIONS, str(path)))
        encoder.write(pictures(64, 32, 3))
        encoder.close()
    assert made[0].read_bytes() == made[1].read_bytes()


@pytest.mark.parametrize(
    ("given", "target", "said"),
    [
        (64 * 32 * 5 // 2 - 1, "part.webm", "the pictures end within one"),
        (64 * 32 * 5 // 2, "gone/part.webm", "No such file or directory"),
    ],
)
def test_what_is_wrong_is_said_in_its_last_line(
    given: int, target: str, said: str, tmp_path: Path
) -> None:
    command = vp9_alpha.command((64, 32), Fraction(30), OPTIONS, str(tmp_path / target))
    done = subprocess.run(tied(command), input=bytes(given), capture_output=True, check=False)
    assert done.returncode not in (0, 127)
    assert said in done.stderr.decode().splitlines()[-1]


def test_an_option_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    options = [*OPTIONS, "-deadline", "never"]
    encoder = PipeEncoder(vp9_alpha.command((64, 32), Fraction(30), options, str(tmp_path / "x")))
    with pytest.raises(EncodeError, match="ffmpeg failed"):
        encoder.close()


PEAK_OF_CHILD = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10)
sys.exit(status)
"""


@pytest.mark.slow
def test_8k_takes_little_memory(tmp_path: Path) -> None:
    """ffmpeg takes 5 GB for it (docs/benchmarks/005-8k-memory.md)."""
    width, height = 8192, 4096
    target = tmp_path / "8k.webm"
    command = vp9_alpha.command((width, height), Fraction(30), OPTIONS, str(target))
    # The peak of a child begins with that of the process that forked it: a small one forks here.
    meter = [sys.executable, "-c", PEAK_OF_CHILD, *command]
    with subprocess.Popen(meter, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for grey in (0, 60):
            child.stdin.write(bytes([grey]) * (width * height * 5 // 2))
        child.stdin.close()
        peak = int(child.stdout.read())
    assert child.returncode == 0
    assert 0.5e9 < peak < 2.4e9


PROGRAM = """
import mmap, re, sys, threading
from pathlib import Path
from pipeline.encode.zero_pages import give_back_zeros

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10

room = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
room[:] = bytes(64 << 20)
room[5 << 20] = room[(40 << 20) - 1] = 7
before = resident()
given = give_back_zeros()
print(given >> 20, (before - resident()) >> 20)
print(room[5 << 20], room[(40 << 20) - 1], room[:].count(0) == (64 << 20) - 2)
threading.Thread(target=threading.Event().wait, daemon=True).start()
try:
    give_back_zeros()
except RuntimeError as error:
    print(error)
"""


def test_zeros_are_given_back_and_nothing_else() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    numbers, contents, refusal = done.stdout.splitlines()
    given, less = map(int, numbers.split())
    assert given >= 60
    assert less >= 55
    assert contents == "7 7 True"
    assert "one thread only" in refusal
