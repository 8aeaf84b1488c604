"""What ``run.yaml`` holds: how a run was asked for, and what it was to do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any

from orchestrator.estimate.choose_lanes import Lanes
from orchestrator.fleet.jobs import Plan
from orchestrator.run.request import Request
from orchestrator.settings.settings import as_mapping, spelled_out, video_settings
from orchestrator.words import printable


def run_record(
    request: Request, plan: Plan, lanes: Lanes, given_up: Sequence[str]
) -> dict[str, Any]:
    """Of a run that begins now.

    Args:
        given_up: files in OUT that earlier runs were told to replace.
    """
    fingerprint = video_settings(request.settings).fingerprint()
    if request.fresh:  # a run that goes on with this one may still replace them
        outputs = (output for job in plan.jobs for output in job.outputs)
        given_up = [output for output in outputs if os.path.lexists(output)]
    return {
        "version": version("vrmatte"),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "inputs": [printable(str(path.absolute())) for path in request.inputs],
        "fingerprint": fingerprint,
        "preset": request.settings.preset,
        "settings": as_mapping(spelled_out(request.settings)),
        "lanes": {"each_worker": lanes.count, "why": lanes.reason},
        "videos": [
            {
                "id": job.id,
                "name": job.name,
                "settings": job.settings.fingerprint(),
                "scale_factor": job.settings.processing.scale_factor,
                "differs": dict(job.differing),
                "frames": job.num_frames,
                "segments": [list(segment) for segment in job.segments],
                "outputs": list(job.outputs),
            }
            for job in plan.jobs
        ],
        "set_aside": [{"name": aside.name, "reason": str(aside.error)} for aside in plan.set_aside],
        "given_up": list(given_up),
    }
