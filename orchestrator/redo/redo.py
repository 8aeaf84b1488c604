"""`vrmatte redo`: a part of a finished video, or all of it, once more with other settings.

The steps are those of a run (`orchestrator.run.run`) with one video, of which most segments are
there already: they are cut out of the finished files when these are joined anew.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from orchestrator.exit_status import ALL_DONE, FAILED, STOPPED
from orchestrator.fleet.jobs import Plan, VideoJob
from orchestrator.fleet.journal_entries import Redo, RedoStarted
from orchestrator.fleet.snapshot import VideoState
from orchestrator.machine.devices import devices_here
from orchestrator.out.folder import OutFolder
from orchestrator.out.made_with import read_made_with
from orchestrator.out.redone import differs_in_words, redo_in_words, unfinished_redos
from orchestrator.out.sidecars import write_sidecars
from orchestrator.plan.per_file import choose, require_sense
from orchestrator.plan.settle import settle_settings
from orchestrator.redo.former import Former, find_former, require_source, touched
from orchestrator.redo.job import (
    FormerNames,
    as_redo,
    redo_job,
    redo_of,
    require_former_files,
    require_something_to_do,
    segments_in_words,
    source_of,
)
from orchestrator.redo.request import RedoRequest
from orchestrator.redo.settings import (
    differences,
    redo_settings,
    require_same_form,
    typed_values,
)
from orchestrator.report.amend import amend_report
from orchestrator.report.report import VideoReport
from orchestrator.report.run_page import NoPage
from orchestrator.run.context import RunContext, opened
from orchestrator.run.planning import planning
from orchestrator.run.preparation import require_what_it_needs, share_out
from orchestrator.run.request import Request, Surroundings
from orchestrator.run.running_crew import running_crew
from orchestrator.run.said import models_chosen, plan_remarks
from orchestrator.run.work import carry_out
from orchestrator.settings.settings import with_overrides
from orchestrator.words import counted
from pipeline.errors import ErrorRecord
from pipeline.text import printable


@dataclass(frozen=True, slots=True)
class Ended:
    """How a redo ended; `is_done`: the new files are there."""

    exit_status: int
    is_done: bool = False


def redo(asked: RedoRequest, around: Surroundings) -> Ended:
    """Make the part again.

    Raises:
        VrmatteError: it cannot begin, or cannot go on; its message says why.
    """
    started_at = datetime.now().astimezone()
    out = OutFolder(Path(os.path.realpath(asked.out)))
    typed = typed_values(asked.model, asked.assignments)
    former = find_former(out, asked.video)
    numbers = touched(former, asked.begin, asked.end)
    if len(numbers) < len(former.segments):
        require_same_form(typed)
    made = read_made_with(out, former.video)
    settings = redo_settings(made, typed, former.video.get("formats"))
    require_sense(settings)
    source = source_of(former, require_source(former))

    devices = devices_here(settings.workers, around.gpus())
    settle = partial(
        settle_settings, device_kind=devices.kind, digests={}, settle_model=around.settle_model
    )
    per_file = choose(settings, settle(with_overrides(settings, ())), [source], settle)
    per_file = as_redo(per_file, former, numbers)
    request = Request((source.path,), out.path, settings, command=asked.command)
    names = FormerNames(outputs=tuple(output.path for output in former.outputs))
    with (
        opened(request, around, started_at, devices, per_file) as ctx,
        planning(ctx, names) as plans,
    ):
        job = redo_job(plans.plan, former, numbers)
        require_something_to_do(former, job, numbers)
        with around.progress.status("reading the finished files"):
            require_former_files(job, partly=len(numbers) < len(job.segments))
        plans.jobs[:] = [job]
        differs = differences(made, typed, job.settings.prompts_sha256)
        again = redo_of(former, job, numbers, differs, asked.command)
        _announce(ctx, plans.plan, former, numbers, again)
        work = share_out(ctx, plans.plan)
        require_what_it_needs(ctx, work)
        _begin(ctx, job, again)
        with running_crew(ctx, work) as crew:
            page = NoPage(out, ctx.facts, plans.plan, ctx.journal.entries)
            _, last = carry_out(ctx, plans, crew, page)
        (state,) = last.videos
        if state.status == "done":
            if ctx.settings.output.sidecar:
                write_sidecars([job])
            return _done(around, former, again, amend_report(out, job.outputs))
    return _not_done(around, former, state, last.stop_reason)


def _announce(ctx: RunContext, plan: Plan, former: Former, numbers: range, again: Redo) -> None:
    (job,) = plan.jobs
    what = f"redoing {redo_in_words(again)} of {former.name}"
    which = segments_in_words(numbers, len(job.segments))
    ctx.around.say(printable(f"{what}: {which}, with {differs_in_words(again)}"))
    if earlier := len(ctx.journal.committed(job)):
        ctx.around.say(f"goes on; {earlier} of {counted(len(numbers), 'segment')} made earlier")
    for line in (*plan_remarks(plan), *models_chosen(plan)):
        ctx.around.say(line)


def _begin(ctx: RunContext, job: VideoJob, again: Redo) -> None:
    """Tell the journal, and drop what other redos of the video left that were not finished."""
    own = job.settings.fingerprint()
    for settings, other in ctx.journal.redos_begun(job.id).items():
        if settings != own and other.former == again.former:
            ctx.out.drop_work(job.id, settings)
    if unfinished_redos(ctx.journal.entries).get((job.id, again.former)) != again:
        ctx.journal.append(RedoStarted(job.id, own, again))


def _done(around: Surroundings, former: Former, again: Redo, video: VideoReport | None) -> Ended:
    said = [f"{former.name}: {redo_in_words(again)} made again with {differs_in_words(again)}"]
    if video is not None:
        said += [f"doubtful: {doubt}" for doubt in video.doubts]
        said += [note for note in video.notes if note.startswith("deserves a look")]
    said += [output.path for output in former.outputs]
    for line in said:
        around.answers.print(printable(line), markup=False, highlight=False, soft_wrap=True)
    return Ended(FAILED if video is not None and video.doubts else ALL_DONE, is_done=True)


def _not_done(
    around: Surroundings, former: Former, state: VideoState, stop_reason: ErrorRecord | None
) -> Ended:
    if state.status == "failed":  # which was said
        around.say(printable(f"{former.name} is as it was"))
        return Ended(FAILED)
    if stop_reason is not None:
        around.say(printable(str(stop_reason)))
    around.say(printable(f"stopped: {former.name} is as it was; the same command resumes the redo"))
    return Ended(STOPPED)
