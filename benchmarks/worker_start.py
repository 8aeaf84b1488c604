"""CPU time until a worker has started, and its memory in a segment: checkouts in turn.

    python benchmarks/worker_start.py CLIP ROUNDS CHECKOUT...

In each round every checkout starts a worker with the model `chroma`, which makes one segment of
CLIP, a video on a green screen. Printed are the medians: user and system time of the worker's
process when it is ready, and when it has made its first chunk of frames (what decodes and encodes
is imported then, so that for a tiny clip this is the cost of a start), and the peak of its resident
memory when the segment is done. All checkouts use the environment of the Python that runs this.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

COLUMNS = ("CPU s to ready", "CPU s to first frames", "peak MB")

PROGRAM = """
import json, sys
from multiprocessing.connection import wait
from pathlib import Path
import psutil
from pipeline.contract import MattingSettings, SegmentJob, VideoSettings
from pipeline.source.video_info import read_video
from workers.launch import launch
from workers.messages import (
    DoTask, ModelChoice, SegmentDone, StopWorker, TaskId, TaskProgress, WorkerReady, WorkerSetup)

if __name__ == "__main__":
    clip, folder = Path(sys.argv[1]), Path(sys.argv[2])
    index = folder / "index.json"
    video = read_video(clip, index, "sbs")
    settings = VideoSettings(matting=MattingSettings(model="chroma"))
    setup = WorkerSetup(
        device="cpu", lanes=1, log_path=str(folder / "log.jsonl"), progress_s=0.0,
        model=ModelChoice.of(settings))
    job = SegmentJob(video, settings, 0, 0, video.num_frames, str(index), str(folder))
    worker = launch(0, 1, setup)
    process, found, done = psutil.Process(worker.pid), {}, False
    while not done:
        wait([worker.connection])
        for report in worker.receive():
            times = process.cpu_times()
            if isinstance(report, WorkerReady):
                found["ready"] = times.user + times.system
                worker.send(DoTask(TaskId("clip", 0), 1, job))
            elif isinstance(report, TaskProgress):
                found.setdefault("first", times.user + times.system)
            else:
                assert isinstance(report, SegmentDone), report
                done = True
    status = Path(f"/proc/{worker.pid}/status").read_text()
    found["peak"] = int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    worker.send(StopWorker())
    worker.join()
    print(json.dumps(list(found.values())))
"""


def main() -> None:
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    clip, rounds = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    checkouts = [Path(word).resolve() for word in sys.argv[3:]]
    found: dict[Path, list[list[float]]] = {checkout: [] for checkout in checkouts}
    for _ in range(rounds):
        for checkout in checkouts:
            found[checkout].append(measured(clip, checkout))
    print(f"{'checkout':40}", *(f"{name:>22}" for name in COLUMNS))
    for checkout, rows in found.items():
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        print(f"{str(checkout)[-40:]:40}", *(f"{value:22.2f}" for value in medians))


def measured(clip: Path, checkout: Path) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "start_worker.py"
        program.write_text(PROGRAM)
        done = subprocess.run(
            [sys.executable, str(program), str(clip), folder],
            env=os.environ | {"PYTHONPATH": str(checkout)},
            stdout=subprocess.PIPE,
            check=True,
        )
    values: list[float] = json.loads(done.stdout)
    return values


if __name__ == "__main__":
    main()
