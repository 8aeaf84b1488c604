"""How a run ended, for a person: a table of its report, and what must be said beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.fleet.snapshot import ALL_BUT_JOINED
from orchestrator.report.report import Report, VideoReport
from orchestrator.words import MOST_LINES, clock, counted, gathered, readable_size
from pipeline.text import printable

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


#: From this width on there is room for every column beside a name.
_WIDE = 60


def summary_table(report: Report, width: int = 80) -> Table:
    """One row per video; on a narrow terminal without times and rates.

    Of more than `MOST_LINES` videos those have a row that are not simply done; see `remarks`.
    """
    from rich import box
    from rich.table import Table

    table = Table(title="Result", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("Video", overflow="fold", min_width=8)
    table.add_column("Result")
    table.add_column("Frames", justify="right")
    for heading in ("Time", "Frames/s") if width >= _WIDE else ():
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Size", justify="right", no_wrap=True)
    styles = {
        "done": "green",
        "done earlier": "green",
        "doubtful": "yellow",
        "not finished": "yellow",
    }
    for video in _shown(report):
        size = sum(output.size_bytes for output in video.outputs)
        frames = str(video.frames or "")
        if video.result == "not finished":
            frames = f"{video.frames_done} of {video.frames}"
        speed = (
            clock(video.seconds) if video.seconds is not None else "",
            f"{video.frames_per_second:.1f}" if video.frames_per_second else "",
        )
        table.add_row(
            _text(video.name),
            _text(video.result, styles.get(video.result, "red")),
            frames,
            *(speed if width >= _WIDE else ()),
            readable_size(size) if size else "",
        )
    return table


def remarks(report: Report) -> Iterator[str]:
    """What must be said beside the table: notes, doubts and errors, and how many have no row."""
    notes: list[tuple[str, str]] = []
    errors: list[tuple[str, str]] = []  # apart, so that no notes crowd them out
    videos = of_the_run(report)
    for video in videos:
        notes += [(video.name, note) for note in video.notes]
        errors += [(video.name, f"doubtful: {doubt}") for doubt in video.doubts]
        if video.result == "not finished" and video.frames_done == video.frames:
            errors.append((video.name, ALL_BUT_JOINED))
        if video.error:
            errors.append((video.name, f"{video.result}: {video.error}"))
    yield from map(printable, [*gathered(notes), *gathered(errors)])
    shown = {id(video) for video in _shown(report)}
    others = Counter(video.result for video in videos if id(video) not in shown)
    if others:
        which = ", ".join(f"{count} {result}" for result, count in others.items())
        yield f"of {counted(len(videos), 'video')} not in the table: {which}"
    if more := len(report.videos) - len(videos):
        out = printable(report.run.out)
        yield f"{counted(more, 'other video')} of earlier runs: vrmatte status {out}"
    for worker in report.workers:
        if worker.retired:
            yield printable(f"worker {worker.id}: given up: {worker.error or 'no reason known'}")
    if report.stop_reason:
        yield printable(f"stopped: {report.stop_reason}")


def of_the_run(report: Report) -> list[VideoReport]:
    """The videos that were asked for; a report tells of all that OUT holds."""
    return [video for video in report.videos if video.of_this_run]


def _shown(report: Report) -> list[VideoReport]:
    """The videos that have a row."""
    videos = of_the_run(report)
    if len(videos) <= MOST_LINES:
        return videos
    plain = ("done", "done earlier")
    return [video for video in videos if video.result not in plain][:MOST_LINES]


def _text(text: str, style: str = "") -> Text:
    """Text that is shown as it is: brackets in file names are no markup."""
    from rich.text import Text

    return Text("\n".join(map(printable, text.splitlines())), style=style)
