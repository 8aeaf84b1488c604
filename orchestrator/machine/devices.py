"""The GPUs, CPU cores and memory of this machine, and which of them the workers use.

Never touches CUDA.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from orchestrator.settings.groups import WorkerSettings
from orchestrator.words import counted
from pipeline.errors import MachineError

#: A lane keeps a decoder, a share of the network and an encoder busy: about two cores. One lane
#: more works while others begin, end, or wait (docs/benchmarks/004-speed.md, on 2 cores).
CORES_PER_LANE = 2
MOST_LANES = 8

_CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, or a part of one (MIG); numbers are in the order of ``nvidia-smi``, among those that
    can be seen.

    Attributes:
        memory_bytes: None where the driver does not tell it (parts of GPUs, virtual GPUs).
        parts: where it is divided: its parts. A process that may see it gets the first.
    """

    number: int
    uuid: str
    name: str
    memory_bytes: int | None
    parts: tuple[Gpu, ...] = ()


@dataclass(frozen=True, slots=True)
class Devices:
    """What the workers run on: all on GPUs, or all on the CPU.

    Attributes:
        devices: a GPU's number or "cpu", one entry a worker.
        remark: the same in words.
        gpus: the visible GPUs, to which those numbers belong.
    """

    devices: tuple[int | str, ...]
    remark: str
    gpus: tuple[Gpu, ...] = ()

    @property
    def first(self) -> int | str:
        return self.devices[0]

    @property
    def kind(self) -> Literal["cpu", "cuda"]:
        return "cpu" if self.first == "cpu" else "cuda"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the kinds of GPU that the workers have, each once."""
        used = (gpu.name for gpu in self.gpus if gpu.number in self.devices)
        return tuple(dict.fromkeys(used))

    @property
    def on_gpu(self) -> bool:
        return self.kind == "cuda"


def list_gpus() -> list[Gpu]:
    """All GPUs of this machine that may be used; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        found: list[Gpu] = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            # One that another container owns, or that has fallen off the bus, must not hide the
            # others; CUDA does not count it either.
            with suppress(pynvml.NVMLError):
                found.append(_gpu(len(found), pynvml.nvmlDeviceGetHandleByIndex(index)))
        return found
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _gpu(number: int, handle: Any) -> Gpu:
    import pynvml

    def told(ask: Callable[[Any], Any]) -> Any:
        try:
            return ask(handle)
        except pynvml.NVMLError:
            return None

    memory = told(lambda gpu: int(pynvml.nvmlDeviceGetMemoryInfo(gpu).total))
    name = told(pynvml.nvmlDeviceGetName) or "a GPU without a name"
    parts = tuple(
        _gpu(number, part) for part in _part_handles(handle) if told(pynvml.nvmlDeviceGetUUID)
    )
    if parts:  # what a process gets
        memory = parts[0].memory_bytes
    return Gpu(number, pynvml.nvmlDeviceGetUUID(handle), name, memory or None, parts)


def _part_handles(handle: Any) -> list[Any]:
    """The parts of a GPU that is divided (MIG)."""
    import pynvml

    found = []
    try:
        current, _ = pynvml.nvmlDeviceGetMigMode(handle)
        if current != pynvml.NVML_DEVICE_MIG_ENABLE:
            return []
        for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            with suppress(pynvml.NVMLError):  # there are gaps
                found.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))
    except pynvml.NVMLError:
        pass
    return found


