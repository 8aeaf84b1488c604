"""Which models there are, by name, without loading any of them (or torch)."""

from __future__ import annotations

from importlib.metadata import entry_points

BUILT_IN = {
    "rvm": "pipeline.models.rvm:load",
    "chroma": "pipeline.models.chroma:load",
    "plate": "pipeline.models.plate:load",
    "depth": "pipeline.models.depth:load",
}


def model_names() -> list[str]:
    """Names of the built-in models and of those that other packages register."""
    found = {point.name for point in entry_points(group="vrmatte.models")}
    return [*BUILT_IN, *sorted(found - set(BUILT_IN))]
