"""The plan of a run: the first videos before it begins, those of further files while it goes on.

The plan is the same as if all files had been read first: what becomes of a file depends on no
other, outputs are named by the sources' names, and jobs are handed out in the order of their
sources.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from socket import socket, socketpair
from threading import BoundedSemaphore

from orchestrator.estimate.network_scale import Scaler
from orchestrator.fleet.jobs import Plan, SetAside, VideoJob
from orchestrator.machine.crew import memory_limit
from orchestrator.machine.devices import usable_cores
from orchestrator.machine.segment_memory import with_needs
from orchestrator.out.ledger import known_videos
from orchestrator.out.output_names import OutputNames
from orchestrator.out.ownership import Ownership
from orchestrator.out.room import gigabytes, within_scratch
from orchestrator.plan.choose_model import ModelChooser
from orchestrator.plan.discover import Source
from orchestrator.plan.places import Places
from orchestrator.plan.planner import LEAST_AT_ONCE, MOST_AT_ONCE, Planner
from orchestrator.plan.prompts_for import unused_prompts
from orchestrator.plan.settle import VideoSettler
from orchestrator.run.context import RunContext
from orchestrator.run.preparation import (
    MODEL_TRIALS_AT_ONCE,
    models_are_tried,
    possible_settings,
)
from orchestrator.run.said import Counter
from orchestrator.settings.name_template import name_template
from orchestrator.words import counted
from pipeline.contract import VideoSettings
from pipeline.deliverables.formats import FORMATS
from pipeline.errors import ErrorRecord, VrmatteError
from pipeline.source.probe import Prober
from pipeline.structlog_import import structlog

#: A run begins when so many videos are planned of which something is to be done; where models are
#: tried for each, which takes seconds, so many.
FIRST_VIDEOS, FIRST_TRIED = 64, 4

_TRIALS = {"orchestrator.estimate.model_trial_child", "orchestrator.engines.build_child"}


class Planning:
    """The plan of a run as it grows; `orchestrator.run.supervisor.Further` for the loop.

    Args:
        each: what becomes of each source, in order.
        count: of the sources.
        is_done: whether nothing of a job is left to be done.
        end_probes: ends what `each` waits for.

    Attributes:
        jobs: those that the run knows of; they grow by `take`.
        to_come: files that it does not know of yet.
    """

    def __init__(
        self,
        each: Generator[VideoJob | SetAside],
        count: int,
        is_done: Callable[[VideoJob], bool],
        end_probes: Callable[[], None] = lambda: None,
    ) -> None:
        self.jobs: list[VideoJob] = []
        self.to_come = count
        self._set_aside: list[SetAside] = []
        self._each = each
        self._is_done = is_done
        self._end_probes = end_probes
        self._lock = threading.Lock()
        # Planned, and not taken yet; and what ended the planning.
        self._ready: list[VideoJob | SetAside] = []
        self._trouble: ErrorRecord | None = None
        self._over = False
        self._thread: threading.Thread | None = None
        self._line, self._bell = socketpair()

    @property
    def plan(self) -> Plan:
        """Of the files that the run knows of."""
        return Plan(tuple(self.jobs), tuple(self._set_aside))

    @property
    def set_aside(self) -> Sequence[SetAside]:
        """Files of the plan that cannot be processed; may be asked for in any thread."""
        return tuple(self._set_aside)

    @property
    def connection(self) -> socket:
        return self._line

    def first(self, most: int | None, begun: Iterable[str] = ()) -> Plan:
        """Read files until so many jobs are there of which something is to be done; None: all.

        Args:
            begun: ids of videos that an earlier run has begun; they are found too, because they
                hold scratch already.
        """
        found, missing = 0, set(begun)
        for item in self._each:
            self._know([item])
            if isinstance(item, VideoJob):
                missing.discard(item.id)
                found += not self._is_done(item)
            if most is not None and found >= most and not missing:
                break
        return self.plan

    def go_on(self, record: Callable[[Plan, Plan], None]) -> None:
        """Read the other files, if there are any, in a thread.

        Args:
            record: called in the thread before the run gets to know of further files: with the
                whole plan, and with what is new in it. It may raise a VrmatteError, which ends the
                planning.
        """
        if self.to_come:
            self._thread = threading.Thread(
                target=self._go_on, args=(record,), name="planning", daemon=True
            )
            self._thread.start()

    def take(self) -> tuple[Sequence[VideoJob], ErrorRecord | None]:
        """What has been planned since, for the run to know of; and what ended the planning."""
        self._line.recv(1)
        with self._lock:
            ready, self._ready = self._ready, []
            trouble = self._trouble
        self._know(ready)
        return [item for item in ready if isinstance(item, VideoJob)], trouble

    def end(self) -> None:
        """Read no further files, and end what reads the last ones."""
        self._over = True
        while self._thread is not None and self._thread.is_alive():
            self._end_probes()
            self._thread.join(0.1)
        self._each.close()
        self._line.close()
        self._bell.close()

    def _know(self, items: Sequence[VideoJob | SetAside]) -> None:
        self.jobs += [item for item in items if isinstance(item, VideoJob)]
        self._set_aside += [item for item in items if isinstance(item, SetAside)]
        self.to_come -= len(items)

    def _go_on(self, record: Callable[[Plan, Plan], None]) -> None:
        """Hand out what is planned in ever larger parts, so that recording it stays linear."""
        known = self.plan
        left = self.to_come
        part: list[VideoJob | SetAside] = []
        try:
            while left and not self._over:
                part.append(next(self._each))
                left -= 1
                if self._over:
                    return
                if not left or len(part) >= max(1, len(known.jobs) // 2):
                    new = _plan(part)
                    known = Plan(known.jobs + new.jobs, known.set_aside + new.set_aside)
                    record(known, new)
                    self._hand_out(part)
                    part = []
        except VrmatteError as error:
            self._hand_out([], ErrorRecord.of(error))
        except Exception as error:  # nobody foresaw it: the run ends as by any other, and says so
            structlog.get_logger("vrmatte").exception("planning_failed")
            self._hand_out([], ErrorRecord("unforeseen", f"the planning failed: {error!r}"))
        finally:
            self._end_probes()

    def _hand_out(
        self, part: list[VideoJob | SetAside], trouble: ErrorRecord | None = None
    ) -> None:
        with self._lock:
            self._ready += part
            self._trouble = trouble
        self._bell.send(b"!")


def _plan(items: Sequence[VideoJob | SetAside]) -> Plan:
    return Plan(
        tuple(item for item in items if isinstance(item, VideoJob)),
        tuple(item for item in items if isinstance(item, SetAside)),
    )


@contextmanager
def planning(ctx: RunContext, names: OutputNames | None = None) -> Iterator[Planning]:
    """Read the files of a run. Those that may wait are read after `Planning.first`.

    Args:
        names: of the outputs; None: by the settings.

    Raises:
        MachineError: a trial of the network failed.
        DiskError: the results cannot be kept.
    """
    sources = list(ctx.per_file.wanted)
    with Prober() as prober:
        with ctx.around.progress.status(f"reading {counted(len(sources), 'file')}") as status:
            settler = _settler(ctx, status.update)
            planner = _planner(ctx, prober, settler, status.update, names)
            each = _completed(ctx, sources, planner.each(sources), planner.is_done, settler)
            plans = Planning(each, len(sources), planner.is_done, planner.end_probes)
            try:
                plans.first(_first(ctx), ctx.journal.begun())
            except BaseException:
                plans.end()
                raise
            if not plans.to_come:
                planner.end_probes()
        try:
            yield plans
        finally:
            plans.end()


def _first(ctx: RunContext) -> int | None:
    """How many videos are planned before the run begins; None: all.

    All, where a trial on a worker's device asks how fast something is, or whether an encoder is
    free: what works beside it would change the answer. Which model suits a video does not depend
    on that. All for ``--dry-run``, which shows all, and on a cluster, whose nodes all jobs choose.
    All for ``--fresh`` where it replaces something: a run that resumes this one must know what.
    """
    if ctx.request.dry_run or ctx.request.cluster is not None:
        return None
    if ctx.request.fresh and ctx.out.holds_outputs():
        return None
    for settings in possible_settings(ctx):
        own_codec = all(FORMATS[name].codec is not None for name in settings.deliverables)
        tried = ctx.devices.on_gpu and not own_codec and settings.encoding.encoder != "software"
        if tried or settings.processing.adaptive_scaling is not None:
            return None
    return FIRST_TRIED if models_are_tried(ctx) else FIRST_VIDEOS


def _end_children(prober: Prober) -> None:
    """End what reads files, and what tries models: nobody waits for their answers any more."""
    import psutil

    prober.close()
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if not _TRIALS.isdisjoint(child.cmdline()):
                child.kill()


def _completed(
    ctx: RunContext,
    sources: Sequence[Source],
    each: Generator[VideoJob | SetAside],
    is_done: Callable[[VideoJob], bool],
    settler: VideoSettler,
) -> Generator[VideoJob | SetAside]:
    """Each with what it needs of memory; set aside where it needs too much of the disk.

    Args:
        sources: those of `each`, in the same order.
    """
    limit = gigabytes(ctx.settings.limits.scratch_gb)
    with closing(each):
        for source, item in zip(sources, each, strict=True):
            if isinstance(item, VideoJob):
                item = _with_note(item, unused_prompts(item.settings.matting, source.path))
                item = _with_encoder_note(item, ctx.per_file.wanted[source].settings, settler)
                kept = within_scratch(Plan((item,), ()), limit, is_done)
                item = kept.set_aside[0] if kept.set_aside else with_needs(item, ctx.devices.on_gpu)
            if isinstance(item, SetAside):
                structlog.get_logger("vrmatte").warning(
                    "set_aside", video=item.name, error=str(item.error), detail=item.error.detail
                )
            yield item


def _with_note(job: VideoJob, note: str | None) -> VideoJob:
    return (
        job if note is None else replace(job, info=replace(job.info, notes=(*job.info.notes, note)))
    )


def _with_encoder_note(job: VideoJob, asked: VideoSettings, settler: VideoSettler) -> VideoJob:
    """With why the CPU encodes it, where it is a run on GPUs and NVENC was not ruled out."""
    why = settler.encoder_note(job.info, replace(job.settings, encoding=asked.encoding))
    return job if why is None else replace(_with_note(job, why), software_why=why)


def _settler(ctx: RunContext, say: Callable[[str], None]) -> VideoSettler:
    devices, on_gpu = ctx.devices, ctx.devices.on_gpu
    scaler = Scaler(
        ctx.out.scales,
        measure=ctx.trials.measure,
        cores=usable_cores() / len(devices.devices),
        on_gpu=on_gpu,
        on_trial=say,
    )
    return VideoSettler(
        ctx.around.nvenc(devices),
        memory_limit(ctx.settings, len(devices.devices)),
        on_gpu,
        scaler,
    )


def _planner(
    ctx: RunContext,
    prober: Prober,
    settler: VideoSettler,
    say: Callable[[str], None],
    names: OutputNames | None,
) -> Planner:
    around, devices = ctx.around, ctx.devices
    chooser = ModelChooser(
        ctx.out.models,
        lambda trial: around.try_models(trial, devices.first),
        around.fetch_model,
        say,
        BoundedSemaphore(max(1, min(MODEL_TRIALS_AT_ONCE, usable_cores()))),
    )
    ours = Ownership.of(ctx.journal.entries, ctx.out.given_up(), known_videos(ctx.out).videos)
    return Planner(
        Places(
            ctx.out.path,
            (lambda job, output: True) if ctx.request.fresh else ours,
            (lambda output: None) if ctx.request.fresh else ours.finished,
        ),
        names=names or OutputNames(name_template(ctx.settings.output.name)),
        wanted=ctx.per_file.wanted.__getitem__,
        choose=chooser.choose,
        fit=settler.fit,
        settle=settler.settle,
        engine=ctx.engines.choose,
        past=ctx.journal.past,
        probe=around.probe or prober,
        end_probes=partial(_end_children, prober),
        at_once=max(LEAST_AT_ONCE, min(MOST_AT_ONCE, usable_cores())),
        is_done=lambda job: ctx.journal.published(job) is not None,
        begin_anew=ctx.out.forget if ctx.request.fresh and not ctx.request.dry_run else None,
        on_probed=Counter(say, len(ctx.per_file.wanted)),
    )
