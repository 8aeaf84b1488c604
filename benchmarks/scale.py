"""How the fleet does when it is large: a simulation with made-up workers, no process and no file.

    python benchmarks/scale.py [--gpus 64] [--videos 1000] [--segments 400] [--death-hours 8]
                               [--progress-s 10] [--joins 0]

Videos are unequal (log-normal, median a tenth of the longest); a lane makes a segment of 600 frames
in a minute, 20 % more or less; workers die at random and are started again. The bound is the work
shared evenly by all lanes, and one last segment with the joining of its video: no order of the work
can end before. CPU seconds are those of this thread.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.orchestrator.timeline import Timeline, unequal_videos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--segments", type=int, default=400, help="of the longest video")
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--death-hours", type=float, default=8.0, help="mean, of a worker; 0: none")
    parser.add_argument("--progress-s", type=float, default=10.0, help="0: no reports of progress")
    parser.add_argument("--joins", type=int, default=0, help="workers that come after half an hour")
    asked = parser.parse_args()
    jobs = unequal_videos(asked.videos, seed=7, most=asked.segments)
    line = Timeline(
        jobs,
        asked.gpus,
        lanes=asked.lanes,
        death_s=3600 * asked.death_hours,
        progress_s=asked.progress_s,
        joins_at=[1800.0] * asked.joins,
    )
    line.run()
    done = sum(video.status == "done" for video in line.fleet.snapshot().videos)
    segments = sum(len(job.segments) for job in jobs)
    print(f"{asked.gpus} GPUs, {asked.videos} videos, {segments} segments: {done} done")
    print(f"deaths          {line.deaths}")
    print(f"makespan        {line.now / 3600:.3f} h")
    if not asked.joins:
        print(f"bound           {line.bound_s / 3600:.3f} h")
        print(f"over the bound  {100 * (line.now / line.bound_s - 1):.1f} %")
    print(f"events          {line.events}, {line.reports} of them reports of progress")
    print(f"each second     {line.events / line.handling_s:.0f} events")
    print(f"slowest event   {1000 * line.slowest_s:.1f} ms")
    print(f"snapshot        {1000 * line.looking_s / line.looks:.3f} ms, with the next deadline")


if __name__ == "__main__":
    main()
