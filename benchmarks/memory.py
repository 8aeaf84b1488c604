"""Measures the memory of one segment: figures of `orchestrator/machine/segment_memory.py`.

    python benchmarks/memory.py [--model M] [--config FILE] [--sizes 1920x960] [--chunks 1,4]

For each size and chunk a fresh process mattes one short segment of a synthetic clip on the CPU,
with a worker's memory settings. Printed are MiB beyond what the process holds with its model
loaded, and the same in bytes per pixel of the whole frame (both eyes). Then the peak of a VP9
encoder with alpha for each size (from about 500 MiB on, which its parent holds).
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from workers.launch import WORKER_ENVIRONMENT

FRAMES_AFTER_WARMUP = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="rvm")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--sizes", default="1920x960,3840x1920")
    parser.add_argument("--chunks", default="1,2,4")
    parser.add_argument("--one", nargs=2, metavar=("CLIP", "CHUNK"), help=argparse.SUPPRESS)
    parser.add_argument("--one-encoder", metavar="CLIP", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        measure(Path(asked.one[0]), int(asked.one[1]), asked.model, asked.config)
        return
    if asked.one_encoder:
        measure_encoder(Path(asked.one_encoder))
        return
    print(f"{asked.model}: size, chunk, MiB, bytes per pixel of a frame")
    with tempfile.TemporaryDirectory() as folder:
        for size in asked.sizes.split(","):
            clip = make_clip(Path(folder), size)
            for chunk in asked.chunks.split(","):
                command = [sys.executable, *sys.argv, "--one", str(clip), chunk]
                done = subprocess.run(
                    command, env=os.environ | WORKER_ENVIRONMENT, stdout=subprocess.PIPE, check=True
                )
                show(size, chunk, int(done.stdout))
            command = [sys.executable, *sys.argv, "--one-encoder", str(clip)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            show(size, "encoder", int(done.stdout))


def show(size: str, what: str, used: int) -> None:
    width, height = map(int, size.split("x"))
    print(f"  {size:>10} {what:>7} {used >> 20:6} {used / (width * height):7.1f}", flush=True)


def make_clip(folder: Path, size: str) -> Path:
    from pipeline.encode.ffmpeg_pipe import ffmpeg_path

    clip = folder / f"{size}_LR.mp4"
    command = [ffmpeg_path(), "-v", "error", "-nostdin", "-f", "lavfi"]
    command += ["-i", f"testsrc2=s={size}:r=30", "-frames:v", str(40), "-c:v", "libx264"]
    command += ["-preset", "ultrafast", "-pix_fmt", "yuv420p", str(clip)]
    subprocess.run(command, check=True)
    return clip


def measure(clip: Path, chunk: int, model: str, config: Path | None) -> None:
    import torch

    from orchestrator.settings.settings import load_settings, video_settings
    from pipeline.contract import SegmentJob
    from pipeline.engines.choice import settled_engine
    from pipeline.segment import run_segment
    from pipeline.source.video_info import read_video
    from pipeline.stages.chain import Chain
    from pipeline.stages.matting.catalogue import facts_of

    settings = video_settings(load_settings(config, {"matting": {"model": model}}))
    streaming = replace(settings.streaming, chunk_frames=chunk, warmup_frames=0)
    settings = replace(settings, streaming=streaming)
    cpu = torch.device("cpu")
    torch.set_num_threads(2)
    processing = settled_engine(settings.processing, facts_of(settings.matting).engines, cpu.type)
    settings = replace(settings, processing=processing)
    chain = Chain.of(settings, cpu)
    with tempfile.TemporaryDirectory() as folder:
        index_path = Path(folder) / "index.json"
        video = read_video(clip, index_path, None)
        before = resident()
        job = SegmentJob(video, settings, 0, 0, FRAMES_AFTER_WARMUP, str(index_path), folder)
        run_segment(job, chain, cpu)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(peak - before)


def measure_encoder(clip: Path) -> None:
    import torch

    from pipeline.contract import VideoSettings
    from pipeline.deliverables.webm import WebM
    from pipeline.source.video_info import read_video

    with tempfile.TemporaryDirectory() as folder:
        video = read_video(clip, Path(folder) / "index.json", None)
        encoder = WebM(video, VideoSettings()).open_segment(Path(folder) / "segment.webm")
        frame_bytes = video.even_width * video.even_height * 5 // 2
        for _ in range(FRAMES_AFTER_WARMUP):
            encoder.write(torch.randint(0, 255, (1, frame_bytes), dtype=torch.uint8))
        encoder.close()
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
