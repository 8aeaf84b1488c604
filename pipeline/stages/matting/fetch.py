"""What a model needs from elsewhere, had at hand before anything asks for it. Loads no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.contract import MattingSettings
from pipeline.stages.matting.sam2.weights import fetch_checkpoint
from pipeline.stages.matting.weights import fetch_rvm


def fetch_model(matting: MattingSettings) -> list[Path]:
    """Fetch what is not there yet; the places of code and weights, of all models that take part.

    Raises:
        MachineError: it cannot be had.
        SettingsError: it is not what the settings say.
    """
    if matting.model == "rvm":
        return list(fetch_rvm(matting))
    if matting.model not in ("sam2", "sam2+rvm"):
        return []
    places = [fetch_checkpoint(matting), *fetch_model(replace(matting, model=matting.sam2_seed))]
    if matting.model == "sam2+rvm":
        places += fetch_model(replace(matting, model=matting.sam2_edge))
    return places
