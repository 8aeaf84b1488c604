"""How a run stands, drawn for a terminal of any size: a row a worker, one bar, the last events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.fleet.snapshot import RunningTask, WorkerState
from orchestrator.watch.device_load import DeviceLoad
from orchestrator.watch.standing import Standing
from orchestrator.words import about, clock, counted, readable_size
from pipeline.text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

#: From these widths on there is room for the devices' load, and for more of it.
WITH_LOAD, WITH_MORE = 64, 120

_EIGHTHS = "▁▂▃▄▅▆▇█"
_TENTHS = "0123456789"


def view(standing: Standing, width: int, height: int, *, plain: bool = False) -> RenderableType:
    """The whole view, no more than `width` columns and `height` lines.

    Args:
        plain: the terminal knows ASCII only.
    """
    from rich.console import Group

    def line(text: str, style: str) -> Text:
        return _line(text, style, plain=plain)

    below = [_bar(standing), line(counts(standing), "bold")]
    room = max(1, height - len(below) - 2)  # the head of the table, and the cursor's line
    workers = standing.snapshot.workers
    shown = workers if len(workers) <= room else workers[: max(1, room - 1)]
    rows: list[RenderableType] = [workers_table(standing, shown, width, plain=plain)]
    if len(shown) < len(workers):
        rows.append(line(f"and {counted(len(workers) - len(shown), 'worker')} more", "dim"))
    left = max(0, room - len(shown))
    events = [line(event, "dim") for event in (standing.events[-left:] if left else ())]
    return Group(*rows, *below, *events)


def counts(standing: Standing) -> str:
    """The whole run in one line, without its bar."""
    videos = standing.snapshot.videos
    alive = [video for video in videos if video.status != "failed"]
    ended = sum(video.status in ("done", "failed") for video in videos)
    done = sum(video.frames_done for video in alive)
    to_come = standing.snapshot.to_come
    return ", ".join(
        [
            f"{done} of {sum(video.num_frames for video in alive)} frames",
            f"{ended} of {counted(len(videos), 'video')}",
            *([f"{counted(to_come, 'file')} to be read"] if to_come else []),
            f"{standing.fps:.1f} frames/s",
            f"{clock(standing.elapsed_s)} so far",
        ]
    )


def to_go(standing: Standing) -> str:
    """``about 12 min to go``, or why that is not said."""
    if standing.phase in ("stopping", "ended"):
        return standing.phase
    if standing.to_go_s is None:
        return "starting" if standing.phase == "starting" else "time to go not known yet"
    return f"{about(standing.to_go_s)} to go"


def workers_table(
    standing: Standing, workers: Sequence[WorkerState], width: int, *, plain: bool = False
) -> Table:
    """One row a worker; columns that there is no room for are left out."""
    from rich.table import Table

    loads = {load.worker: load for load in standing.load}
    on_gpu = any(load.gpu is not None for load in standing.load)
    names = {video.id: video.name for video in standing.snapshot.videos}
    table = Table(box=None, expand=True, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("Worker", no_wrap=True)
    if width >= WITH_MORE:
        table.add_column("Device", no_wrap=True, overflow="ellipsis", max_width=28)
    table.add_column("Video", ratio=1, no_wrap=True, overflow="ellipsis")
    form = lanes_form(workers, room=width // 6, plain=plain)
    table.add_column("Lanes", no_wrap=True, overflow="ellipsis")
    table.add_column("fps", justify="right", no_wrap=True)
    headings = _headings(on_gpu, width, plain) if loads else ()
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for worker in workers:
        load = loads.get(worker.id)
        cells = [_label(worker, load)]
        if width >= WITH_MORE:
            cells.append(printable(worker.device))
        cells += [printable(doing(worker, names)), lanes(worker, form)]
        cells.append(f"{standing.worker_fps[worker.id]:.1f}" if worker.tasks else "")
        cells += (_figures(load, on_gpu, width) if load else [""] * 9)[: len(headings)]
        style = "red" if worker.status == "retired" else ""
        table.add_row(*(_line(cell, style, plain=plain) for cell in cells))
    return table


def doing(worker: WorkerState, names: dict[str, str]) -> str:
    """The videos that a worker has in hand, or what else it does."""
    if not worker.tasks:
        idle = {"ready": "waits", "starting": "loads the model", "retired": "given up"}
        if worker.status == "down":
            return "ended" if worker.life else "not started"
        return idle.get(worker.status, worker.status)
    videos = dict.fromkeys(running.task.video for running in worker.tasks)
    return ", ".join(names.get(video, video) for video in videos)


def lanes_form(workers: Sequence[WorkerState], room: int, *, plain: bool = False) -> str:
    """How lanes are written: the longest form ("words", "percent", "marks") that always fits."""
    for form in ("words", "percent"):
        if all(len(lanes(worker, form)) <= room for worker in workers):
            return form
    return "tenths" if plain else "marks"


def lanes(worker: WorkerState, form: str) -> str:
    """What each lane of a worker does.

    ``3: 45 %, 4: begins, joining`` are segments 3 and 4 of their videos and a joining;
    ``45% 0% join`` the same; ``▄▁j`` likewise, a character a lane, filled as the segment is.
    """
    tasks = sorted(worker.tasks, key=lambda running: (running.task.segment is None,))
    idle = max(0, worker.lanes - sum(t.task.segment is not None for t in tasks))
    if worker.status not in ("ready", "stopping"):
        return ""
    if form == "words":
        return ", ".join([*map(_words, tasks), *([f"{idle} free"] if idle else [])])
    if form == "percent":
        shares = [
            "join" if running.task.segment is None else f"{round(100 * _share(running))}%"
            for running in tasks
        ]
        return " ".join([*shares, *["-"] * idle])
    scale = _TENTHS if form == "tenths" else _EIGHTHS
    marks = [
        "j" if running.task.segment is None else scale[round(_share(running) * (len(scale) - 1))]
        for running in tasks
    ]
    return "".join([*marks, *["-"] * idle])


def _words(running: RunningTask) -> str:
    if running.task.segment is None:
        return "joining"
    number = running.task.segment + 1
    state = f"{round(100 * _share(running))} %" if running.frames_done else "begins"
    return f"{number}: {state}"


def _share(running: RunningTask) -> float:
    return min(1.0, running.frames_done / max(running.num_frames, 1))


def _label(worker: WorkerState, load: DeviceLoad | None) -> str:
    if load is None:
        return str(worker.id)
    return f"{worker.id} CPU" if load.gpu is None else f"{worker.id} GPU {load.gpu}"


def _headings(on_gpu: bool, width: int, plain: bool) -> Sequence[str]:
    if width < WITH_LOAD:
        return ()
    if not on_gpu:
        return ("CPU", "RAM")
    heads = ["GPU", "VRAM", "DEC", "ENC", "C" if plain else "°C"]
    return [*heads, "CPU", "RAM"] if width >= WITH_MORE else heads


def _figures(load: DeviceLoad, on_gpu: bool, width: int) -> list[str]:
    def percent(share: float | None) -> str:
        return "?" if share is None else f"{round(100 * share)}%"

    cpu = [percent(load.cpu), readable_size(load.rss_bytes)]
    if not on_gpu:
        return cpu
    gpu = [percent(share) for share in (load.busy, load.vram, load.decoder, load.encoder)]
    degrees = "?" if load.temperature_c is None else f"{load.temperature_c:.0f}"
    return [*gpu, degrees, *(cpu if width >= WITH_MORE else [])]


def _bar(standing: Standing) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    bar = Table.grid(expand=True, padding=(0, 1))
    bar.add_column(ratio=1)
    bar.add_column(no_wrap=True)
    percent = f"{int(100 * standing.share_done)} %"
    bar.add_row(
        ProgressBar(total=1.0, completed=standing.share_done),
        _line(f"{percent}, {to_go(standing)}"),
    )
    return bar


def _line(text: str, style: str = "", *, plain: bool = False) -> Text:
    from rich.text import Text

    return Text(text, style=style, no_wrap=True, overflow="crop" if plain else "ellipsis")
