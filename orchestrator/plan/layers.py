"""Check that each stage, and each format, finds the layers that it needs."""

from __future__ import annotations

from pipeline.contract import VideoSettings
from pipeline.deliverables.formats import FORMATS
from pipeline.errors import SettingsError
from pipeline.stages.catalogue import chosen_rows


def require_layers(settings: VideoSettings) -> None:
    """Raises SettingsError: a stage or a format needs a layer that no stage before it gives."""
    given = {"rgb"}.union(*(row.gives for row in chosen_rows(settings)))
    for name in settings.deliverables:
        if missing := sorted(FORMATS[name].needs - given):
            raise SettingsError(
                f"the format {name!r} needs {' and '.join(missing)}, which no stage gives",
                "choose another format, or a model (--model)",
            )
