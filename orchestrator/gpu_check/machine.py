"""The machine that is checked, as its driver tells it, without CUDA; and the rehearsal's double."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.machine.devices import list_gpus, usable_cores, visible_gpus

_CAPABILITIES = "NVIDIA_DRIVER_CAPABILITIES"


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU that may be used.

    Attributes:
        memory_bytes: None where the driver does not tell it.
        capability: compute capability; None where the driver does not tell it.
        parts: into so many it is divided (MIG); 0: it is whole.
    """

    name: str
    uuid: str
    memory_bytes: int | None
    capability: tuple[int, int] | None
    parts: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """Attributes:
    driver: NVIDIA's version; "" where there is none.
    capabilities: NVIDIA_DRIVER_CAPABILITIES of this container; None: not set.
    cores: that may be used.
    """

    cards: tuple[Card, ...]
    driver: str
    capabilities: str | None
    cores: int

    @property
    def card(self) -> str:
        """The name of the one that most steps run on."""
        return self.cards[0].name if self.cards else "none"

    @property
    def capability(self) -> tuple[int, int] | None:
        return self.cards[0].capability if self.cards else None


#: What the rehearsal takes this machine for; the card has every engine, so that no step is left
#: out.
REHEARSED = (
    Card("NVIDIA RTX 6000 Ada Generation (a double)", "GPU-0", 48 * 10**9, (8, 9)),
    Card("NVIDIA RTX 6000 Ada Generation (a double)", "GPU-1", 48 * 10**9, (8, 9)),
)


def rehearsed() -> Machine:
    """The double of a machine with two GPUs."""
    return Machine(REHEARSED, "610.43.02", "compute,utility,video", usable_cores())


def this_machine(environment: Mapping[str, str] = os.environ) -> Machine:
    """By NVML."""
    gpus = visible_gpus(list_gpus(), environment.get("CUDA_VISIBLE_DEVICES"))
    driver = _by_nvml(lambda nvml: str(nvml.nvmlSystemGetDriverVersion()))
    cards = tuple(
        Card(gpu.name, gpu.uuid, gpu.memory_bytes, _capability(gpu.uuid), len(gpu.parts))
        for gpu in gpus
    )
    return Machine(cards, driver or "", environment.get(_CAPABILITIES), usable_cores())


def _capability(uuid: str) -> tuple[int, int] | None:
    def ask(nvml: Any) -> tuple[int, int]:
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        return int(major), int(minor)

    found: tuple[int, int] | None = _by_nvml(ask)
    return found


def _by_nvml(ask: Callable[[Any], Any]) -> Any:
    """What NVML answers; None where it does not."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return ask(pynvml)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()
