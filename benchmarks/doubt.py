"""Measures what doubts go by, on clips whose mattes are known to be right or wrong.

    python benchmarks/doubt.py table FOLDER [--config FILE] [--frames 60]
    python benchmarks/doubt.py cost

`table`: FOLDER holds the folders `right` and `wrong`, with clips named MODEL__NAME.mp4 (or another
ending; layout and projection go by the tags in NAME, as everywhere). Each is matted by the model in
its name, without encoders, and judged as a run would judge it. A file of settings beside a clip,
MODEL__NAME.yaml, overrides --config for it. Printed is a row a clip: the measures, and the verdict.
Exit status 1: a verdict is wrong.

`cost`: CPU ms a frame of one thread that the whole judge takes, and of that what the doubts take,
medians of 15, over made-up pictures of several sizes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from orchestrator.settings.settings import load_settings, video_settings
from pipeline.clip import ClipReader, prepared_data
from pipeline.contract import Finding, SegmentJob, chunk_frames
from pipeline.engines.choice import settled_engine
from pipeline.judge.doubt import doubts, measures
from pipeline.judge.findings import Judged
from pipeline.judge.meter import MatteMeter
from pipeline.judge.shape import ShapeMeter
from pipeline.judge.sums import Shape
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.source.decode import FrameReader
from pipeline.source.timing.frame_index import index_of
from pipeline.source.video_info import read_video
from pipeline.stages.chain import Chain, eyes_of
from pipeline.stages.matting.catalogue import facts_of

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
    table = kinds.add_parser("table")
    table.add_argument("folder", type=Path)
    table.add_argument("--config", type=Path)
    table.add_argument("--frames", type=int, default=60)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.kind == "cost":
        for name, *size in SIZES:
            whole, part = cost(*size)
            print(f"{name:24s} {whole:.2f} ms a frame, of which doubts {part:.2f}")
        return
    sys.exit(0 if tell(asked.folder, asked.config, asked.frames) else 1)


def tell(folder: Path, config: Path | None, frames: int) -> bool:
    """Print the table; whether all verdicts are right."""
    all_right = True
    print("| matte | model | clip | frames | measures | verdict |\n|---|---|---|---|---|---|")
    for truth in ("right", "wrong"):
        for clip in sorted((folder / truth).iterdir()):
            if clip.suffix == ".yaml":
                continue
            model, _, name = clip.stem.partition("__")
            own = clip.with_suffix(".yaml")
            sums = Judged.read(matted(clip, model, own if own.exists() else config, frames)).sums
            found = doubts(sums, model)
            all_right &= bool(found) == (truth == "wrong")
            said = ", ".join(f"{kind} {share:.2f}" for kind, share in measures(sums).items())
            verdict = ", ".join(doubt.kind for doubt in found) or "no doubt"
            print(
                f"| {truth} | {model} | {name} | {sums.frames} | {said} | {verdict} |", flush=True
            )
    return all_right


@torch.inference_mode()
def matted(clip: Path, model: str, config: Path | None, frames: int) -> tuple[Finding, ...]:
    """What the stages find of the first frames."""
    settings = video_settings(load_settings(config, {"matting": {"model": model}}))
    processing = settled_engine(settings.processing, facts_of(settings.matting).engines, CPU.type)
    settings = replace(settings, processing=processing)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = read_video(clip, folder / "index.json", None)
        stop = min(frames, video.num_frames)
        job = SegmentJob(video, settings, 0, 0, stop, str(folder / "index.json"), name)
        reader = FrameReader(video, index_of(video, folder / "index.json"), CPU, threads=1)
        chain = Chain.of(settings, CPU)
        prepared = prepared_data(job, chain.stages, ClipReader(job, reader))
        passing = chain.start(video.eye_shape, prepared)
        chunk = chunk_frames(video, settings.streaming)
        decoded = chain.decoded(reader, video, 0, stop, chunk)
        for _ in passing.layers(eyes_of(decoded, video), 0, stop):
            pass
        return passing.findings(0, stop)


class TimedMeter(ShapeMeter):
    """Adds up the seconds of the processor that it takes."""

    def __init__(self) -> None:
        super().__init__("equirect180")
        self.taken_s = 0.0

    def add(self, rgb: torch.Tensor, alpha: torch.Tensor) -> None:
        begin = time.thread_time()
        super().add(rgb, alpha)
        self.taken_s += time.thread_time() - begin

    def shapes(self) -> list[Shape]:
        begin = time.thread_time()
        found = super().shapes()
        self.taken_s += time.thread_time() - begin
        return found


def cost(eyes: int, height: int, width: int, frames: int) -> tuple[float, float]:
    """Of the whole meter, and of the part that measures for doubts."""
    whole = torch.randint(0, 256, (frames, 3, height, width * eyes), dtype=torch.uint8)
    rgb = whole.view(frames, 3, height, eyes, width).permute(0, 3, 1, 2, 4)
    # A disc with a noisy edge, of half the picture's width.
    down, across = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    disc = (0.5 - torch.hypot(down, across)) * 20
    alpha = (disc + torch.rand(frames, eyes, 1, height, width)).clamp_(0, 1)
    cache = torch.empty(64 << 20, dtype=torch.uint8)
    taken: list[tuple[float, float]] = []
    for turn in range(TURNS):
        cache.fill_(turn)
        meter, timed = MatteMeter(height, width, "equirect180"), TimedMeter()
        meter.shapes = timed
        begin = time.thread_time()
        meter.add(EyeBatch(rgb, 0), MatteBatch(alpha, None, 0))
        meter.measures(None)
        taken.append((time.thread_time() - begin, timed.taken_s))
    whole_s, part_s = (statistics.median(column) for column in zip(*taken, strict=True))
    return 1000 * whole_s / frames, 1000 * part_s / frames


if __name__ == "__main__":
    main()
