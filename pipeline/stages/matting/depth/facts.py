"""`depth`: its row of the catalogue. The model is in `model.py`."""

from __future__ import annotations

from pipeline.stages.matting.facts import MB, ModelBytes, ModelFacts

DEPTH = ModelFacts(
    name="depth",
    load="pipeline.stages.matting.depth.model:load",
    description="whatever stands nearer than the rest",
    needs="nothing but two eyes",
    licence="Apache-2.0",
    two_eyes=True,
    automatic=3,
    memory=lambda matting, engine: ModelBytes(another=6 * MB),
    most_error=0.03,
)
