"""Measures the cost of making the eyes agree, beside the model's: milliseconds a frame.

    python benchmarks/stereo.py [--config FILE] [--model M] [--eye 480x540] [--threads N]
                                [--frames N] [--rounds N] [--device cpu]

The model and `pipeline/stages/stereo/refiner.py` take turns on the same pictures of the demo's
room, in chunks of 4, so that whatever else the machine does slows both. Printed are medians of the
wall clock and of the processor's time (all threads): the model; the true mattes, with which nothing
is to be mended; and the same with the lower part of one eye's lost, where every frame is mended.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

CHUNK = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--model", default="rvm")
    parser.add_argument("--eye", default="480x540")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    measure(parser.parse_args())


def measure(asked: argparse.Namespace) -> None:
    import torch

    from orchestrator.demo.scene import Scene
    from orchestrator.settings.settings import load_settings
    from pipeline.contract import StereoSettings
    from pipeline.engines.choice import settled_engine
    from pipeline.pixels.batches import EyeBatch, MatteBatch
    from pipeline.stages.matting.base import load_model
    from pipeline.stages.matting.catalogue import facts_of
    from pipeline.stages.stereo.refiner import StereoRefiner

    torch.set_num_threads(asked.threads)
    device = torch.device(asked.device)
    width, height = map(int, asked.eye.split("x"))
    settings = load_settings(asked.config, {})
    matting = replace(settings.matting, model=asked.model)
    processing = settled_engine(settings.processing, facts_of(matting).engines, device.type)
    model = load_model(matting, processing, device)

    scene = Scene(asked.frames, eye_size=2 * -(-max(width, height) // 2))
    frames = range(asked.frames)
    rgb = torch.stack([torch.from_numpy(scene.picture(n, "room")) for n in frames])
    rgb = rgb.permute(0, 1, 4, 2, 3)[..., :height, :width].contiguous().to(device)
    alpha = torch.stack([torch.from_numpy(scene.alpha(n)) for n in frames])[:, :, None]
    alpha = alpha[..., :height, :width].contiguous().to(device)
    lost = alpha.clone()
    lost[:, 0, :, height // 2 :] = 0
    colours = rgb.float() / 255
    batches = [slice(at, at + CHUNK) for at in range(0, asked.frames, CHUNK)]

    def run_model() -> None:
        state = model.start(2, height, width, {})
        for part in batches:
            model.matte(EyeBatch(rgb[part], part.start), state)

    def run_stereo(mattes: torch.Tensor) -> StereoRefiner:
        refiner = StereoRefiner(StereoSettings(mode="fuse"), 2, height, width)
        for part in batches:
            matte = MatteBatch(mattes[part], colours[part], part.start)
            refiner.refine(EyeBatch(rgb[part], part.start), matte)
        return refiner

    works: dict[str, Callable[[], object]] = {
        asked.model: run_model,
        "stereo, nothing to mend": lambda: run_stereo(alpha),
        "stereo, all mended": lambda: run_stereo(lost),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(asked.rounds + 1):
        for name, work in works.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))

    mended = len(run_stereo(lost).summary().mended_frames)
    print(f"two eyes of {width}x{height}, {asked.threads} threads, {device}; ms a frame")
    print(f"({mended} of {asked.frames} mended)                wall   share    cpu   share")
    medians = {
        name: [
            statistics.median(column) * 1000 / asked.frames
            for column in zip(*spent[1:], strict=True)
        ]
        for name, spent in times.items()
    }
    for name, (wall, cpu) in medians.items():
        whole = medians[asked.model]
        print(f"  {name:24}{wall:8.1f} {wall / whole[0]:6.1%} {cpu:7.1f} {cpu / whole[1]:6.1%}")


if __name__ == "__main__":
    main()
