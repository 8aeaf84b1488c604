"""Which models there are, by name, without loading any of them (or torch)."""

from __future__ import annotations

import difflib
from importlib.metadata import entry_points

from pipeline.errors import SettingsError

BUILT_IN = {
    "rvm": "pipeline.stages.matting.rvm.load:load",
    "sam2": "pipeline.stages.matting.sam2.load:load",
    "sam2+rvm": "pipeline.stages.matting.sam2.edge:load",
    "chroma": "pipeline.stages.matting.chroma:load",
    "plate": "pipeline.stages.matting.plate:load",
    "depth": "pipeline.stages.matting.depth:load",
}

#: Models whose network has a size of its own, as `processing.scale_factor` says.
WITH_SCALE = frozenset({"rvm"})

#: Models that follow what a person says of the subject.
WITH_PROMPTS = frozenset({"sam2", "sam2+rvm"})

DESCRIPTIONS = {
    "rvm": "people, before anything; needs `models fetch`, or a network, once",
    "sam2": "follows whom prompts, or another model (matting.sam2_seed), point out; needs weights",
    "sam2+rvm": "the same, and rvm (matting.sam2_edge) draws the edge; needs weights of both",
    "chroma": "green or blue screen; needs nothing",
    "plate": "tripod shots whose subject moves; needs nothing",
    "depth": "whatever stands nearer than the rest, from two eyes; needs nothing",
}


def model_names() -> list[str]:
    """Names of the built-in models and of those that other packages register."""
    found = {point.name for point in entry_points(group="vrmatte.models")}
    return [*BUILT_IN, *sorted(found - set(BUILT_IN))]


def require_model(name: str) -> None:
    """Raises SettingsError, naming the nearest, when there is no model of that name."""
    names = model_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        advice = f"did you mean {near[0]!r}?" if near else f"choose one of: {', '.join(names)}"
        raise SettingsError(f"there is no model named {name!r}", advice)
