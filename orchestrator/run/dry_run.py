"""``--dry-run``: the plan with what it will take, found out by trials; nothing is made."""

from __future__ import annotations

from orchestrator.estimate.before_run import Trials, forecast
from orchestrator.fleet.jobs import Plan
from orchestrator.machine.crew import Crew
from orchestrator.machine.devices import Devices
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import Journal
from orchestrator.out.room import gigabytes
from orchestrator.plan.dry_run_text import DryRun


def look_ahead(
    plan: Plan,
    crew: Crew,
    devices: Devices,
    out: OutFolder,
    journal: Journal,
    trials: Trials,
    *,
    cores: float,
    reserve_gb: float,
    price_per_hour: float | None,
) -> DryRun:
    """What the run would do and take.

    Args:
        cores: of all workers together.
        reserve_gb: what must remain free on the disk.
    """
    unfinished = [job for job in plan.jobs if journal.published(job) is None]
    names = {worker: gpu.name for worker, gpu in crew.gpus.items()}
    return DryRun(
        plan=plan,
        devices=tuple(
            "CPU" if device == "cpu" else f"GPU {device}: {names[worker]}"
            for worker, device in enumerate(devices.devices)
        ),
        lanes=crew.lanes,
        done=frozenset(job.id for job in plan.jobs) - {job.id for job in unfinished},
        forecast=forecast(unfinished, crew.specs(), cores, crew.on_gpu, trials),
        free_bytes=out.free_bytes() + out.work_bytes(unfinished),
        in_flight=len(devices.devices),
        reserve_bytes=gigabytes(reserve_gb),
        price_per_hour=price_per_hour,
    )
