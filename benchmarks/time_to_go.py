"""How near the time to go of a run is to the truth: what it shows on its way, and how it ended.

    python benchmarks/time_to_go.py [VIDEO...] [--model M] [--cpu-workers N] [--json FILE]
                                    [-- OPTIONS OF vrmatte run]

Without videos the demo's three clips are made. The figures are those of ``OUT/.vrmatte/live.json``,
which others see as well (every two seconds). The truth is the moment at which the last worker has
ended. What was said counts as right within 20 % of what was left, or within 2 % of the whole run:
of its last second a fifth is nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.demo.demo import make_demo
from orchestrator.watch.standing import Standing, read_standing

LOOK_S = 0.5
WITHIN, OF_THE_WHOLE = 0.2, 0.02


@dataclass(frozen=True, slots=True)
class Said:
    """What was said at one moment, in seconds since the run's start."""

    at_s: float
    to_go_s: float | None
    share_done: float
    lanes_busy: int
    frames_done: int


def watch(command: list[str], out: Path) -> tuple[list[Said], float, int]:
    """What a run says on its way; how long it took; its exit status."""
    said: list[Said] = []
    started = ended = time.time()
    last = None
    with subprocess.Popen(command) as run:
        while run.poll() is None:
            time.sleep(LOOK_S)
            standing = read_standing(out)
            if standing is None or standing.pid != run.pid or standing.updated == last:
                continue
            last = standing.updated
            ended = standing.updated.timestamp()
            if standing.phase != "ended":
                said.append(said_by(standing, started))
        standing = read_standing(out)
        if standing is not None and standing.pid == run.pid:
            ended = standing.updated.timestamp()
        return said, ended - started, run.returncode


def said_by(standing: Standing, started: float) -> Said:
    tasks = [task for worker in standing.snapshot.workers for task in worker.tasks]
    return Said(
        at_s=standing.updated.timestamp() - started,
        to_go_s=standing.to_go_s,
        share_done=standing.share_done,
        lanes_busy=sum(task.task.segment is not None for task in tasks),
        frames_done=sum(video.frames_done for video in standing.snapshot.videos),
    )


def is_right(said: Said, end_s: float) -> bool:
    if said.to_go_s is None:
        return False
    left = end_s - said.at_s
    off = abs(said.to_go_s - left)
    return off <= WITHIN * left or off <= OF_THE_WHOLE * end_s


def report(said: list[Said], end_s: float) -> None:
    print(f"\n{end_s:.1f} s from the start of the run to its end\n")
    print("| of the run | after s | said s | was s | off |")
    print("|---|---|---|---|---|")
    for tenth in (0.1, 0.15, 0.2, 0.25, *(n / 10 for n in range(3, 10)), 0.95):
        moment = min(said, key=lambda each: abs(each.at_s - tenth * end_s))
        left = end_s - moment.at_s
        told, off = "nothing", ""
        if moment.to_go_s is not None:
            told, off = f"{moment.to_go_s:.0f}", f"{100 * (moment.to_go_s / left - 1):+.0f} %"
        print(f"| {100 * tenth:.0f} % | {moment.at_s:.0f} | {told} | {left:.0f} | {off} |")
    late = [each for each in said if each.at_s >= end_s / 4]
    right = [is_right(each, end_s) for each in late]
    offs = [
        abs(each.to_go_s / (end_s - each.at_s) - 1)
        for each in late
        if each.to_go_s is not None and end_s - each.at_s > OF_THE_WHOLE * end_s / WITHIN
    ]
    first = next((each.at_s for each in said if each.to_go_s is not None), None)
    if first is not None:
        print(f"\nfirst said after {first:.0f} s ({100 * first / end_s:.0f} % of the run)")
    print(
        f"right at {sum(right)} of {len(right)} moments from a quarter of the run on;"
        f" the worst was off by {100 * max(offs, default=0):.0f} % (but for the last tenth)"
    )
    for lanes, fps in speeds(said).items():
        print(f"{lanes} lanes at work: {fps:.2f} frames/s, {fps / lanes:.2f} each")


def speeds(said: list[Said]) -> dict[int, float]:
    """Frames a second of all lanes, by how many were at work from one moment to the next."""
    frames: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for before, after in itertools.pairwise(said):
        lanes = before.lanes_busy
        if lanes and lanes == after.lanes_busy and before.frames_done:
            frames[lanes] = frames.get(lanes, 0) + after.frames_done - before.frames_done
            seconds[lanes] = seconds.get(lanes, 0.0) + after.at_s - before.at_s
    return {lanes: frames[lanes] / seconds[lanes] for lanes in sorted(frames)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--model", default="depth")
    parser.add_argument("--cpu-workers", default="2")
    parser.add_argument("--json", type=Path)
    words = [*sys.argv[1:], "--"]
    mine, theirs = words[: words.index("--")], words[words.index("--") + 1 : -1]
    asked = parser.parse_args(mine)
    with tempfile.TemporaryDirectory(prefix="vrmatte-time-") as folder:
        videos = asked.videos or make_demo(Path(folder, "demo"))
        out = Path(folder, "out")
        command = [sys.executable, "-m", "orchestrator.cli", "run", *map(str, videos)]
        command += ["-o", str(out), "--model", asked.model, "--gpus", "none"]
        command += ["--cpu-workers", asked.cpu_workers, *theirs]
        print(os.getloadavg()[0], "is the machine's load before the run")
        said, end_s, status = watch(command, out)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(each) for each in said]))
    if len(said) < 2:
        print("too short a run to say anything")
        return 1
    report(said, end_s)
    return status


if __name__ == "__main__":
    sys.exit(main())
