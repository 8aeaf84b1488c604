"""A video as a model's `prepare` sees it, and what `prepare` found, kept beside the segments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError

import structlog
import torch
from torch import Tensor

from pipeline.decode import FrameReader
from pipeline.eyes import eye_size, split_eyes
from pipeline.frames import EyeBatch, FrameBatch
from pipeline.models.base import MattingModel, Prepared
from pipeline.publish import publish
from pipeline.spec import SegmentJob

_log = structlog.get_logger()


class ClipReader:
    """See `pipeline.models.base.ClipSampler`."""

    def __init__(self, job: SegmentJob, reader: FrameReader) -> None:
        self.num_frames = job.video.num_frames
        self.eyes = job.video.eyes
        self.height, self.width = eye_size(
            job.video.layout, job.video.even_height, job.video.even_width
        )
        self._layout = job.video.layout
        self._reader = reader

    def sample(self, frames: Sequence[int]) -> EyeBatch:
        pictures = torch.stack([self._reader.picture(frame) for frame in frames])
        return split_eyes(FrameBatch(pictures, 0), self._layout)


def prepared_data(job: SegmentJob, model: MattingModel, clip: ClipReader) -> Prepared:
    """What `model.prepare` says of the video: read from the work folder, or made and left there.

    Two workers may make it at once: it depends on the video and the settings only, so either will
    do, and it gets its name when it is whole.
    """
    path = Path(job.work_dir) / "prepared.pt"
    if path.exists():
        try:
            saved: Mapping[str, Tensor] = torch.load(path, weights_only=True)
            return saved
        except (OSError, RuntimeError, UnpicklingError, EOFError) as error:
            _log.warning("prepared data is damaged and made again", path=str(path), why=str(error))
    prepared = model.prepare(clip)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".prepared.{os.getpid()}-{job.number}.part")
    torch.save({name: tensor.cpu() for name, tensor in prepared.items()}, draft)
    publish(draft, path)
    return prepared
