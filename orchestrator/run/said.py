"""Messages of a run: its plan and its result, for the terminal and as fields for ``--json``.

Output to a terminal that was closed is dropped, so that the work goes on.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TextIO

from orchestrator.exit_status import STOPPED
from orchestrator.fleet.events_actions import WorkerSpec
from orchestrator.fleet.jobs import Plan
from orchestrator.machine.devices import usable_cores
from orchestrator.machine.nvenc import software_warning
from orchestrator.plan.dry_run_text import DryRun, plan_lines
from orchestrator.plan.sound_notes import sound_notes
from orchestrator.report.report import Report
from orchestrator.report.summary_table import of_the_run, remarks, summary_table
from orchestrator.run.context import RunContext, Work
from orchestrator.words import MOST_LINES, counted, gathered
from pipeline.text import printable

if TYPE_CHECKING:
    from rich.console import Console


class LastingStream(io.TextIOBase):
    """A stream of this process whose reader may go away: a terminal that is closed, a `| head`.

    What is written after that is dropped; nothing raises.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._let_go()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._let_go()

    def _let_go(self) -> None:
        """Discard what is still buffered, and all that follows: Python flushes at exit."""
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def lasting_lines(stream: TextIO) -> Callable[[str], None]:
    """Writes lines, each at once; lines that nobody reads any more are dropped."""
    lasting = LastingStream(stream)

    def write(line: str) -> None:
        lasting.write(line + "\n")
        lasting.flush()

    return write


class Counter:
    """Shows how many files have been read."""

    def __init__(self, say: Callable[[str], None], total: int) -> None:
        self._say = say
        self._total = total
        self._lock = Lock()
        self._done = 0

    def __call__(self, name: str) -> None:
        with self._lock:
            self._done += 1
            self._say(f"read {self._done} of {self._total} files")


def announce(ctx: RunContext, work: Work) -> None:
    """Show what will be done, and on which devices.

    The nodes of a cluster announce themselves when they join.
    """
    plan, lanes, remark = work.plan, work.lanes, ctx.devices.remark
    frames = sum(job.num_frames for job in plan.jobs)
    segments = sum(len(job.segments) for job in plan.jobs)
    on_cluster = ctx.request.cluster is not None
    who = f"planned by this machine ({remark}):" if on_cluster else f"{remark},"
    more = f"; {counted(work.to_come, 'file')} will be read meanwhile" if work.to_come else ""
    videos = counted(len(plan.jobs), "video")
    lines = [
        f"{who} {counted(lanes.count, 'lane')} each ({lanes.reason})",
        f"{videos}, {frames} frames in {counted(segments, 'segment')}{more}",
        *plan_remarks(plan),
        *ctx.per_file.remarks(),
    ]
    if (warning := software_warning(work.plan.jobs, usable_cores())) is not None:
        lines.append(printable(warning))
    if not ctx.request.dry_run:  # or the plan says it beside the video
        lines += models_chosen(plan)
        lines += [printable(f"doubtful by a trial: {line}") for line in lanes.warnings]
    for line in lines:
        ctx.around.say(line)


def models_chosen(plan: Plan) -> Iterator[str]:
    """The models that `auto` chose, and why; a line for all videos with the same of both."""
    chosen: dict[tuple[str, str], list[str]] = {}
    for job in plan.jobs:
        if job.model_why:
            key = job.settings.matting.model, job.model_why
            chosen.setdefault(key, []).append(job.name)
    for (model, why), names in chosen.items():
        who = ", ".join(names) if len(names) < 4 else counted(len(names), "video")
        yield printable(f"model {model} for {who}: {why}")


def plan_remarks(plan: Plan) -> Iterator[str]:
    """Overrides of videos, notes of the probes, and files set aside, in so many lines as suit."""
    said = []
    for job in plan.jobs:
        if job.differing:
            own = "; ".join(f"{key}: {_plain(value)}" for key, value in job.differing)
            said.append((job.name, own))
        said += [(job.name, note) for note in (*job.info.notes, *sound_notes(job))]
    aside = [(each.name, f"set aside: {each.error}") for each in plan.set_aside]
    yield from map(printable, [*gathered(said), *gathered(aside)])


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def show_plan(console: Console, found: DryRun) -> None:
    for line in plan_lines(found, console.width):
        _say(console, line)


def show_report(
    console: Console, report: Report, path: Path | None, page: Path | None = None
) -> None:
    """Show the result of a run; `path` and `page` are None where they could not be written."""
    console.print(summary_table(report, console.width))
    for line in remarks(report):
        _say(console, line)
    outputs = [output.path for video in of_the_run(report) for output in video.outputs]
    if len(outputs) > MOST_LINES:
        outputs = [f"{len(outputs)} files in {report.run.out}"]
    for output in outputs:
        _say(console, printable(output))
    if path is not None:
        _say(console, printable(f"report: {path}"))
    if page is not None:
        _say(console, printable(f"page: {page}"))
    if report.exit_status == STOPPED:
        _say(console, "stopped: the same command resumes the run")


def run_started(
    out: Path, work: Work, workers: Iterable[WorkerSpec], devices: Mapping[int, int | str]
) -> dict[str, Any]:
    """Fields of the ``run-started`` line of ``--json``.

    Args:
        devices: of the workers, as far as they are known before they are ready.
    """
    return {
        "version": version("vrmatte"),
        "pid": os.getpid(),
        "out": printable(str(out)),
        "files_to_come": work.to_come,
        **videos_planned(work.plan),
        "workers": [
            {"worker": spec.id, "lanes": spec.lanes}
            | ({"device": devices[spec.id]} if spec.id in devices else {})
            for spec in workers
        ],
    }


def videos_planned(plan: Plan) -> dict[str, Any]:
    """Fields of the ``videos-planned`` line of ``--json``, and some of ``run-started``."""
    return {
        "videos": [
            {
                "video": printable(job.name),
                "source": printable(job.info.path),
                "frames": job.num_frames,
                "segments": len(job.segments),
                "outputs": [printable(output) for output in job.outputs],
            }
            for job in plan.jobs
        ],
        "set_aside": [
            {"video": printable(aside.name), "reason": printable(str(aside.error))}
            for aside in plan.set_aside
        ],
    }


def run_ended(report: Report, path: Path | None) -> dict[str, Any]:
    """Fields of the ``run-ended`` line of ``--json``; `path` is that of the report."""
    return {
        "exit_status": report.exit_status,
        "seconds": report.seconds,
        "report": None if path is None else printable(str(path)),
        "results": {printable(video.name): video.result for video in of_the_run(report)},
        "doubts": {
            printable(video.name): [dataclasses.asdict(doubt) for doubt in video.doubts]
            for video in of_the_run(report)
            if video.doubts
        },
    }


def _say(console: Console, line: str) -> None:
    """One line as it is: no markup, no colours, never folded, so that paths can be copied."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
