"""Chains with a double for the matting model, and layers put together from pictures and mattes."""

from __future__ import annotations

import torch

from pipeline.contract import Layout, VideoSettings
from pipeline.pixels.batches import FrameBatch, MatteBatch
from pipeline.pixels.eyes import split_eyes
from pipeline.pixels.layers import Layers
from pipeline.stages.base import Stage
from pipeline.stages.catalogue import StageChoice, make_stage
from pipeline.stages.chain import Chain
from pipeline.stages.matting.base import MattingModel
from pipeline.stages.matting.stage import Matting

CPU = torch.device("cpu")


def chain_around(model: MattingModel, settings: VideoSettings, device: torch.device = CPU) -> Chain:
    """The chain of these settings with `model` in place of theirs."""

    def made(choice: StageChoice, device: torch.device) -> Stage:
        return Matting(model) if choice.stage == "matting" else make_stage(choice, device)

    return Chain.of(settings, device, made)


def layered(
    frames: FrameBatch, matte: MatteBatch, layout: Layout = "sbs", *, right_first: bool = False
) -> Layers:
    """Whole pictures and their matte as the stages leave them."""
    eyes = split_eyes(frames, layout, right_first)
    return Layers(eyes.start, eyes.rgb).with_matte(matte)
