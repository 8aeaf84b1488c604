"""SAM 2 through a long video: memory and time a frame, ours and the stock predictor's.

    python benchmarks/sam2_memory.py [--frames 2000] [--image-size 256] [--objects 1] [--threads 2]

The network is SAM 2.1 tiny with random weights on the CPU, the frames are made by code. Each
predictor runs in a fresh process with a worker's memory settings. Printed at some frames: MiB
resident, of which so many since the network was loaded (the stock predictor then loads its
frames), and the bytes and the number of tensors of the outputs in the predictor's state. Ours
goes on to time a frame early and late: two videos in turns, one at frames 51-150 and one
at its last hundred, so that whatever else the machine does slows both alike; medians.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workers.launch import WORKER_ENVIRONMENT

SHOWN = (50, 100, 200, 500, 1000, 1500, 2000, 5000)
TURNS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", choices=["ours", "stock"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        measure(asked)
        return
    for which in ("ours", "stock"):
        command = [sys.executable, *sys.argv, "--one", which]
        subprocess.run(
            command, env=os.environ | WORKER_ENVIRONMENT, stderr=subprocess.DEVNULL, check=True
        )


def measure(asked: argparse.Namespace) -> None:
    import torch

    from pipeline.stages.matting.sam2.network import build_network
    from pipeline.stages.matting.sam2.predictor import BoundedPredictor

    torch.set_num_threads(asked.threads)
    torch.manual_seed(1)
    network = build_network("tiny", options={"image_size": asked.image_size})
    with torch.no_grad():  # a random network would see no object in half of all videos
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(1)
    predictor = BoundedPredictor(network)
    size = asked.image_size

    def begin(num_frames: int) -> tuple[Any, Iterator[Any]]:
        tracking = predictor.start(made_frames(num_frames, size), size, size)
        for number in range(asked.objects):
            predictor.add_points(tracking, 0, number, [(size / 2, size / 3 + number)], [1])
        return tracking, predictor.propagate(tracking, 0, num_frames)

    _, warm_up = begin(20)
    for _ in warm_up:
        pass
    before = resident()
    print(f"{asked.one}: frame, MiB resident, since loading, MiB of outputs, tensors")
    if asked.one == "stock":
        frames = made_frames(asked.frames, size)
        state = predictor.start(frames, size, size).stock
        state["images"] = torch.zeros(asked.frames, 3, size, size)  # as `load_video_frames` does
        for number in range(asked.frames):
            state["images"][number] = frames[number]
        for number in range(asked.objects):
            network.add_new_points_or_box(
                state, 0, number, points=[[size / 2, size / 3 + number]], labels=[1]
            )
        for number, _ in enumerate(network.propagate_in_video(state), 1):
            if number in SHOWN:
                show(number, before, state)
        return

    tracking, answers = begin(asked.frames)
    for number in range(1, asked.frames - TURNS + 1):
        next(answers)
        if number in SHOWN:
            show(number, before, tracking.stock)
    _, young = begin(50 + TURNS)
    for _ in range(50):
        next(young)
    early, late = [], []
    for _ in range(TURNS):
        early.append(timed(young))
        late.append(timed(answers))
    show(asked.frames, before, tracking.stock)
    first, last = (statistics.median(times) * 1000 for times in (early, late))
    print(
        f"ms a frame: {first:.1f} at 51-150, {last:.1f} at "
        f"{asked.frames - TURNS + 1}-{asked.frames}: {100 * (last / first - 1):+.1f} %"
    )


def made_frames(num_frames: int, size: int) -> Any:
    import torch

    from pipeline.stages.matting.sam2.frames import LazyFrames

    def read(start: int, stop: int) -> Iterator[Any]:
        for frame in range(start, stop):
            noise = torch.Generator().manual_seed(frame)
            coarse = torch.randint(0, 256, (3, 16, 16), generator=noise, dtype=torch.uint8)
            yield coarse.repeat_interleave(size // 16, 1).repeat_interleave(size // 16, 2)

    return LazyFrames(read, num_frames, size)


def show(number: int, before: int, state: dict[str, Any]) -> None:
    import torch

    storages, tensors = {}, 0
    rest = [value for key, value in state.items() if key not in ("images", "cached_features")]
    while rest:
        value = rest.pop()
        if isinstance(value, torch.Tensor):
            tensors += 1
            storages[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        elif isinstance(value, dict):
            rest += value.values()
        elif isinstance(value, list | tuple):
            rest += value
    held = sum(storages.values())
    now = resident()
    sizes = f"{now / 2**20:8.1f} {(now - before) / 2**20:8.1f} {held / 2**20:8.2f}"
    print(f"  {number:6} {sizes} {tensors:7}", flush=True)


def timed(answers: Iterator[Any]) -> float:
    begun = time.perf_counter()
    next(answers)
    return time.perf_counter() - begun


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
