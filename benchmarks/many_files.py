"""How long a folder of many small files takes until its first frame, and what the steps cost.

    python benchmarks/many_files.py FOLDER --files 1000

copies one tiny clip under as many names into FOLDER/in, begins a run, waits for its first finished
frame, and stops it. Wall times depend on what else the machine does; the CPU times of all processes
hardly do.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio_ffmpeg


def make_files(folder: Path, count: int) -> None:
    """Copies of one clip of 12 frames, each with a box of its own at its end."""
    folder.mkdir(parents=True)
    clip = folder.with_name("clip.mp4")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    command += ["-f", "lavfi", "-i", "testsrc2=s=256x128:r=30:d=0.4", "-pix_fmt", "yuv420p"]
    subprocess.run([*command, "-c:v", "libx264", str(clip)], check=True)
    content = clip.read_bytes()
    for number in range(count):
        box = (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big")
        (folder / f"clip{number}_LR_180.mp4").write_bytes(content + box)


def cpu_s(pid: int) -> float:
    """Of a process and of all that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--again", action="store_true", help="resume: keep what is known")
    asked = parser.parse_args()
    videos, out = asked.folder / "in", asked.folder / "out"
    if not videos.is_dir():
        make_files(videos, asked.files)
    if not asked.again:
        shutil.rmtree(out, ignore_errors=True)
    began = time.monotonic()
    command = [sys.executable, "-m", "orchestrator.cli", "run", str(videos), "--out", str(out)]
    command += ["--model", "chroma", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            said = json.loads(line)
            event = said["event"]
            now = time.monotonic() - began
            if event in ("run-started", "worker-ready", "run-ended"):
                print(f"{event:14} {now:6.1f} s, {cpu_s(run.pid):6.1f} CPU s", flush=True)
            if said.get("frames_done") and event in ("progress", "segments-done"):
                print(f"first frame    {now:6.1f} s, {cpu_s(run.pid):6.1f} CPU s", flush=True)
                run.send_signal(signal.SIGINT)
                break
        run.communicate()


if __name__ == "__main__":
    main()
