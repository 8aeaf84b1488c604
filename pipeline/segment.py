"""The way of a frame: one segment of one video, stage by stage."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pipeline.models.base import MattingModel
from pipeline.spec import SegmentJob, SegmentResult


def run_segment(
    job: SegmentJob,
    model: MattingModel,
    device: torch.device,
    *,
    cpu_decode: bool = False,
    on_progress: Callable[[int], None] = lambda frames_done: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SegmentResult:
    raise NotImplementedError
