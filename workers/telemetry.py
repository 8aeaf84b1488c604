"""Measures time, memory and GPU state of a worker's processes, when asked.

NVML's binding (pynvml) is imported where it is used: it takes 17 MB and 0.06 s of CPU time, and
most of the processes that import this file never ask about a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU; what the card does not tell is None.

    Attributes:
        busy_percent: of the time in which a kernel ran.
        decoder_percent, encoder_percent: of NVDEC's and NVENC's time.
        temperature_c: of the chip, in degrees Celsius.
    """

    index: int
    name: str
    busy_percent: int | None
    memory_used_bytes: int
    memory_total_bytes: int
    power_w: float | None
    decoder_percent: int | None = None
    encoder_percent: int | None = None
    temperature_c: int | None = None
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and all that it started have used: CPU seconds so far, bytes in RAM now."""

    cpu_s: float = 0.0
    rss_bytes: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.cpu_s + other.cpu_s, self.rss_bytes + other.rss_bytes)


@dataclass(frozen=True, slots=True)
class WorkerSample:
    """What a worker and all that it started have used so far, and how its GPU is now.

    Attributes:
        seconds: when that was, by a clock of its machine that never goes back.
    """

    seconds: float
    usage: Usage
    gpu: GpuSample | None = None


def resident_bytes(pid: int) -> int:
    """Memory of a process and its children that is in RAM; 0 if it is gone."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(_resident(process) for process in family)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def family_usage(root: int, members: Iterable[int] = ()) -> tuple[Usage, dict[int, Usage]]:
    """Usage of `root` with all its descendants; and of each of `members`, with its own.

    CPU seconds of children that have ended are those of whoever waited for them.

    Args:
        members: processes of the family; one that is gone has used nothing.
    """
    try:
        parent = psutil.Process(root)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    used: dict[int, Usage] = {}
    parents: dict[int, int] = {}
    for process in family:
        try:
            with process.oneshot():
                cpu = process.cpu_times()
                used[process.pid] = Usage(
                    cpu.user + cpu.system + cpu.children_user + cpu.children_system,
                    int(process.memory_info().rss),
                )
                parents[process.pid] = process.ppid()
        except psutil.Error:  # it has just ended
            continue
    found = {member: Usage() for member in members}
    for pid, usage in used.items():
        above: int | None = pid
        while above is not None and above not in found:
            above = parents.get(above) if above != root else None
        if above is not None:
            found[above] += usage
    return sum(used.values(), Usage()), found


def sample_gpus() -> tuple[GpuSample, ...]:
    """All GPUs of this machine by NVML, without touching CUDA; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        found: list[GpuSample] = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            with suppress(pynvml.NVMLError):  # one that may not be asked hides no other
                found.append(_sample(index))
        return tuple(found)
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def only_gpu(samples: Iterable[GpuSample], visible: str) -> GpuSample | None:
    """The GPU that a process sees which sees one.

    Args:
        visible: its CUDA_VISIBLE_DEVICES: a number, or the beginning of a UUID; empty for none.
    """
    for gpu in samples if visible else ():
        if visible == str(gpu.index) or gpu.uuid.startswith(visible):
            return gpu
    return None


def gpu_memory_used(uuid: str) -> int | None:
    """Bytes in use on one GPU, by any process; None where the driver does not say."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByUUID(uuid)).used)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _sample(index: int) -> GpuSample:
    import pynvml

    gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(gpu)
    power_mw = _told(lambda: pynvml.nvmlDeviceGetPowerUsage(gpu))
    return GpuSample(
        index=index,
        name=str(pynvml.nvmlDeviceGetName(gpu)),
        busy_percent=_told(lambda: pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
        memory_used_bytes=int(memory.used),
        memory_total_bytes=int(memory.total),
        power_w=None if power_mw is None else power_mw / 1000,
        # Each with the microseconds that it is a mean over.
        decoder_percent=_told(lambda: pynvml.nvmlDeviceGetDecoderUtilization(gpu)[0]),
        encoder_percent=_told(lambda: pynvml.nvmlDeviceGetEncoderUtilization(gpu)[0]),
        temperature_c=_told(
            lambda: pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU)
        ),
        uuid=str(pynvml.nvmlDeviceGetUUID(gpu)),
    )


def _told(ask: Callable[[], int]) -> int | None:
    """A figure, or None: virtual GPUs and some cards do not tell everything."""
    import pynvml

    try:
        return int(ask())
    except pynvml.NVMLError:
        return None
