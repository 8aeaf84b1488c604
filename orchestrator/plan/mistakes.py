"""All mistakes of a settings file, for `vrmatte config check`; a run ends with the first one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orchestrator.plan.per_file import contradictions
from orchestrator.settings.file_digests import file_problems
from orchestrator.settings.settings import load_settings
from orchestrator.settings.yaml_file import line_in
from pipeline.errors import SettingsError


def mistakes_in(path: Path, on_note: Callable[[str], object]) -> list[SettingsError]:
    """In the order of their lines; those that are of no line come last.

    Args:
        on_note: see `load_settings`.
    """
    found: list[SettingsError] = []
    try:
        settings = load_settings(
            path, {}, on_note=on_note, report=found.append, further=file_problems
        )
    except SettingsError as error:  # nothing can be read beyond it
        found.append(error)
    else:
        told = [error.message for error in found]
        found += [
            error
            for error in contradictions(settings)
            if not any(error.message in message for message in told)
        ]
    lines = {id(error): line_in(error.message, path) for error in found}
    return sorted(found, key=lambda error: (lines[id(error)] is None, lines[id(error)] or 0))
