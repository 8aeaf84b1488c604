"""Measures the cost of the matte's quality measures, and their values on real mattes.

    python benchmarks/matte_flags.py cost
    python benchmarks/matte_flags.py video CLIP [--config FILE] [--layout sbs] [--frames N]

`cost`: CPU ms a frame of one thread, median of 15, over made-up pictures of several sizes, with
caches swept before each. `video`: the whole clip as one segment, without encoders: CPU ms a frame
of the model, the refiner and the meter; the largest of each measure; the flags.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from orchestrator.settings.settings import load_settings, video_settings
from pipeline.clip import ClipReader, prepared_data
from pipeline.contract import SegmentJob, chunk_frames
from pipeline.engines.choice import settled_engine
from pipeline.judge.flags import (
    FrameMeasures,
    is_flag,
    joined,
    jump,
    segment_flags,
    without_echoes,
)
from pipeline.judge.meter import MatteMeter
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.source.decode import FrameReader
from pipeline.source.timing.frame_index import index_of
from pipeline.source.video_info import read_video
from pipeline.stages.chain import Chain, eyes_of
from pipeline.stages.matting.catalogue import facts_of
from pipeline.stages.stereo.stage import DISAGREEMENT

#: Name, eyes, height and width of an eye, frames in a chunk.
SIZES = (
    ("1280x720 mono", 1, 720, 1280, 4),
    ("1280x640 side by side", 2, 640, 640, 4),
    ("3840x1920 side by side", 2, 1920, 1920, 4),
    ("8192x4096 side by side", 2, 4096, 4096, 1),
)
TURNS = 15
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("cost")
    video = kinds.add_parser("video")
    video.add_argument("clip", type=Path)
    video.add_argument("--config", type=Path)
    video.add_argument("--layout", choices=["mono", "sbs", "tb"])
    video.add_argument("--frames", type=int)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.kind == "cost":
        for size in SIZES:
            print(f"{size[0]:24s} {cost(*size[1:]):.2f} ms a frame")
    else:
        with tempfile.TemporaryDirectory() as folder:
            measure(asked, Path(folder))


def cost(eyes: int, height: int, width: int, frames: int) -> float:
    whole = torch.randint(0, 256, (frames, 3, height, width * eyes), dtype=torch.uint8)
    rgb = whole.view(frames, 3, height, eyes, width).permute(0, 3, 1, 2, 4)
    alpha = torch.rand(frames, eyes, 1, height, width)
    meter = MatteMeter(height, width, "equirect180")
    cache = torch.empty(64 << 20, dtype=torch.uint8)
    taken = []
    for turn in range(TURNS):
        cache.fill_(turn)
        begin = time.thread_time()
        meter.add(EyeBatch(rgb, 0), MatteBatch(alpha, None, 0))
        taken.append((time.thread_time() - begin) / frames)
    return 1000 * statistics.median(taken)


@torch.inference_mode()
def measure(asked: argparse.Namespace, folder: Path) -> None:
    settings = video_settings(load_settings(asked.config, {}))
    video = read_video(asked.clip, folder / "index.json", asked.layout)
    stop = min(asked.frames or video.num_frames, video.num_frames)
    job = SegmentJob(video, settings, 0, 0, stop, str(folder / "index.json"), str(folder))
    reader = FrameReader(video, index_of(video, folder / "index.json"), CPU, threads=1)
    processing = settled_engine(settings.processing, facts_of(settings.matting).engines, CPU.type)
    settings = replace(settings, processing=processing)
    whole = Chain.of(settings, CPU)
    chain = Chain([stage for stage in whole.stages if stage.name != "judge"])
    meter = MatteMeter(*video.eye_size, video.projection)
    disagreement: dict[int, float] = {}
    taken: dict[str, float] = defaultdict(float)

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        begin = time.process_time()
        yield
        taken[name] += time.process_time() - begin

    passing = chain.start(
        video.eye_shape, prepared_data(job, chain.stages, ClipReader(job, reader)), timed
    )
    decoded = chain.decoded(reader, video, 0, stop, chunk_frames(video, settings.streaming))
    for layers in passing.layers(eyes_of(decoded, video), 0, stop):
        with timed("meter"):
            meter.add(layers.eyes, layers.matte)
        values = layers.figures.get(DISAGREEMENT, ())
        disagreement.update(zip(range(layers.start, layers.stop), values, strict=False))
    print("CPU ms a frame:", {n: round(1000 * s / stop, 2) for n, s in taken.items()})
    tell(meter.measures(disagreement or None), float(video.frame_rate))


def tell(measures: list[FrameMeasures], frame_rate: float) -> None:
    borders = {m.frame: m.as_border() for m in measures}
    eyes = range(len(measures[0].area))
    found = [jump(borders, m.frame, eye) for m in measures[1:] for eye in eyes]
    print(f"areas {min(min(m.area) for m in measures)} to {max(max(m.area) for m in measures)}")
    print(f"jump {max(found, default=0.0):.4f}")
    print(f"flicker {max(max(m.restless) for m in measures):.4f}")
    print(f"eyes_disagree {max(m.disagreement for m in measures):.4f}")
    print(f"touches_edge {max(max(m.edge) for m in measures):.4f}")
    runs = joined(segment_flags(measures, frame_rate)[0], frame_rate)
    for flag in without_echoes([run for run in runs if is_flag(run, frame_rate)]):
        print(flag)


if __name__ == "__main__":
    main()
