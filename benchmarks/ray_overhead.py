"""Measures the cost of a Ray cluster: the demo batch by two local workers, and by two nodes.

    python benchmarks/ray_overhead.py [--rounds 2] [--model depth] [--seconds 4]

The cluster is up before the clock starts. Two figures of each run: the whole command, and from the
first worker's start to the run's end, by its own log, which leaves out joining the cluster and the
look at its nodes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from orchestrator.demo.demo import make_demo
from tests.ray_cluster import QUIET, RayCluster


def worked_s(out: Path) -> float:
    """From the first life's start to the end of the last, in seconds."""
    log = (out / ".vrmatte/logs/orchestrator.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in log]
    times = [
        datetime.fromisoformat(event["timestamp"])
        for event in events
        if event["event"] in ("spawned", "worker_exited")
    ]
    return (times[-1] - times[0]).total_seconds()


def measure(videos: Path, out: Path, model: str, where: list[str]) -> tuple[float, float]:
    """Seconds of the whole command, and of the work alone."""
    command = [sys.executable, "-m", "orchestrator.cli", "run", str(videos), "-o", str(out)]
    command += ["--model", model, "--gpus", "none", "--lanes", "1", "--fresh", *where]
    began = time.monotonic()
    subprocess.run(
        command,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **QUIET},
    )
    return time.monotonic() - began, worked_s(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default="depth")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each demo clip")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_demo(folder / "videos", seconds=asked.seconds)
        cluster = RayCluster(folder / "mark")
        try:
            cluster.add()
            cluster.add()
            kinds = {
                "local": ["--cpu-workers", "2"],
                "ray": ["--cpu-workers", "1", "--backend", "ray", "--address", cluster.address],
            }
            figures: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
            for turn in range(asked.rounds):
                for kind, where in kinds.items():
                    seconds = measure(
                        folder / "videos", folder / f"{kind}{turn}", asked.model, where
                    )
                    figures[kind].append(seconds)
                    print(
                        f"{kind:6} whole {seconds[0]:6.1f} s   work {seconds[1]:6.1f} s", flush=True
                    )
        finally:
            cluster.end()
    for number, what in enumerate(("whole", "work")):
        local, ray = (statistics.median(f[number] for f in figures[kind]) for kind in kinds)
        print(f"{what}: {100 * (ray / local - 1):+.1f} %")


if __name__ == "__main__":
    main()
