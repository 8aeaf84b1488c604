"""The stage `matting`: any matting model as a step of the chain."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch

from pipeline.contract import EyeShape, VideoSettings
from pipeline.pixels.layers import Layers
from pipeline.stages.base import ClipSampler, Prepared, Stage
from pipeline.stages.matting.base import BoxModel, MattingModel, load_model
from pipeline.stages.matting.catalogue import by_boxes


class Matting(Stage):
    """Alpha, foreground and objects of every frame, by a model."""

    name: ClassVar[str] = "matting"

    def __init__(self, model: MattingModel) -> None:
        self._model = model
        self.warmup_frames = model.warmup_frames

    def prepare(self, clip: ClipSampler) -> Prepared:
        return self._model.prepare(clip)

    def start(self, eye: EyeShape, prepared: Prepared) -> Any:
        return self._model.start(eye.eyes, eye.height, eye.width, prepared)

    def run(self, layers: Layers, state: Any) -> Layers:
        return layers.with_matte(self._model.matte(layers.eyes, state))


def make(settings: VideoSettings, device: torch.device) -> Stage:
    """Load `matting.model`; see `pipeline.stages.matting.base.load_model` for what it raises."""
    model = load_model(settings.matting, settings.processing, device)
    if not by_boxes(settings):
        return Matting(model)
    from pipeline.stages.matting.regions.stage import RegionMatting

    return RegionMatting(cast(BoxModel, model), settings.matting.subject_pixels)
