"""Children end with the thread that started them: real processes, killed for real."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
import torch

from pipeline.encode.ffmpeg_pipe import PipeEncoder, ffmpeg_command
from pipeline.files import child
from pipeline.files.child import own_environment, own_module, tied

#: What an encoder may take to be gone after its worker, in seconds.
GONE_S = 2.0

STARTS_A_CHILD = """
import subprocess, sys
from pipeline.files.child import tied
child = subprocess.Popen(tied(["/bin/cat"]), stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.read()
"""

STARTS_AN_ENCODER = """
import sys, torch
from pipeline.encode.ffmpeg_pipe import PipeEncoder, ffmpeg_command
raw = ("-f", "rawvideo", "-pix_fmt", "gray", "-video_size", "64x64", "-i", "pipe:0")
encoder = PipeEncoder(ffmpeg_command(*raw, "-c:v", "libvpx-vp9", "-f", "webm", sys.argv[1]))
encoder.write(torch.zeros(300, 64 * 64, dtype=torch.uint8))
print(encoder._process.pid, flush=True)
sys.stdin.read()
"""


def start(script: str, *arguments: str) -> tuple[subprocess.Popen[str], psutil.Process]:
    """A process that runs `script`, and the child whose number it prints."""
    parent = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    return parent, psutil.Process(int(parent.stdout.readline()))


def end(parent: subprocess.Popen[str]) -> None:
    parent.kill()
    parent.communicate()


def is_gone(child: psutil.Process) -> bool:
    _, alive = psutil.wait_procs([child], timeout=GONE_S)
    return not alive or child.status() == psutil.STATUS_ZOMBIE


def test_a_child_does_its_work_under_its_own_number(tmp_path: Path) -> None:
    command = tied(["/bin/sh", "-c", "echo $$ $PPID > said; exit 7", "an argument"])
    process = subprocess.Popen(command, cwd=tmp_path)
    assert process.wait() == 7
    said = (tmp_path / "said").read_text().split()
    assert said == [str(process.pid), str(psutil.Process().pid)]


def test_signals_are_as_usual_in_the_child() -> None:
    command = tied(["/bin/sh", "-c", "kill -PIPE $$; echo ignored"])
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == -13
    assert done.stdout == b""


def test_a_program_that_is_not_there_is_named() -> None:
    done = subprocess.run(tied(["/no/such/program"]), capture_output=True, check=False)
    assert done.returncode == 127
    assert done.stderr == b"cannot start /no/such/program: No such file or directory\n"


def test_a_child_is_gone_after_its_parent_was_killed() -> None:
    parent, child = start(STARTS_A_CHILD)
    assert child.is_running()
    end(parent)
    assert is_gone(child)


def test_a_child_whose_parent_is_another_does_nothing(tmp_path: Path) -> None:
    command = tied(["/bin/touch", str(tmp_path / "made")])
    position = command.index(str(psutil.Process().pid))
    command[position] = "1"  # as if that process had died before the child could ask
    assert subprocess.run(command, check=False).returncode == 1
    assert not (tmp_path / "made").exists()


def test_a_child_ends_with_its_thread() -> None:
    children: list[subprocess.Popen[bytes]] = []

    def start_one() -> None:
        command = tied(["/bin/sh", "-c", "echo ready; exec cat"])
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        children.append(child)

    thread = threading.Thread(target=start_one)
    thread.start()
    thread.join()
    [child] = children
    assert child.wait(GONE_S) == -9
    child.communicate()


def test_ffmpeg_is_gone_after_its_worker_was_killed(tmp_path: Path) -> None:
    parent, encoder = start(STARTS_AN_ENCODER, str(tmp_path / "x.webm"))
    assert encoder.is_running()
    end(parent)
    assert is_gone(encoder)


def test_a_stopped_ffmpeg_is_gone_too(tmp_path: Path) -> None:
    """One that does not read its pipe would not notice that it has closed."""
    parent, encoder = start(STARTS_AN_ENCODER, str(tmp_path / "x.webm"))
    encoder.suspend()
    end(parent)
    assert is_gone(encoder)


@pytest.mark.parametrize("frames", [1, 40])
def test_an_encoder_ends_in_order(frames: int, tmp_path: Path) -> None:
    raw = ("-f", "rawvideo", "-pix_fmt", "gray", "-video_size", "64x64", "-i", "pipe:0")
    target = tmp_path / "x.y4m"
    encoder = PipeEncoder(ffmpeg_command(*raw, "-f", "rawvideo", f"file:{target}"))
    encoder.write(torch.zeros(frames, 64 * 64, dtype=torch.uint8))
    encoder.close()
    assert target.stat().st_size == frames * 64 * 64


def test_a_module_of_ours_is_found_in_the_order_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout comes before the person's places, what is installed after them; the current
    folder, as which Python reads an empty entry, comes nowhere."""
    checkout, site_packages = str(Path(child.__file__).parents[2]), Path(site.getsitepackages()[0])
    monkeypatch.setenv("PYTHONPATH", f":/theirs::{checkout}:/more:")
    command, environment = own_module("orchestrator.cli", "run", "x")
    assert command == [sys.executable, "-P", "-m", "orchestrator.cli", "run", "x"]
    assert environment["PYTHONPATH"] == f"{checkout}:/theirs:/more"
    assert set(environment) == set(os.environ) | {"PYTHONSAFEPATH"}
    for given in ("", "1"):
        monkeypatch.setenv("PYTHONSAFEPATH", given)
        assert own_environment()["PYTHONSAFEPATH"] == "1"
    monkeypatch.setattr(child, "_HOME", site_packages.resolve())
    assert own_environment()["PYTHONPATH"] == f"/theirs:{checkout}:/more"
    monkeypatch.setenv("PYTHONPATH", ":")
    assert "PYTHONPATH" not in own_environment()
