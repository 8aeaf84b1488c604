"""Begin the work of a run: record it in ``run.yaml`` and tell ``--json`` that it has started."""

from __future__ import annotations

import os
from datetime import datetime
from importlib.metadata import version
from typing import Any

from orchestrator.plan.planner import replaced_videos
from orchestrator.run.context import RunContext, Work
from orchestrator.run.running_crew import RunningCrew
from orchestrator.run.said import run_started
from orchestrator.settings.settings import as_mapping, video_settings
from pipeline.text import printable


def begin(ctx: RunContext, work: Work, crew: RunningCrew) -> None:
    """Record the run, and drop earlier work on sources that were replaced since.

    Raises:
        DiskError: ``run.yaml`` cannot be written.
    """
    ctx.out.drop_videos(replaced_videos(ctx.out.path, work.plan.jobs))
    ctx.out.write_run_file(_record(ctx, work))
    ctx.around.say_json(
        "run-started", run_started(ctx.out.path, work.plan, crew.workers, crew.devices)
    )


def _record(ctx: RunContext, work: Work) -> dict[str, Any]:
    """What ``run.yaml`` holds: how the run was asked for, and what it is to do."""
    settings, plan, lanes = ctx.settings, work.plan, work.lanes
    given_up = list(ctx.out.given_up())
    if ctx.request.fresh:  # a run that resumes this one may still replace them
        outputs = (output for job in plan.jobs for output in job.outputs)
        given_up = [output for output in outputs if os.path.lexists(output)]
    return {
        "version": version("vrmatte"),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "inputs": [printable(str(path.absolute())) for path in ctx.request.inputs],
        "fingerprint": video_settings(settings).fingerprint(),
        "preset": settings.preset,
        "settings": as_mapping(settings),
        "lanes": {"each_worker": lanes.count, "why": lanes.reason},
        "videos": [
            {
                "id": job.id,
                "name": job.name,
                "settings": job.settings.fingerprint(),
                "model": job.settings.matting.model,
                "model_why": printable(job.model_why),
                "scale_factor": job.settings.processing.scale_factor,
                "differs": dict(job.differing),
                "frames": job.num_frames,
                "start_frame": job.settings.start_frame,
                "max_frames": job.settings.max_frames,
                "every": job.settings.every,
                "segments": [list(segment) for segment in job.segments],
                "outputs": list(job.outputs),
            }
            for job in plan.jobs
        ],
        "set_aside": [{"name": aside.name, "reason": str(aside.error)} for aside in plan.set_aside],
        "given_up": given_up,
    }
