"""Begin the work of a run: record it in ``run.yaml`` and tell ``--json`` that it has started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any

from orchestrator.fleet.jobs import Plan
from orchestrator.fleet.journal_entries import (
    SegmentCommitted,
    VideoDone,
    VideoForgotten,
    VideoSetAside,
)
from orchestrator.out.journal import Journal
from orchestrator.out.ledger import keep_videos, known_videos, videos_beside
from orchestrator.plan.kept_probes import replaced_videos
from orchestrator.run.context import RunContext, Work
from orchestrator.run.planning import Planning
from orchestrator.run.preparation import require_room
from orchestrator.run.running_crew import RunningCrew
from orchestrator.run.said import models_chosen, plan_remarks, run_started, videos_planned
from orchestrator.run.settings_kept import SettingsKept
from orchestrator.settings.settings import as_mapping, video_settings
from pipeline.text import printable


def begin(ctx: RunContext, work: Work, crew: RunningCrew, plans: Planning) -> None:
    """Record the run, drop earlier work on sources that were replaced, and let planning go on.

    Raises:
        DiskError: the record cannot be written.
    """
    given_up = ctx.out.given_up()
    known = known_videos(ctx.out, ctx.journal.entries)
    if known.damage:
        kept = ctx.out.set_aside(ctx.out.ledger)
        ctx.around.say(f"{ctx.out.ledger.name} {known.damage}: it is kept as {kept.name}")
    now = datetime.now().astimezone()
    settings_kept = SettingsKept(ctx.out, ctx.per_file)

    def record(plan: Plan) -> None:
        said = _record(ctx, work, plan, given_up, now, settings_kept)
        keep_videos(ctx.out, [*videos_beside(known.videos, said["videos"]), *said["videos"]])
        ctx.out.write_run_file(said)

    def forget(plan: Plan) -> None:
        if ctx.request.fresh:
            for entry in _forgotten(ctx.journal, plan):
                ctx.journal.append(entry)

    def record_further(plan: Plan, new: Plan) -> None:
        require_room(ctx, ctx.journal.unfinished(plan.jobs))
        ctx.out.drop_videos(replaced_videos(ctx.out.path, new.jobs))
        record(plan)  # before anything is replaced
        forget(new)
        for line in (*plan_remarks(new), *models_chosen(new)):
            ctx.around.say(line)
        ctx.around.say_json("videos-planned", videos_planned(new))

    ctx.out.drop_videos(replaced_videos(ctx.out.path, work.plan.jobs))
    record(work.plan)
    forget(work.plan)
    ctx.around.say_json("run-started", run_started(ctx.out.path, work, crew.workers, crew.devices))
    plans.go_on(record_further)


def _forgotten(journal: Journal, plan: Plan) -> list[VideoForgotten]:
    """What a fresh run makes void of what the journal says of its own videos."""
    said = {
        (entry.video, entry.settings)
        for entry in journal.entries
        if isinstance(entry, SegmentCommitted | VideoDone | VideoSetAside)
    }
    found = []
    for job in plan.jobs:
        there = tuple(output for output in job.outputs if os.path.lexists(output))
        settings = job.settings.fingerprint()
        if there or (job.id, settings) in said:
            found.append(VideoForgotten(job.id, settings, there))
    return found


def _record(
    ctx: RunContext,
    work: Work,
    plan: Plan,
    given_up: Sequence[str],
    started: datetime,
    settings_kept: SettingsKept,
) -> dict[str, Any]:
    """What ``run.yaml`` holds: how the run was asked for, and what it is to do."""
    settings, lanes = ctx.settings, work.lanes
    if ctx.request.fresh:  # a run that resumes this one may still replace them
        outputs = (output for job in plan.jobs for output in job.outputs)
        given_up = [*given_up, *(output for output in outputs if os.path.lexists(output))]
    return {
        "version": version("vrmatte"),
        "started": started.isoformat(timespec="seconds"),
        "command": ctx.request.command,
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
                "made_with": settings_kept.name_for(job),
                "scale_factor": job.settings.processing.scale_factor,
                "differs": dict(job.differing),
                "notes": [printable(note) for note in job.info.notes],
                "frames": job.num_frames,
                "start_frame": job.settings.start_frame,
                "max_frames": job.settings.max_frames,
                "every": job.settings.every,
                "formats": list(job.settings.deliverables),
                "left_out": list(job.left_out),
                "audio": job.settings.audio,
                "segments": [list(segment) for segment in job.segments],
                "outputs": list(job.outputs),
            }
            for job in plan.jobs
        ],
        "set_aside": [{"name": aside.name, "reason": str(aside.error)} for aside in plan.set_aside],
        "given_up": list(dict.fromkeys(given_up)),
    }
