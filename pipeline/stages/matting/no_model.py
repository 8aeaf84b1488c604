"""`none`: no model. The pictures are kept whole, for enhancement alone. Loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.contract import NO_MODEL, MattingSettings, ProcessingSettings
from pipeline.errors import SettingsError
from pipeline.stages.matting.facts import ModelBytes, ModelFacts

if TYPE_CHECKING:
    import torch

    from pipeline.stages.matting.base import MattingModel


def load(
    matting: MattingSettings, processing: ProcessingSettings, device: torch.device
) -> MattingModel:
    """Raises SettingsError: there is nothing that could cut somebody out."""
    raise SettingsError(
        "matting.model: none cuts nobody out", "choose a model: `vrmatte models list`"
    )


NONE = ModelFacts(
    name=NO_MODEL,
    load="pipeline.stages.matting.no_model:load",
    description="nobody is cut out: for --enhance with --format video",
    licence="none",
    memory=lambda matting, engine: ModelBytes(another=0),
)