def driver_version() -> str:
    """Of NVIDIA's driver; empty where there is none."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ""
    try:
        return str(pynvml.nvmlSystemGetDriverVersion())
    finally:
        pynvml.nvmlShutdown()


def visible_gpus(gpus: Sequence[Gpu], visible: str | None) -> list[Gpu]:
    """The GPUs that ``CUDA_VISIBLE_DEVICES`` leaves; its numbers and UUIDs are understood.

    Args:
        visible: the variable's value, or None where it is not set. As in CUDA, what follows a
            name that is not known does not count, and the GPUs are numbered anew.
    """
    if visible is None:
        return list(gpus)
    found: list[Gpu] = []
    for name in filter(None, (part.strip() for part in visible.split(","))):
        gpu = _named(name, gpus)
        if gpu is None:
            break
        found.append(gpu)
    return [replace(gpu, number=number) for number, gpu in enumerate(found)]


def _named(name: str, gpus: Sequence[Gpu]) -> Gpu | None:
    """The GPU, or the part of one, that CUDA takes this name for; None: it knows none."""
    for gpu in gpus:
        if str(gpu.number) == name or gpu.uuid.startswith(name):
            return gpu
        for part in gpu.parts:
            if part.uuid.startswith(name):
                return part
    if name.startswith("MIG-") and gpus:
        # A container may see a part by its name alone, without leave to ask for a GPU's parts.
        # An older form names the GPU: MIG-GPU-UUID/3/0.
        whole = name.removeprefix("MIG-").partition("/")[0]
        gpu = next((gpu for gpu in gpus if gpu.uuid == whole), gpus[0])
        return Gpu(gpu.number, name, f"a part of {gpu.name}", None)
    return None


def choose_devices(
    asked: Literal["all", "none"] | Sequence[int], cpu_workers: int, gpus: Sequence[Gpu]
) -> Devices:
    """One worker for each GPU that is asked for; workers on the CPU where none is.

    Raises:
        MachineError: a GPU was asked for by number and is not there.
    """
    on_cpu = f"{counted(cpu_workers, 'worker')} on the CPU"
    if asked == "none":
        return Devices(("cpu",) * cpu_workers, on_cpu)
    numbers = [gpu.number for gpu in gpus]
    if asked == "all":
        if not gpus:
            return Devices(("cpu",) * cpu_workers, f"no GPU found: {on_cpu}")
        asked = numbers
    missing = [number for number in asked if number not in numbers]
    if missing:
        there = f"there are {', '.join(map(str, numbers))}" if numbers else "there is none"
        raise MachineError(
            f"there is no GPU {missing[0]} here; {there}",
            "--gpus all takes what is there, --gpus none works on the CPU",
        )
    chosen = tuple(dict.fromkeys(asked))
    names = {gpu.number: gpu.name for gpu in gpus}
    remark = ", ".join(f"GPU {number}: {names[number]}" for number in chosen)
    return Devices(chosen, remark, tuple(gpus))


def devices_here(workers: WorkerSettings, gpus: Sequence[Gpu]) -> Devices:
    """The devices of this machine's workers, as settings and ``CUDA_VISIBLE_DEVICES`` say.

    Raises:
        MachineError: a GPU was asked for by number and is not there.
    """
    visible = visible_gpus(gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return choose_devices(workers.gpus, workers.cpu_workers, visible)


def usable_cores(quota: Callable[[], str] = lambda: _read_quota(_CGROUP_QUOTA)) -> int:
    """Cores that this process may use: its affinity, and the container's share of time."""
    cores = len(os.sched_getaffinity(0))
    limit, _, period = quota().partition(" ")
    if limit.isdigit() and period.strip().isdigit():
        cores = min(cores, max(1, round(int(limit) / int(period))))
    return cores


def default_lanes(cores: int, workers: int, *, spare: bool = True) -> int:
    """Lanes of each worker where the settings leave it open.

    Args:
        spare: with one more, where there are cores, than they need.
    """
    pairs = cores // (CORES_PER_LANE * workers)
    return min(MOST_LANES, pairs + spare) if pairs else 1


def usable_memory(limit: Callable[[], str] = lambda: _read_quota(_CGROUP_MEMORY)) -> int:
    """Bytes of memory that this process may use: the machine's, or its container's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    text = limit().strip()
    return min(machine, int(text)) if text.isdigit() else machine


def _read_quota(path: Path) -> str:
    return path.read_text(encoding="ascii") if path.exists() else ""
