"""What a worker uses: memory of its processes and the state of its GPU, looked at when asked."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import pynvml


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU: shares in per cent, memory in bytes, power in watts where the card tells."""

    index: int
    name: str
    busy_percent: int
    memory_used_bytes: int
    memory_total_bytes: int
    power_w: float | None


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


def sample_gpus() -> tuple[GpuSample, ...]:
    """All GPUs of this machine by NVML, without touching CUDA; none where there is no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(_sample(index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def gpu_memory_used(uuid: str) -> int | None:
    """Bytes in use on one GPU, by whatever process; None where that cannot be told."""
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
    gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(gpu)
    return GpuSample(
        index=index,
        name=str(pynvml.nvmlDeviceGetName(gpu)),
        busy_percent=int(pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
        memory_used_bytes=int(memory.used),
        memory_total_bytes=int(memory.total),
        power_w=_power_w(gpu),
    )


def _power_w(gpu: object) -> float | None:
    try:
        return float(pynvml.nvmlDeviceGetPowerUsage(gpu)) / 1000
    except pynvml.NVMLError:  # virtual GPUs do not tell
        return None
