"""The crew of a machine: one worker for each device, with its lanes, its log and its memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.fleet.events_actions import WorkerSpec
from orchestrator.fleet.jobs import VideoJob
from orchestrator.machine.devices import Devices, Gpu
from orchestrator.machine.local_folder import local_folder
from orchestrator.machine.model_memory import further_bytes
from orchestrator.machine.segment_memory import Share, pytorch_bytes, share, weights_bytes
from orchestrator.out.folder import OutFolder
from orchestrator.settings.settings import Settings
from pipeline.contract import NO_MODEL, VideoSettings
from workers.messages import ModelChoice, WorkerSetup
from workers.telemetry import gpu_memory_used

#: Planned with where the driver does not tell a GPU's memory: an A100's smallest part (1g.5gb).
UNKNOWN_VRAM_BYTES = 5_000_000_000
#: Decoders of a GPU that wait for the next file.
_IDLE_DECODERS = 2


@dataclass(frozen=True, slots=True)
class Crew:
    """Workers that are planned; `orchestrator.run.running_crew` starts them. See `crew_of`.

    Attributes:
        setups: what each worker's process is given, by number.
        shares: the memory that is planned with, by number.
        gpus: the GPU of each worker that has one.
        lanes: of each worker.
        further_bytes: memory of a worker's models beyond the one that its share allows for.
    """

    setups: Mapping[int, WorkerSetup]
    shares: Mapping[int, Share]
    gpus: Mapping[int, Gpu]
    lanes: int
    further_bytes: int = 0

    @property
    def on_gpu(self) -> bool:
        return bool(self.gpus)

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
        """Bytes in use on a worker's GPU; None on the CPU, or where the driver does not tell."""
        gpu = self.gpus.get(worker)
        return None if gpu is None else gpu_memory_used(gpu.uuid)


def crew_of(
    settings: Settings,
    devices: Devices,
    out: OutFolder,
    jobs: Sequence[VideoJob],
    *,
    lanes: int,
    machine_bytes: int,
    further: Sequence[VideoSettings] = (),
    trials_at_once: int = 0,
) -> Crew:
    """One worker for each device.

    Args:
        jobs: those to be done; where all have the same model, workers load it before they report
            that they are ready.
        lanes: of each worker.
        machine_bytes: memory for all of them.
        further: settings of jobs that are still to be planned.
        trials_at_once: trials of models that run beside the workers, on the first device: each
            has as much memory as a segment.
    """
    count = len(devices.devices)
    limits = settings.limits
    ram_beside = min(
        machine_bytes // 2, trials_at_once * max((j.ram_bytes for j in jobs), default=0)
    )
    vram_beside = trials_at_once * max((j.vram_bytes for j in jobs), default=0)
    limit = memory_limit(settings, count)
    by_number = {gpu.number: gpu for gpu in devices.gpus}
    gpus = {
        worker: by_number[device]
        for worker, device in enumerate(devices.devices)
        if isinstance(device, int)
    }
    left = {
        worker: _left(gpus[worker], vram_beside if worker == 0 else 0, limits.vram_gb)
        if worker in gpus
        else None
        for worker in range(count)
    }
    choices = {ModelChoice.of(settings) for settings in (*(j.settings for j in jobs), *further)}
    return Crew(
        setups={
            worker: WorkerSetup(
                device=device,
                lanes=lanes,
                model=_only(choices),
                log_path=str(out.logs / _log_name(worker, device)),
                log_level=settings.logging.level,
                ram_bytes=limit.ram_bytes,
                vram_bytes=_for_pytorch(limit, left[worker], lanes, jobs),
                idle_decoders=_idle_decoders(limit),
                local_folder=local_folder(settings.output),
            )
            for worker, device in enumerate(devices.devices)
        },
        shares={
            worker: replace(
                share(
                    count,
                    machine_bytes - ram_beside,
                    left[worker],
                    limits.ram_gb,
                    limits.vram_gb,
                ),
                weights_bytes=limit.weights_bytes,
            )
            for worker in range(count)
        },
        gpus=gpus,
        lanes=lanes,
        further_bytes=further_bytes(choices, lanes),
    )


def _left(gpu: Gpu, beside_bytes: int, limit_gb: float | None) -> int:
    """Memory of a GPU for a worker, which gets at least half of it.

    Args:
        limit_gb: `limits.vram_gb`, which is all that is known where the driver does not tell more.
    """
    if gpu.memory_bytes is None:
        return UNKNOWN_VRAM_BYTES if limit_gb is None else round(limit_gb * 1e9)
    return gpu.memory_bytes - min(gpu.memory_bytes // 2, beside_bytes)


def _for_pytorch(
    limit: Share, gpu_bytes: int | None, lanes: int, jobs: Sequence[VideoJob]
) -> int | None:
    """What PyTorch may take of a worker's GPU, weights and all; None where that is not known."""
    known = [each for each in (limit.vram_bytes, gpu_bytes) if each]
    if gpu_bytes is None or not known:
        return None
    room = Share(vram_bytes=min(known)).vram_for_segments
    assert room is not None
    return pytorch_bytes(room, lanes, jobs, idle_decoders=_idle_decoders(limit))


def _idle_decoders(limit: Share) -> int:
    """None where memory is limited: each has surfaces of a gigabyte at 8K."""
    return _IDLE_DECODERS if limit.vram_bytes is None else 0


def memory_limit(settings: Settings, workers: int) -> Share:
    """The memory that the settings allow each of `workers`, whatever this machine has."""
    limits = settings.limits
    return Share(
        None if limits.ram_gb is None else round(limits.ram_gb * 1e9 / workers),
        None if limits.vram_gb is None else round(limits.vram_gb * 1e9),
        weights_bytes(settings.matting),
    )


def _log_name(worker: int, device: int | str) -> str:
    return f"cpu{worker}.jsonl" if device == "cpu" else f"gpu{device}.jsonl"


def _only(choices: set[ModelChoice]) -> ModelChoice | None:
    """The model that all videos have, to be loaded at once; None: they differ, or have none."""
    if len(choices) != 1:
        return None
    [only] = choices
    return None if only.matting.model == NO_MODEL else only
