"""Some frames of a video as a run would matte them, without encoders: for choosing settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipeline.clip import ClipReader, prepared_data
from pipeline.contract import SegmentJob
from pipeline.pixels.eyes import join_eyes, split_eyes
from pipeline.pixels.projection import field_of_view
from pipeline.source.decode import FrameReader
from pipeline.source.frame_index import index_of
from pipeline.stages.matting.base import load_model
from pipeline.stages.stereo.refiner import StereoRefiner


@dataclass(frozen=True, slots=True)
class Shown:
    """One frame; whole pictures, on the CPU.

    Attributes:
        number: of the output frame.
        source: uint8 ``[3, H, W]``.
        foreground: uint8 ``[3, H, W]``, the subject's own colours.
        alpha: uint8 ``[H, W]``.
    """

    number: int
    source: Tensor
    foreground: Tensor
    alpha: Tensor


def preview_frames(
    job: SegmentJob, frames: Sequence[int], device: torch.device, at_once: int = 1
) -> Iterator[Shown]:
    """Each of the frames, in order, after as many warm-up frames as begin a segment.

    Args:
        job: of the video, for its settings and places; which frames it has does not matter.
        at_once: how many of them are worked on, each by a thread of its own.

    Raises:
        VrmatteError: by its kind.
    """
    video, settings = job.video, job.settings
    index = index_of(video, Path(job.index_path))

    def set_threads() -> None:
        torch.set_num_threads(settings.processing.intra_op_threads)

    def reader() -> FrameReader:
        threads = settings.processing.decode_threads
        return FrameReader(video, index, device, threads=threads)

    set_threads()
    model = load_model(settings.matting, settings.processing, device)
    prepared = prepared_data(job, model, ClipReader(job, reader()))
    size = video.eye_size
    asked = settings.streaming.warmup_frames
    warmup = model.warmup_frames if asked is None else asked

    def shown(number: int) -> Shown:
        state = model.start(video.eyes, *size, prepared)
        refiner = StereoRefiner(
            settings.stereo, video.eyes, *size, field_of_view=field_of_view(video.projection)
        )
        for batch in reader().batches(max(0, number - warmup), number + 1, 1):
            eyes = split_eyes(batch, video.layout, video.right_first)
            matte = refiner.refine(eyes, model.matte(eyes, state))
        source = batch.rgb[0].cpu()
        alpha = join_eyes(matte.alpha.float(), video.layout, video.right_first)[0, 0]
        foreground = source
        if matte.foreground is not None:
            joined = join_eyes(matte.foreground.float(), video.layout, video.right_first)
            foreground = _bytes(joined[0])
        return Shown(number, source, foreground, _bytes(alpha))

    with ThreadPoolExecutor(at_once, "preview", initializer=set_threads) as threads:
        yield from threads.map(shown, frames)


def _bytes(values: Tensor) -> Tensor:
    return values.mul(255).add_(0.5).clamp_(0, 255).to(torch.uint8).cpu()
