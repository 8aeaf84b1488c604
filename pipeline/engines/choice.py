"""Choose the engine that runs a network, once, before a run is planned.

Loads no torch: the parent process decides (`orchestrator/plan/settle.py`), so that the engine is
part of the settings' fingerprint. Models load what is decided, and refuse "auto".
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from pipeline.contract import ProcessingSettings
from pipeline.engines.catalogue import ENGINES, EngineRow
from pipeline.errors import MachineError, SettingsError


def is_installed(engine: EngineRow) -> bool:
    """Whether its packages can be imported; nothing is imported."""
    return engine.lacking() is None


def settled_engine(
    processing: ProcessingSettings,
    engines: Collection[str],
    device_kind: str,
    installed: Callable[[EngineRow], bool] = is_installed,
) -> ProcessingSettings:
    """The settings with `processing.engine` decided, where the model has a choice.

    The choice depends on the installation, never on load, cores, workers or lanes. What is built in
    the background is decided for each video (`orchestrator/engines/chooser.py`).

    Args:
        engines: what can run the network. With one there is no choice, and the setting is ignored.
        device_kind: ``"cpu"`` or ``"cuda"``, what the workers have.

    Raises:
        MachineError: the engine that is asked for, or every one, is not installed.
        SettingsError: it is asked for where it cannot be used.
    """
    can = [row for row in ENGINES.values() if row.name in engines]
    if len(can) < 2 or processing.engine == "torch":
        return processing
    if processing.engine == "auto":
        # What `cuda_graphs: off` leaves out is what `engine: torch` leaves out.
        unwanted = "cuda_graph" if processing.cuda_graphs == "off" else ""
        suits = (
            row
            for row in can
            if row.automatic
            and row.name != unwanted
            and _problem(row, processing, device_kind) is None
            and installed(row)
        )
        chosen = next(suits, None)
        if chosen is None:
            names = " or ".join(row.name for row in can if row.automatic)
            raise MachineError(
                f"the network runs by {names} only, which cannot be used here", "run `make setup`"
            )
        return replace(processing, engine=chosen.name)
    asked = ENGINES[processing.engine]
    if asked not in can:
        raise SettingsError(
            f"processing.engine: {asked.name} cannot run this model's network",
            f"set processing.engine to auto, or to one of {', '.join(row.name for row in can)}",
        )
    if asked.name == "cuda_graph" and processing.cuda_graphs == "off":
        raise SettingsError(
            "processing.engine: cuda_graph contradicts processing.cuda_graphs: off",
            "remove one of them",
        )
    if problem := _problem(asked, processing, device_kind):
        raise SettingsError(
            f"processing.engine: {asked.name} runs networks {problem} only",
            "set processing.engine: auto",
        )
    require_installed(asked, installed)
    return processing


def require_installed(
    row: EngineRow, installed: Callable[[EngineRow], bool] = is_installed
) -> None:
    """Raises MachineError where an engine's packages are missing."""
    if not installed(row):
        lacking = row.lacking() or row.packages[0]
        raise MachineError(
            f"processing.engine: {row.name} needs the package {lacking}, which is not installed",
            f"{row.how_to_have_it()}, or set processing.engine: auto",
        )


def _problem(row: EngineRow, processing: ProcessingSettings, device_kind: str) -> str | None:
    """Where it would have to run instead, in words; None: it suits."""
    if device_kind not in row.devices:
        return "on a GPU" if device_kind == "cpu" else "on the CPU"
    return None if processing.precision in row.precisions else "in fp32"
