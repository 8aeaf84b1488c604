"""RVM's own converter against `vrmatte run`: the same clip, weights and machine, by turns.

    python benchmarks/vs_rvm_converter.py CLIP --repo RVM --weights FILE.pth [--rounds 3]
        [--outputs alpha,foreground] [--seq-chunk 1] [--device cuda] [--format webm]

RVM is a local copy of its repository. Its `inference.py` needs PyAV older than 13 and pims: they
are installed once, beside ours, into a folder of the cache (`--packages`). The network is loaded
as its class `Converter` does it (scripted and frozen), but with the refiner that the weights are
for; `convert_video` runs in 32 bits on the CPU with the ratio that it chooses by itself, and writes
H.264 in MP4 without sound. By default that is alpha and foreground, which together say what our one
file does; `--outputs composition` is the least it can do.

Ours is `vrmatte run CLIP --format webm --gpus none` with its default settings: VP9 with alpha, and
the clip's sound. With `--device cuda` the converter runs in 16 bits on the first GPU, and ours with
`--gpus 0`; that has not been run yet. Seconds are those of the whole command; "work" leaves out
what comes before: imports and loading the network (of ours: until its worker is ready). Printed are
both for each round, and the ratios of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

#: What `inference.py` imports and our environment lacks; torch, numpy and Pillow are ours.
PACKAGES = ("av<13", "pims", "slicerator", "tqdm")

#: Runs in a process of its own, with RVM's folder and the packages first on its path.
CONVERTER = """
import json, sys, time
import torch
from inference import convert_video
from model import MattingNetwork
clip, variant, weights, chunk, outputs, device = sys.argv[1:7]
dtype = torch.float16 if device == "cuda" else torch.float32
tensors = torch.load(weights, map_location="cpu", weights_only=True)
deep = any(name.startswith("refiner.") for name in tensors)
network = MattingNetwork(variant, "deep_guided_filter" if deep else "fast_guided_filter").eval()
network.load_state_dict(tensors)
network = network.to(device, dtype)
network = torch.jit.freeze(torch.jit.script(network))
begin = time.perf_counter()
convert_video(
    network, input_source=clip, seq_chunk=int(chunk), progress=False, device=device,
    dtype=dtype, output_video_mbps=4,
    **{"output_" + name: name + ".mp4" for name in outputs.split(",")},
)
seconds = time.perf_counter() - begin
import av
with av.open(outputs.split(",")[0] + ".mp4") as container:
    print(json.dumps([seconds, sum(1 for _ in container.decode(video=0))]))
