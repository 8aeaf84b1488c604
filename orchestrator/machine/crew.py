"""The workers of a run: which device each has, how many lanes, and how much memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.fleet.events_actions import WorkerSpec
from orchestrator.fleet.jobs import VideoJob
from orchestrator.machine.devices import Devices, Gpu, default_lanes
from orchestrator.machine.local_folder import local_folder
from orchestrator.machine.model_memory import further_bytes
from orchestrator.machine.segment_memory import Share, share, weights_bytes
from orchestrator.out.folder import OutFolder
from orchestrator.settings.settings import Settings
from workers.messages import ModelChoice, WorkerSetup
from workers.telemetry import gpu_memory_used


@dataclass(frozen=True, slots=True)
class Crew:
    """See `gather`.

    Attributes:
        setups: what each worker's process is given, by number.
        shares: what memory is planned with, by number.
        limit: the memory that the settings allow a worker; knows nothing of this machine.
        gpus: the GPU of each worker that has one.
        further_bytes: what a worker's models take beyond the one that is allowed for.
    """

    setups: Mapping[int, WorkerSetup]
    shares: Mapping[int, Share]
    limit: Share
    gpus: Mapping[int, Gpu]
    further_bytes: int = 0

    @property
    def lanes(self) -> int:
        return self.setups[0].lanes

    @property
    def on_gpu(self) -> bool:
        return bool(self.gpus)

    def with_lanes(self, lanes: int) -> Crew:
        setups = {number: replace(setup, lanes=lanes) for number, setup in self.setups.items()}
        return replace(self, setups=setups)

    def with_models(self, jobs: Sequence[VideoJob]) -> Crew:
        """Workers load the model before they say they are ready, if one is enough for all."""
        choices = {ModelChoice.of(job.settings) for job in jobs}
        model = next(iter(choices)) if len(choices) == 1 else None
        setups = {number: replace(setup, model=model) for number, setup in self.setups.items()}
        return replace(self, setups=setups, further_bytes=further_bytes(choices, self.lanes))

    def specs(self) -> list[WorkerSpec]:
        return [
            WorkerSpec(
                worker,
                setup.lanes,
                self._room(self.shares[worker].ram_for_segments),
                self._room(self.shares[worker].vram_for_segments),
            )
            for worker, setup in self.setups.items()
        ]

    def _room(self, share_bytes: int | None) -> int | None:
        return None if share_bytes is None else max(0, share_bytes - self.further_bytes)

    def memory_used(self, worker: int) -> int | None:
        """Bytes in use on a worker's GPU; None on the CPU, or where it cannot be told."""
        gpu = self.gpus.get(worker)
        return None if gpu is None else gpu_memory_used(gpu.uuid)


def gather(
    settings: Settings,
    devices: Devices,
    visible: Sequence[Gpu],
    out: OutFolder,
    *,
    cores: int,
    machine_bytes: int,
) -> Crew:
    """One worker for each device.

    Args:
        visible: the GPUs that `devices` counts.
        cores: CPU cores for all of them.
        machine_bytes: memory for all of them.
    """
    count = len(devices.devices)
    lanes = settings.streaming.lanes or default_lanes(cores, count)
    limits = settings.limits
    by_number = {gpu.number: gpu for gpu in visible}
    gpus = {
        worker: by_number[device]
        for worker, device in enumerate(devices.devices)
        if isinstance(device, int)
    }
    limit = Share(
        None if limits.ram_gb is None else round(limits.ram_gb * 1e9 / count),
        None if limits.vram_gb is None else round(limits.vram_gb * 1e9),
    )
    weights = weights_bytes(settings.matting)
    return Crew(
        setups={
            worker: WorkerSetup(
                device=device,
                lanes=lanes,
                log_path=str(out.logs / _log_name(worker, device)),
                log_level=settings.logging.level,
                ram_bytes=limit.ram_bytes,
                vram_bytes=limit.vram_for_segments,
                local_folder=local_folder(settings.output),
            )
            for worker, device in enumerate(devices.devices)
        },
        shares={
            worker: replace(
                share(
                    count,
                    machine_bytes,
                    gpus[worker].memory_bytes if worker in gpus else None,
                    limits.ram_gb,
                    limits.vram_gb,
                ),
                weights_bytes=weights,
            )
            for worker in range(count)
        },
        limit=replace(limit, weights_bytes=weights),
        gpus=gpus,
    )


def _log_name(worker: int, device: int | str) -> str:
    return f"cpu{worker}.jsonl" if device == "cpu" else f"gpu{device}.jsonl"
