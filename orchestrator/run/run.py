"""`vrmatte run`: a job from the command line to its report, step by step, on one screen."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from orchestrator.exit_status import ALL_DONE, FAILED
from orchestrator.machine.devices import devices_here
from orchestrator.plan.discover import discover
from orchestrator.plan.per_file import choose
from orchestrator.plan.settle import settle_settings
from orchestrator.run.beginning import begin
from orchestrator.run.context import opened
from orchestrator.run.dry_run import foretell
from orchestrator.run.ending import end, show_end, tell_end
from orchestrator.run.engine_builds import building_engines
from orchestrator.run.planning import planning
from orchestrator.run.preparation import refuse, share_out
from orchestrator.run.request import Request, Surroundings
from orchestrator.run.running_crew import require_cluster, running_crew
from orchestrator.run.said import announce
from orchestrator.run.work import carry_out
from orchestrator.settings.settings import with_overrides


def run(request: Request, around: Surroundings) -> int:
    """Do what was asked for; returns the exit status.

    Raises:
        VrmatteError: the run cannot begin, or cannot go on; its message says why.
    """
    require_cluster(request)
    started_at = datetime.now().astimezone()
    asked = request.settings

    # General settings first: a mistake for all videos is reported before any video is looked for.
    devices = devices_here(asked.workers, around.gpus())
    settle = partial(
        settle_settings, device_kind=devices.kind, digests={}, settle_model=around.settle_model
    )
    general = settle(with_overrides(asked, ()))
    sources = discover(request.inputs, request.out, follow_links=asked.input.follow_links)
    per_file = choose(asked, general, sources, settle)

    with opened(request, around, started_at, devices, per_file) as ctx, planning(ctx) as plans:
        work = share_out(ctx, plans.plan, plans.to_come)
        announce(ctx, work)
        if request.dry_run:
            foretold = foretell(ctx, work)
            short = foretold.failing or foretold.doubtful or foretold.lacking
            return FAILED if short else ALL_DONE
        refuse(ctx, work)
        with running_crew(ctx, work) as crew, building_engines(ctx):
            begin(ctx, work, crew, plans)
            with around.page(ctx.out, ctx.facts, work.plan, ctx.journal.entries) as page:
                first, last = carry_out(ctx, plans, crew, page)
                plans.end()
                ended = end(ctx, plans.plan, page, first, last)
        tell_end(ctx, ended.report)
    show_end(around, ended)  # when OUT is free again
    return ended.report.exit_status
