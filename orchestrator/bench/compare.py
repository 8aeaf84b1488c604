"""Two results of `vrmatte bench` side by side: what became faster, and by how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.bench.result import Bench

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Change:
    """One figure; `ratio` is new / old, None where there is nothing to divide by."""

    name: str
    old: float
    new: float

    @property
    def ratio(self) -> float | None:
        return self.new / self.old if self.old else None


def changes(old: Bench, new: Bench) -> Iterator[Change]:
    """Every figure that both have: frames/s of each stage and of the whole, then the rest."""
    before = {stage.name: stage for stage in old.alone.stages}
    for stage in new.alone.stages:
        if stage.name in before:
            speed = before[stage.name].frames_per_second
            yield Change(f"{stage.name}, frames/s", speed, stage.frames_per_second)
    yield Change("whole, frames/s", old.frames_per_second, new.frames_per_second)
    yield Change("whole, seconds", old.whole.wall_s, new.whole.wall_s)
    yield Change("first frame, seconds", old.whole.first_frame_s, new.whole.first_frame_s)
    yield Change("CPU, seconds", old.whole.cpu_s, new.whole.cpu_s)
    yield Change("RSS, GB", old.whole.peak_rss_bytes / 1e9, new.whole.peak_rss_bytes / 1e9)
    if old.whole.peak_vram_bytes is not None and new.whole.peak_vram_bytes is not None:
        vram = old.whole.peak_vram_bytes / 1e9, new.whole.peak_vram_bytes / 1e9
        yield Change("VRAM, GB", *vram)
    if old.efficiency.steady is not None and new.efficiency.steady is not None:
        yield Change("efficiency", old.efficiency.steady, new.efficiency.steady)


def differences(old: Bench, new: Bench) -> Iterator[str]:
    """Why the two may not be compared, one line each."""
    pairs = {
        "machine": ((old.machine.cpu, old.machine.cores), (new.machine.cpu, new.machine.cores)),
        "GPU": (old.machine.gpus, new.machine.gpus),
        "clip": ((old.clip, old.width, old.height), (new.clip, new.width, new.height)),
        "frames": (old.whole.frames, new.whole.frames),
        "segments": (len(old.whole.segments), len(new.whole.segments)),
        "model": (old.model, new.model),
        "formats": (old.formats, new.formats),
        "settings": (old.settings, new.settings),
    }
    for name, (was, is_now) in pairs.items():
        if was != is_now:
            yield f"not the same {name}: {_shown(was)}, now {_shown(is_now)}"


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def change_table(old: Bench, new: Bench) -> Table:
    from rich import box
    from rich.table import Table

    title = f"Against {old.at}"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("Figure")
    for heading in ("Before", "Now", "Ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for change in changes(old, new):
        ratio = "" if change.ratio is None else f"{change.ratio:.2f}"
        table.add_row(change.name, f"{change.old:.2f}", f"{change.new:.2f}", ratio)
    return table
