"""Fetch what the models that take part need from elsewhere, before a run asks for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.contract import MattingSettings
from pipeline.stages.matting.catalogue import facts_of, function_of, taking_part


def settle_model(matting: MattingSettings) -> MattingSettings:
    """With the sources of code and weights decided, of all models that take part."""
    for each in taking_part(matting):
        row = facts_of(each)
        if row.weights is not None and row.weights.settle is not None:
            settled = function_of(row, row.weights.settle)(replace(each, options=matting.options))
            matting = replace(matting, options=settled.options)
    return matting


def fetch_model(matting: MattingSettings) -> list[Path]:
    """Fetch what is not there yet; the places of code and weights, of all models that take part.

    Raises:
        MachineError: it cannot be had.
        SettingsError: it is not what the settings say.
    """
    found: dict[Path, None] = {}
    for each in taking_part(matting):
        row = facts_of(each)
        if row.weights is not None:
            found |= dict.fromkeys(function_of(row, row.weights.fetch)(each))
    return [*found]
