"""The pipeline without processes: one video through probe, segments and finish."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import torch

from orchestrator.plan.part import frames_taken
from pipeline.contract import (
    FinishJob,
    Layout,
    MattingSettings,
    SegmentJob,
    StereoSettings,
    StreamingSettings,
    VideoInfo,
    VideoSettings,
)
from pipeline.contract import segment_frames as frames_of_a_segment
from pipeline.deliverables.base import make_deliverable
from pipeline.finish import finish_video
from pipeline.segment import run_segment
from pipeline.source.video_info import read_video
from pipeline.stages.catalogue import output_video
from pipeline.stages.chain import Chain

CPU = torch.device("cpu")


def chroma_settings(
    segment_frames: int = 20, start_frame: int = 0, max_frames: int | None = None
) -> VideoSettings:
    return VideoSettings(
        start_frame=start_frame,
        max_frames=max_frames,
        streaming=StreamingSettings(segment_frames=segment_frames),
        matting=MattingSettings(model="chroma"),
        stereo=StereoSettings(mode="independent"),
    )


def render(
    source: Path,
    folder: Path,
    settings: VideoSettings,
    *,
    layout: Layout | None = "sbs",
    shuffle: int | None = None,
) -> tuple[VideoInfo, Path]:
    """Make one format of `source` in `folder`; `shuffle` seeds the order of the segments."""
    video, [target] = render_each(source, folder, settings, layout=layout, shuffle=shuffle)
    return video, target


def render_each(
    source: Path,
    folder: Path,
    settings: VideoSettings,
    *,
    layout: Layout | None = "sbs",
    shuffle: int | None = None,
) -> tuple[VideoInfo, list[Path]]:
    """Make all formats of the settings, in their order, as `render` makes one."""
    folder.mkdir(parents=True, exist_ok=True)
    index_path = folder / "index.json"
    video = read_video(source, index_path, layout)
    chain = Chain.of(settings, CPU)
    video = video.every_nth(settings.every, settings.phase)
    first, stop = frames_taken(video, settings)
    step = frames_of_a_segment(video, settings.streaming)
    cuts = [first, *range((first // step + 1) * step, stop, step), stop]
    jobs = [
        SegmentJob(video, settings, number, a, b, str(index_path), str(folder))
        for number, (a, b) in enumerate(pairwise(cuts))
    ]
    order = list(jobs)
    if shuffle is not None:
        random.Random(shuffle).shuffle(order)
    results = {job.number: run_segment(job, chain, CPU) for job in order}
    parts = tuple(results[job.number] for job in jobs)
    shown = output_video(video, settings)
    targets = [
        folder / f"{source.stem}_matte{make_deliverable(name, shown, settings).suffix}"
        for name in settings.deliverables
    ]
    finish_video(FinishJob(video, settings, parts, tuple(map(str, targets)), str(folder)))
    return video, targets
