"""Milliseconds a frame of decoding, of both colour conversions and of a model, each alone.

    python benchmarks/stages.py CLIP [--config FILE] [--model M] [--threads N] [--frames N]

Medians over batches of 4 frames on the CPU; memory is managed as in a worker only if
`workers.launch.WORKER_ENVIRONMENT` is in the environment (`--worker-memory` sees to that).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from workers.launch import WORKER_ENVIRONMENT

CHUNK = 4


def median_ms(work: Callable[[], object], rounds: int) -> float:
    work()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--worker-memory", action="store_true")
    asked = parser.parse_args()
    if asked.worker_memory and not set(WORKER_ENVIRONMENT) <= set(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | WORKER_ENVIRONMENT)
    measure(asked.clip, asked.config, asked.model, asked.threads, asked.frames)


def measure(clip: Path, config: Path | None, model: str | None, threads: int, frames: int) -> None:
    import torch

    from orchestrator.settings.settings import load_settings
    from pipeline.clip import ClipReader
    from pipeline.contract import SegmentJob, VideoSettings
    from pipeline.engines.choice import settled_engine
    from pipeline.pixels.color import YuvFormat, resolve_matrix, yuv_to_rgb
    from pipeline.pixels.eyes import split_eyes
    from pipeline.source.reader import open_reader
    from pipeline.source.timing.frame_index import FrameIndex
    from pipeline.source.video_info import read_video
    from pipeline.stages.matting.base import load_model
    from pipeline.stages.matting.catalogue import facts_of
    from pipeline.torchcodec_import import decoders

    torch.set_num_threads(threads)
    cpu = torch.device("cpu")
    settings = load_settings(config, {})
    matting = settings.matting if model is None else replace(settings.matting, model=model)
    with tempfile.TemporaryDirectory() as folder:
        index_path = Path(folder) / "index.json"
        video = read_video(clip, index_path, None)
        reader = open_reader(video, FrameIndex.load(index_path), cpu)
        demuxer = decoders.Demuxer(video.path, streams=video.stream)
        decoder = demuxer.streams[0].make_decoder(num_ffmpeg_threads=1)
        raw = next(raw for packet in demuxer for raw in decoder.decode(packet))
        form = YuvFormat(resolve_matrix(video), video.color.full_range, raw.bit_depth)
        out = torch.empty(3, video.height, video.width, dtype=torch.uint8)
        planes = tuple(raw.planes)
        converter = decoders.ColorConverter()
        print(f"{clip.name}: {video.width}x{video.height}, {threads} threads, ms a frame")
        print(f"  planes to RGB  {median_ms(lambda: yuv_to_rgb(planes, form, out), 20):7.1f}")
        swscale = median_ms(lambda: converter.convert(raw).data.contiguous(), 20)
        print(f"  by swscale     {swscale:7.1f}")
        begin = time.perf_counter()
        batches = list(reader.batches(0, min(frames, video.num_frames), CHUNK))
        read_s = time.perf_counter() - begin
        print(f"  decode + RGB   {read_s * 1000 / sum(map(len, batches)):7.1f}")

        processing = settled_engine(settings.processing, facts_of(matting).engines, cpu.type)
        network = load_model(matting, processing, cpu)
        job = SegmentJob(video, VideoSettings(), 0, 0, 1, str(index_path), folder)
        height, width = video.eye_size
        prepared = network.prepare(ClipReader(job, reader))
        state = network.start(video.eyes, height, width, prepared)
        feed = iter(batches * 2)
        took = median_ms(
            lambda: network.matte(split_eyes(next(feed), video.layout), state), len(batches) - 1
        )
        print(f"  {matting.model:14} {took / CHUNK:7.1f}")


if __name__ == "__main__":
    main()
