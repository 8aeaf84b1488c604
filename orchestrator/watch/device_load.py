"""How busy the devices of a run are: sampled in a thread of the leading process, and remembered.

By NVML and /proc alone, never by CUDA. It decides nothing, and where it hangs (a sick driver may
not answer) nothing else does.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.watch.background import Background
from workers.telemetry import GpuSample, Usage, WorkerSample, family_usage, sample_gpus

SAMPLE_S = 2.0
MOST_POINTS = 600

#: A worker elsewhere of which nothing new was heard for so long is not shown any more.
STALE_S = 10.0

#: How long the end of a run waits for a sample under way.
_LAST_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class DeviceLoad:
    """One worker's device. Shares are 0..1, None where the card does not tell.

    Attributes:
        gpu: its number as the run counts GPUs, or the node; None for a worker on the CPU.
        name: of the GPU.
        busy, decoder, encoder: shares of the time in which kernels, NVDEC and NVENC were at work.
        vram: share of the GPU's memory in use, by whatever program.
        temperature_c: of the chip, in degrees Celsius.
        cpu: share of all cores of the run, on that machine, that the worker's processes took.
        rss_bytes: memory of the worker's processes in RAM.
        node: the machine's name, where it is one of a cluster.
    """

    worker: int
    gpu: int | None = None
    name: str = ""
    busy: float | None = None
    decoder: float | None = None
    encoder: float | None = None
    vram: float | None = None
    temperature_c: float | None = None
    cpu: float = 0.0
    rss_bytes: int = 0
    node: str = ""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A worker that this process has not started, as its machine tells of it.

    Attributes:
        machine: told apart by this; empty for this one.
        node: the machine's name.
        cores: of it that the run may use.
    """

    sample: WorkerSample
    machine: str
    node: str
    cores: float


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """The load over one interval; figures are means.

    Attributes:
        seconds: from the meter's start to the end of the interval.
        devices: one a worker that is known; on a cluster they come and go.
        cpu: share of all cores of the run that all its processes took, the leading one too.
        rss_bytes: memory of all its processes in RAM.
    """

    seconds: float
    devices: tuple[DeviceLoad, ...]
    cpu: float
    rss_bytes: int

    @property
    def gpus(self) -> tuple[DeviceLoad, ...]:
        return tuple(device for device in self.devices if device.gpu is not None)