"""


@dataclass(frozen=True, slots=True)
class Took:
    """One round of one of the two; `work_s` is without start-up, `cpu_s` that of all processes."""

    whole_s: float
    work_s: float
    cpu_s: float
    frames: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("--repo", type=Path, required=True, help="RVM's repository, a folder")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--variant", default="mobilenetv3", choices=["mobilenetv3", "resnet50"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--outputs", default="alpha,foreground")
    parser.add_argument("--seq-chunk", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--format", default="webm", help="what ours makes")
    parser.add_argument("--config", type=Path, help="further settings of ours")
    parser.add_argument("--packages", type=Path, default=cache() / "rvm-converter")
    parser.add_argument("--json", type=Path, help="leave every figure there")
    asked = parser.parse_args()
    for path in (asked.clip, asked.repo / "inference.py", asked.weights):
        if not path.is_file():
            sys.exit(f"error: there is no file {path}")
    install(asked.packages)
    print(f"{asked.clip.name}, {asked.rounds} rounds by turns, load {os.getloadavg()[0]:.1f}")
    rounds: dict[str, list[Took]] = {"converter": [], "ours": []}
    for number in range(1, asked.rounds + 1):
        for name, measure in (("converter", converter), ("ours", ours)):
            with tempfile.TemporaryDirectory() as folder:
                took = measure(asked, Path(folder))
            rounds[name].append(took)
            print(
                f"  round {number} {name:9} {took.frames} frames: whole {took.whole_s:6.1f} s"
                f" ({took.frames / took.whole_s:5.2f} frames/s), work {took.work_s:6.1f} s"
                f" ({took.frames / took.work_s:5.2f} frames/s), CPU {took.cpu_s:6.1f} s,"
                f" load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    per = {"whole": "", "work": "", "cpu": " of CPU time"}
    for what in per:
        rates = {
            name: statistics.median(t.frames / getattr(t, f"{what}_s") for t in list_)
            for name, list_ in rounds.items()
        }
        ratio = rates["ours"] / rates["converter"]
        print(
            f"{what:5}: converter {rates['converter']:.2f} frames/s{per[what]},"
            f" ours {rates['ours']:.2f}, ratio of the medians {ratio:.2f}"
        )
    if asked.json:
        figures = {
            name: [[t.whole_s, t.work_s, t.cpu_s, t.frames] for t in list_]
            for name, list_ in rounds.items()
        }
        asked.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "vrmatte"


def install(folder: Path) -> None:
    """Have `PACKAGES` in `folder`, without what they depend on: that is ours."""
    done = folder / "installed"
    if done.is_file() and done.read_text(encoding="utf-8").split() == list(PACKAGES):
        return
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if uv is None:
        sys.exit("error: there is no uv to install packages with (pip install uv)")
    command = [uv, "pip", "install", "-q", "--python", sys.executable, "--no-deps"]
    subprocess.run([*command, "--target", str(folder), *PACKAGES], check=True)
    done.write_text("\n".join(PACKAGES), encoding="utf-8")


def converter(asked: argparse.Namespace, folder: Path) -> Took:
    places = [str(asked.packages.absolute()), str(asked.repo.absolute())]
    arguments = [str(asked.clip.absolute()), asked.variant, str(asked.weights.absolute())]
    arguments += [str(asked.seq_chunk), asked.outputs, asked.device]
    command = [sys.executable, "-W", "ignore", "-c", CONVERTER, *arguments]
    said, whole_s, cpu_s = called(command, folder, {"PYTHONPATH": os.pathsep.join(places)})
    work_s, frames = json.loads(said.splitlines()[-1])
    return Took(whole_s, work_s, cpu_s, frames)


def ours(asked: argparse.Namespace, folder: Path) -> Took:
    settings = folder / "settings.yaml"
    further = asked.config.read_text(encoding="utf-8") if asked.config else ""
    matting = {
        "rvm_repo": str(asked.repo.absolute()),
        "rvm_weights": str(asked.weights.absolute()),
        "rvm_variant": asked.variant,
    }
    settings.write_text(f"{further}\nmatting: {json.dumps(matting)}\n", encoding="utf-8")
    out = folder / "out"
    command = [sys.executable, "-m", "orchestrator.cli", "run", str(asked.clip.absolute())]
    gpus = "0" if asked.device == "cuda" else "none"
    command += ["-o", str(out), "--config", str(settings), "--format", asked.format]
    command += ["--gpus", gpus]
    places = {"PYTHONPATH": str(Path(__file__).absolute().parents[1])}
    _, whole_s, cpu_s = called(command, folder, places)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    lines = [
        json.loads(line)
        for log in (out / ".vrmatte" / "logs").glob("[cg]pu*.jsonl")
        for line in log.read_text(encoding="utf-8").splitlines()
    ]
    ready = min(moment(line) for line in lines if line["event"] == "worker_ready")
    ended = max(moment(line) for line in lines if line["event"] == "video_finished")
    return Took(whole_s, ended - ready, cpu_s, report["videos"][0]["frames_done"])


def moment(line: dict[str, str]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def called(
    command: Sequence[str], folder: Path, environment: dict[str, str]
) -> tuple[str, float, float]:
    """(what it says, seconds, CPU seconds); where it fails, its last words and the end."""
    begin, cpu_before = time.perf_counter(), children_cpu_s()
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"error: {command[0]} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout, time.perf_counter() - begin, children_cpu_s() - cpu_before


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
