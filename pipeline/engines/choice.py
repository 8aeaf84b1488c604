"""Choose the engine that runs a network (torch or OpenVINO), once, before a run is planned.

Loads no torch: the parent process decides (`orchestrator/plan/settle.py`), so that the engine is
part of the settings' fingerprint. Models load what is decided, and refuse "auto".
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from importlib.util import find_spec

from pipeline.contract import ProcessingSettings
from pipeline.errors import MachineError, SettingsError


def openvino_installed() -> bool:
    return find_spec("openvino") is not None


def settled_engine(
    processing: ProcessingSettings,
    engines: Collection[str],
    device_kind: str,
    installed: Callable[[], bool] = openvino_installed,
) -> ProcessingSettings:
    """The settings with `processing.engine` decided, where the model has a choice.

    OpenVINO runs networks in fp32 on a CPU; torch runs everything else. The choice depends on the
    installation, never on load, cores, workers or lanes.

    Args:
        engines: what can run the network. Without OpenVINO among them the setting means nothing.
        device_kind: ``"cpu"`` or ``"cuda"``, what the workers have.

    Raises:
        MachineError: OpenVINO is asked for and not installed.
        SettingsError: it is asked for where it cannot be used.
    """
    if "openvino" not in engines or processing.engine == "torch":
        return processing
    suits = device_kind == "cpu" and processing.precision != "fp16"
    if processing.engine == "auto":
        return replace(processing, engine="openvino" if suits and installed() else "torch")
    if not suits:
        problem = "on the CPU" if device_kind != "cpu" else "in fp32"
        raise SettingsError(
            f"processing.engine: openvino runs networks {problem} only",
            "set processing.engine: auto",
        )
    if not installed():
        raise MachineError(
            "processing.engine: openvino needs the package openvino, which is not installed",
            "run `make setup` or `uv pip install 'vrmatte[cpu]'`, or set processing.engine: torch",
        )
    return processing