class LoadMeter(Background):
    """Samples every `SAMPLE_S` while it is entered; may be asked from any thread.

    Args:
        gpus: number and UUID of the GPU of each worker; None for a worker on the CPU.
        pids: the process of each worker that has one now.
        cores: that the run may use on this machine.
        elsewhere: the workers that other processes have started.
        sample, usage: `workers.telemetry`'s, or doubles.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        gpus: Mapping[int, tuple[int, str] | None],
        pids: Callable[[], Mapping[int, int]],
        cores: float,
        elsewhere: Callable[[], Mapping[int, Elsewhere]] = dict,
        *,
        sample: Callable[[], Iterable[GpuSample]] = sample_gpus,
        usage: Callable[[int, Iterable[int]], tuple[Usage, dict[int, Usage]]] = family_usage,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("load", every_s=SAMPLE_S, leave_s=_LAST_WAIT_S, first_s=0.0)
        self._gpus = dict(gpus)
        self._pids = pids
        self._cores = cores
        self._elsewhere = elsewhere
        self._pace_of: dict[int, _Pace] = {}
        self._sample = sample
        self._usage = usage
        self._clock = clock
        self._began = self._asked_at = clock()
        self._cpu_s = usage(os.getpid(), ())[0].cpu_s  # before: planning, trials
        self._cpu_s_of: dict[int, tuple[int, float]] = {}  # worker -> pid, CPU seconds
        self._last: LoadPoint | None = None
        self._history = History()
        self._lock = threading.Lock()

    def step(self) -> None:
        self.take()

    def last(self) -> LoadPoint | None:
        """The newest sample; None before the first."""
        with self._lock:
            return self._last

    def history(self) -> tuple[LoadPoint, ...]:
        """Everything since the start, in at most `MOST_POINTS` points of equal intervals."""
        with self._lock:
            return self._history.points()

    def take(self) -> LoadPoint:
        """Sample now."""
        pids = dict(self._pids())
        whole, members = self._usage(os.getpid(), pids.values())
        now = self._clock()
        core_s = max(now - self._asked_at, 1e-3) * self._cores
        samples = {gpu.uuid: gpu for gpu in self._sample()} if any(self._gpus.values()) else {}
        devices = []
        for worker, gpu in self._gpus.items():
            pid = pids.get(worker, 0)
            used = members.get(pid, Usage())
            before = self._cpu_s_of.get(worker, (0, 0.0))
            spent = used.cpu_s - (before[1] if before[0] == pid else 0.0)
            self._cpu_s_of[worker] = (pid, max(used.cpu_s, before[1] if before[0] == pid else 0.0))
            load = DeviceLoad(worker, cpu=_share(spent, core_s), rss_bytes=used.rss_bytes)
            if gpu is not None:
                load = _with_gpu(load, gpu[0], samples.get(gpu[1]))
            devices.append(load)
        others = self._others(now)
        busy = (whole.cpu_s - self._cpu_s) / core_s * self._cores
        cores = {there.machine: there.cores for there, _ in others.values() if there.machine}
        point = LoadPoint(
            seconds=now - self._began,
            devices=(*devices, *(_load_there(w, *other) for w, other in others.items())),
            cpu=_share(
                busy + sum(taken for _, taken in others.values()),
                self._cores + sum(cores.values()),
            ),
            rss_bytes=whole.rss_bytes + sum(t.sample.usage.rss_bytes for t, _ in others.values()),
        )
        self._asked_at, self._cpu_s = now, max(whole.cpu_s, self._cpu_s)
        with self._lock:
            self._last = point
            self._history.add(point)
        return point

    def _others(self, now: float) -> dict[int, tuple[Elsewhere, float]]:
        """The workers elsewhere of which something is known, each with the cores that it takes."""
        found = {}
        for worker, there in sorted(self._elsewhere().items()):
            pace = self._pace_of.setdefault(worker, _Pace())
            pace.see(there.sample, now)
            if now - pace.seen_at <= STALE_S:
                found[worker] = (there, pace.cores)
        return found


@dataclass(slots=True)
class _Pace:
    """How many cores a worker elsewhere takes, by its machine's clock.

    Attributes:
        seen_at: when its newest sample came, by this machine's.
    """

    sample: WorkerSample | None = None
    cores: float = 0.0
    seen_at: float = 0.0

    def see(self, sample: WorkerSample, now: float) -> None:
        before, self.sample = self.sample, sample
        if before == sample:
            return
        self.seen_at, self.cores = now, 0.0
        if before is not None and sample.seconds > before.seconds:  # of another life, or node?
            spent_s = max(0.0, sample.usage.cpu_s - before.usage.cpu_s)
            self.cores = spent_s / (sample.seconds - before.seconds)


class History:
    """Points of equal intervals, at most `most`; when there are more, pairs become one."""

    def __init__(self, most: int = MOST_POINTS) -> None:
        if most < 2 or most % 2:
            raise ValueError(f"most must be even and at least 2, got {most}")
        self._most = most
        self._each = 1  # samples in a point
        self._points: list[LoadPoint] = []
        self._open: list[LoadPoint] = []

    def add(self, sample: LoadPoint) -> None:
        self._open.append(sample)
        if len(self._open) < self._each:
            return
        self._points.append(mean(self._open))
        self._open = []
        if len(self._points) == self._most:
            pairs = zip(self._points[::2], self._points[1::2], strict=True)
            self._points = [mean(pair) for pair in pairs]
            self._each *= 2

    def points(self) -> tuple[LoadPoint, ...]:
        """At most `most`; the last may be of a shorter interval."""
        return (*self._points, *([mean(self._open)] if self._open else []))


def mean(points: Iterable[LoadPoint]) -> LoadPoint:
    """One point for some that follow each other."""
    found = list(points)
    by_worker: dict[int, list[DeviceLoad]] = {}
    for point in found:
        for device in point.devices:
            by_worker.setdefault(device.worker, []).append(device)
    return LoadPoint(
        seconds=found[-1].seconds,
        devices=tuple(_mean_device(by_worker[worker]) for worker in sorted(by_worker)),
        cpu=sum(point.cpu for point in found) / len(found),
        rss_bytes=round(sum(point.rss_bytes for point in found) / len(found)),
    )


def _mean_device(group: Sequence[DeviceLoad]) -> DeviceLoad:
    def over(values: Iterable[float | None]) -> float | None:
        told = [value for value in values if value is not None]
        return sum(told) / len(told) if told else None

    return replace(
        group[-1],
        name=next((load.name for load in group if load.name), ""),
        busy=over(load.busy for load in group),
        decoder=over(load.decoder for load in group),
        encoder=over(load.encoder for load in group),
        vram=over(load.vram for load in group),
        temperature_c=over(load.temperature_c for load in group),
        cpu=sum(load.cpu for load in group) / len(group),
        rss_bytes=round(sum(load.rss_bytes for load in group) / len(group)),
    )


def _load_there(worker: int, there: Elsewhere, cores: float) -> DeviceLoad:
    used = there.sample
    cpu = _share(cores, there.cores)
    load = DeviceLoad(worker, cpu=cpu, rss_bytes=used.usage.rss_bytes, node=there.node)
    return load if used.gpu is None else _with_gpu(load, used.gpu.index, used.gpu)


def _with_gpu(load: DeviceLoad, number: int, sample: GpuSample | None) -> DeviceLoad:
    if sample is None:
        return replace(load, gpu=number)
    return replace(
        load,
        gpu=number,
        name=sample.name,
        busy=_of_percent(sample.busy_percent),
        decoder=_of_percent(sample.decoder_percent),
        encoder=_of_percent(sample.encoder_percent),
        vram=sample.memory_used_bytes / max(sample.memory_total_bytes, 1),
        temperature_c=sample.temperature_c,
    )


def _of_percent(percent: int | None) -> float | None:
    return None if percent is None else percent / 100


def _share(spent_s: float, core_s: float) -> float:
    """Within 0..1: clocks of processes are coarse."""
    return min(1.0, max(0.0, spent_s / core_s))
