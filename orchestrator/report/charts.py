"""Figures over time as lines of an SVG: points in its own coordinates, and a summary in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from orchestrator.watch.device_load import DeviceLoad, LoadPoint
from orchestrator.words import readable_size

#: Coordinates of a chart; the page stretches it.
WIDTH, HEIGHT = 600, 100


@dataclass(frozen=True, slots=True)
class Line:
    """One figure over time.

    Attributes:
        dash: of the stroke, so that lines are told apart without colour; a class of the style.
        path: for ``<path d>``.
        mean, most: shares, 0..1.
    """

    name: str
    dash: str
    path: str
    mean: float
    most: float

    @property
    def words(self) -> str:
        return f"{self.name} {self.mean:.0%} on average, {self.most:.0%} at the most"


@dataclass(frozen=True, slots=True)
class Chart:
    """One device; `seconds` is how long the chart is."""

    title: str
    lines: tuple[Line, ...]
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        return "; ".join(line.words for line in self.lines)


_Figure = Callable[[DeviceLoad], float | None]

_OF_A_GPU: tuple[tuple[str, _Figure], ...] = (
    ("GPU", lambda device: device.busy),
    ("decoder", lambda device: device.decoder),
    ("encoder", lambda device: device.encoder),
    ("GPU memory", lambda device: device.vram),
)


def load_charts(points: Sequence[LoadPoint]) -> tuple[Chart, ...]:
    """A chart for each GPU, and one for the CPU; none before there are two points."""
    if len(points) < 2:
        return ()
    times = [point.seconds for point in points]
    charts = []
    seen = {device.worker: device for point in points for device in point.devices}
    for worker, device in sorted(seen.items()):
        if device.gpu is None:
            continue
        lines = tuple(
            line
            for place, (name, figure) in enumerate(_OF_A_GPU)
            if (line := _line(name, f"dash-{place}", times, _of(points, worker, figure)))
        )
        heats = [t for t in _of(points, worker, lambda d: d.temperature_c) if t is not None]
        notes = (f"{max(heats):.0f} °C at the most",) if heats else ()
        where = f" on {device.node}" if device.node else ""
        title = f"GPU {device.gpu}{where}" + (f": {device.name}" if device.name else "")
        charts.append(Chart(title, lines, times[-1], notes))
    cpu = _line("CPU", "dash-0", times, [point.cpu for point in points])
    memory = f"memory: {readable_size(max(point.rss_bytes for point in points))} at the most"
    if cpu is not None:
        charts.append(Chart("CPU cores of the run", (cpu,), times[-1], (memory,)))
    return tuple(charts)


def busy_shares(
    points: Sequence[LoadPoint], begin_s: float, end_s: float
) -> tuple[tuple[str, float], ...]:
    """Mean shares of what worked between two times, over all devices; empty where none is known."""
    inside = [point for point in points if begin_s <= point.seconds <= end_s]
    if not inside:
        return ()
    found = []
    for name, figure in _OF_A_GPU[:3]:
        told = [v for p in inside for d in p.devices if (v := figure(d)) is not None]
        if told:
            found.append((name, sum(told) / len(told)))
    found.append(("CPU", sum(point.cpu for point in inside) / len(inside)))
    return tuple(found)


def area_path(values: Sequence[float | None]) -> str:
    """The matte's area over the video's length, as closed shapes that stand on the ground.

    Each value is as wide as its part of the video; where none is known there is a gap.
    """
    top = max((value for value in values if value is not None), default=0.0)
    if top <= 0:
        return ""
    step = WIDTH / len(values)
    path = []
    for known, group in groupby(enumerate(values), key=lambda pair: pair[1] is not None):
        if known:
            run = [(place, value) for place, value in group if value is not None]
            begin, end = run[0][0] * step, (run[-1][0] + 1) * step
            points = [((place + 0.5) * step, HEIGHT * (1 - 0.9 * v / top)) for place, v in run]
            points = [(begin, points[0][1]), *points, (end, points[-1][1])]
            path.append(f"M{begin:.4g} {HEIGHT}L{_joined(points)}L{end:.4g} {HEIGHT}Z")
    return "".join(path)


def _of(points: Sequence[LoadPoint], worker: int, figure: _Figure) -> list[float | None]:
    """The figures of one worker; None where it was not there."""
    there = [{device.worker: device for device in point.devices} for point in points]
    return [figure(point[worker]) if worker in point else None for point in there]


def _line(
    name: str, dash: str, times: Sequence[float], values: Sequence[float | None]
) -> Line | None:
    told = [(t, v) for t, v in zip(times, values, strict=True) if v is not None]
    if not told:
        return None
    length = times[-1] or 1.0
    points = [(WIDTH * t / length, HEIGHT * (1 - v)) for t, v in told]
    shares = [v for _, v in told]
    return Line(name, dash, f"M{_joined(points)}", sum(shares) / len(shares), max(shares))


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.4g} {y:.4g}" for x, y in points)
