"""What SAM 2 takes of memory by its size: the figures behind
`orchestrator/machine/segment_memory.py`.

    python benchmarks/sam2_footprint.py [--sizes tiny,small] [--image-size 1024] [--frames 9]

For each size a fresh process on the CPU, with a worker's memory settings, builds the network with
random weights in 32 bits and follows one object through some frames: by the eighth it reads all
the memories that it ever reads. Printed are MiB of the network's weights, MiB that are resident
beyond the loaded network at the peak, and seconds a frame.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

from sam2_memory import made_frames, resident

from workers.launch import WORKER_ENVIRONMENT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="tiny,small,base_plus,large")
    parser.add_argument("--image-size", type=int, default=1024)
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        measure(asked.one, asked.image_size, asked.frames, asked.threads)
        return
    print("size, MiB of weights, beyond it at the peak, seconds a frame", flush=True)
    for size in asked.sizes.split(","):
        command = [sys.executable, *sys.argv, "--one", size]
        subprocess.run(command, env=os.environ | WORKER_ENVIRONMENT, check=True)


def measure(size: str, image_size: int, num_frames: int, threads: int) -> None:
    import torch

    from pipeline.stages.matting.sam2.network import build_network
    from pipeline.stages.matting.sam2.predictor import BoundedPredictor

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    network = build_network(size, options={"image_size": image_size})  # type: ignore[arg-type]
    with torch.no_grad():  # a random network would see no object in half of all videos
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(1)
    loaded = resident()
    predictor = BoundedPredictor(network)
    frames = made_frames(num_frames, image_size)
    cells = image_size // 4
    tracking = predictor.start(frames, cells, cells)
    predictor.add_points(tracking, 0, 1, [(cells / 2, cells / 3)], [1])
    begun = time.perf_counter()
    for _ in predictor.propagate(tracking, 0, num_frames):
        pass
    seconds = (time.perf_counter() - begun) / num_frames
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    weights = sum(one.numel() * one.element_size() for one in network.state_dict().values())
    figures = [weights, peak - loaded]
    text = " ".join(f"{figure / 2**20:8.0f}" for figure in figures)
    print(f"  {size:>10} {text} {seconds:8.2f}", flush=True)


if __name__ == "__main__":
    main()
