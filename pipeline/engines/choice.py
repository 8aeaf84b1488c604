"""Choose the engine that runs a network (torch, OpenVINO), once, before a run is planned.

Loads no torch: the parent process decides (`orchestrator/plan/settle.py`), so that the engine is
part of the settings' fingerprint. Models load what is decided, and refuse "auto".
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from importlib.util import find_spec
from typing import Literal, NamedTuple

from pipeline.contract import ProcessingSettings
from pipeline.errors import MachineError, SettingsError

EngineName = Literal["torch", "openvino"]


class Engine(NamedTuple):
    """One engine.

    Attributes:
        name: as `processing.engine` says it.
        package: what it needs, as Python imports it.
        extra: of vrmatte, which brings that package; empty where it always comes along.
        devices: kinds of device that it runs on.
        precisions: values of `processing.precision` that it obeys.
    """

    name: EngineName
    package: str
    extra: str
    devices: frozenset[str]
    precisions: frozenset[str]


#: The better one first: "auto" takes the first that suits and is installed.
ENGINES = (
    Engine("openvino", "openvino", "cpu", frozenset({"cpu"}), frozenset({"auto", "fp32"})),
    Engine("torch", "torch", "", frozenset({"cpu", "cuda"}), frozenset({"auto", "fp32", "fp16"})),
)


def is_installed(engine: Engine) -> bool:
    """Whether its package can be imported; nothing is imported."""
    return find_spec(engine.package) is not None


def settled_engine(
    processing: ProcessingSettings,
    engines: Collection[str],
    device_kind: str,
    installed: Callable[[Engine], bool] = is_installed,
) -> ProcessingSettings:
    """The settings with `processing.engine` decided, where the model has a choice.

    The choice depends on the installation, never on load, cores, workers or lanes.

    Args:
        engines: what can run the network. With one there is no choice, and the setting is ignored.
        device_kind: ``"cpu"`` or ``"cuda"``, what the workers have.

    Raises:
        MachineError: the engine that is asked for, or every one, is not installed.
        SettingsError: it is asked for where it cannot be used.
    """
    can = [engine for engine in ENGINES if engine.name in engines]
    if len(can) < 2 or processing.engine == "torch":
        return processing
    if processing.engine == "auto":
        suits = (e for e in can if _problem(e, processing, device_kind) is None and installed(e))
        chosen = next(suits, None)
        if chosen is None:
            names = " or ".join(engine.name for engine in can)
            raise MachineError(
                f"the network runs by {names} only, which cannot be used here", "run `make setup`"
            )
        return replace(processing, engine=chosen.name)
    [asked] = [engine for engine in can if engine.name == processing.engine]
    if problem := _problem(asked, processing, device_kind):
        raise SettingsError(
            f"processing.engine: {asked.name} runs networks {problem} only",
            "set processing.engine: auto",
        )
    if not installed(asked):
        raise MachineError(
            f"processing.engine: {asked.name} needs the package {asked.package}, which is not"
            " installed",
            f"run `make setup` or `uv pip install 'vrmatte[{asked.extra}]'`, or set"
            " processing.engine: torch",
        )
    return processing


def _problem(engine: Engine, processing: ProcessingSettings, device_kind: str) -> str | None:
    """Where it would have to run instead, in words; None: it suits."""
    if device_kind not in engine.devices:
        return "on the CPU"
    return None if processing.precision in engine.precisions else "in fp32"
