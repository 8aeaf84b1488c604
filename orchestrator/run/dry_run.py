"""``--dry-run``: show the plan, with time, disk and cost estimated by trials; make nothing."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.estimate.before_run import forecast
from orchestrator.machine.devices import usable_cores
from orchestrator.out.room import gigabytes
from orchestrator.plan.dry_run_text import DryRun, plan_fields
from orchestrator.run.context import RunContext, Work
from orchestrator.run.said import show_plan


def foretell(ctx: RunContext, work: Work) -> DryRun:
    """Show what the run would do, how long it would take, and what it would need."""
    with ctx.around.progress.status("trying") as status:
        trials = replace(ctx.trials, on_trial=status.update)
        crew, unfinished = work.crew, list(work.unfinished)
        found = DryRun(
            plan=work.plan,
            devices=tuple(
                "CPU" if device == "cpu" else f"GPU {device}: {crew.gpus[worker].name}"
                for worker, device in enumerate(ctx.devices.devices)
            ),
            lanes=crew.lanes,
            done=frozenset(job.id for job in work.plan.jobs) - {job.id for job in unfinished},
            forecast=forecast(unfinished, crew.specs(), usable_cores(), crew.on_gpu, trials),
            free_bytes=ctx.out.free_bytes() + ctx.out.work_bytes(unfinished),
            in_flight=len(ctx.devices.devices),
            reserve_bytes=gigabytes(ctx.settings.limits.reserve_gb),
            price_per_hour=ctx.request.price_per_hour,
        )
    show_plan(ctx.around.answers, found)
    ctx.around.say_json("plan", plan_fields(found))
    return found
