"""The results of `vrmatte bench`: values, their JSON, and the figure derived from them.

Knows no processes and no tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator.estimate.trial import Stages
from orchestrator.words import clock, readable_size
from pipeline.errors import SettingsError
from pipeline.files.disk import write_file
from pipeline.foreign.files import Unreadable, read_bytes
from pipeline.text import printable

_LONGEST_BYTES = 64 << 20

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA_VERSION = 1

#: Share of the cores that others may take before a warning is shown.
MOST_OTHERS = 0.05

#: Steps that see only the frames that are delivered; the others see a segment's warm-up too.
DELIVERED_ONLY = ("planes", "encode")


@dataclass(frozen=True, slots=True)
class Whole:
    """`vrmatte run` on the same frames; times count from its start, in seconds.

    Attributes:
        segments: half-open runs of frames.
        ready_s: the first worker had loaded its model.
        first_frame_s: encoders were given the first frames; `first_frames` of them by then.
        last_segment_s: the last segment was whole and bore its name.
        wall_s: the process had ended.
        cpu_s: of all its processes; `parent_cpu_s` of the one that only leads them.
        others_busy: share of all the machine's cores that anything else took, 0..1: with more than
            a few hundredths no figure means much.
        peak_rss_bytes: of all its processes together, looked at twice a second; what they share is
            counted in each.
        peak_vram_bytes: likewise, of the GPU, above what was in use before.
    """

    workers: int
    lanes: int
    segments: tuple[tuple[int, int], ...]
    ready_s: float
    first_frame_s: float
    first_frames: int
    last_segment_s: float
    wall_s: float
    cpu_s: float
    parent_cpu_s: float
    others_busy: float
    peak_rss_bytes: int
    peak_vram_bytes: int | None = None

    @property
    def frames(self) -> int:
        return self.segments[-1][1] - self.segments[0][0]

    def recomputed(self, warmup_frames: int) -> tuple[int, ...]:
        """Warm-up frames of each segment."""
        return tuple(min(start, warmup_frames) for start, _ in self.segments)


@dataclass(frozen=True, slots=True)
class Efficiency:
    """How near the whole comes to its stages; see `efficiency`.

    Attributes:
        kind: "slowest stage" with a GPU, "all cores" without.
        steady: from the first frame to the last segment; None where that is no time.
        overall: over the whole wall time, start-up and joining included.
        slowest: the stage that takes longest alone, per frame delivered.
        cores_busy: CPU seconds that all processes used / (cores x wall), whatever for.
    """

    kind: Literal["slowest stage", "all cores"]
    steady: float | None
    overall: float
    slowest: str
    cores_busy: float


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured.

    Attributes:
        cores: that may be used.
        load: of the machine when it began; above 0.5 somebody else was at work.
        gpus: names of those that were used.
    """

    cpu: str
    cores: int
    memory_bytes: int
    gpus: tuple[str, ...]
    load: float
    python: str
    vrmatte: str
    torch: str
    torchcodec: str


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything, as the JSON file holds it.

    Attributes:
        settings: fingerprint of those that decide pixels, range and segments among them.
        intra_op_threads, decode_threads: of the settings.
    """

    schema_version: int
    at: str
    machine: Machine
    clip: str
    width: int
    height: int
    eyes: int
    codec: str
    model: str
    formats: tuple[str, ...]
    settings: str
    intra_op_threads: int
    decode_threads: int
    alone: Stages
    whole: Whole
    efficiency: Efficiency

    @property
    def frames_per_second(self) -> float:
        """Delivered, from the first frame to the last segment; over all where that is no time."""
        window = self.whole.last_segment_s - self.whole.first_frame_s
        frames = self.whole.frames - self.whole.first_frames
        return frames / window if window > 0 and frames else self.whole.frames / self.whole.wall_s


def efficiency(alone: Stages, whole: Whole, cores: int, on_gpu: bool) -> Efficiency:
    """What the whole makes of the speed of its stages.

    Each stage would take a known time for the frames that it sees: those delivered, and for all
    stages before the planes also the warm-up frames of every segment, which are work. On a GPU
    the ideal is that of the slowest stage, all others beside it: ideal = that stage's wall time. On
    a CPU all stages share the cores: ideal = CPU seconds of all stages / cores. Efficiency is the
    ideal divided by the time it took.

    `steady` leaves out what came before the first frame (processes, imports, the model, and the
    first frames themselves), and the joining of segments. Lanes begin together, so that warm-up
    frames of the segments they began with are taken to be over by then.
    """
    warmups = whole.recomputed(alone.warmup_frames)
    at_once = whole.workers * whole.lanes
    window = whole.last_segment_s - whole.first_frame_s
    remaining = whole.frames - whole.first_frames
    ideal, slowest = _ideal(alone, whole.frames, sum(warmups), cores, on_gpu)
    within, _ = _ideal(alone, remaining, sum(warmups[at_once:]), cores, on_gpu)
    return Efficiency(
        kind="slowest stage" if on_gpu else "all cores",
        steady=within / window if window > 0 and remaining > 0 else None,
        overall=ideal / whole.wall_s,
        slowest=slowest,
        cores_busy=whole.cpu_s / (cores * whole.wall_s),
    )


def _ideal(alone: Stages, frames: int, warmups: int, cores: int, on_gpu: bool) -> tuple[float, str]:
    """Seconds that these frames would take at best, and the stage that takes most by itself."""
    walls: dict[str, float] = {}
    cpu_s = 0.0
    for stage in alone.stages:
        is_late = stage.name.partition(" ")[0] in DELIVERED_ONLY
        seen = frames if is_late else frames + warmups
        walls[stage.name] = stage.wall_s / stage.frames * seen
        cpu_s += stage.cpu_s / stage.frames * seen
    slowest = max(walls, key=lambda name: walls[name])
    return (walls[slowest] if on_gpu else cpu_s / cores), slowest


def to_json(bench: Bench) -> bytes:
    from pydantic import TypeAdapter

    return TypeAdapter(Bench).dump_json(bench, indent=2) + b"\n"


def write_json(bench: Bench, path: Path) -> None:
    """Raises DiskError: it cannot be written."""
    write_file(path, to_json(bench))


def read_json(path: Path) -> Bench:
    """Raises SettingsError: that file cannot be read, or `vrmatte bench` did not write it."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Bench).validate_json(read_bytes(path, _LONGEST_BYTES))
    except Unreadable as error:
        raise error.as_error(SettingsError, path) from None
    except ValidationError:
        raise SettingsError(
            f"{path} was not written by `vrmatte bench --json` of this version", "measure again"
        ) from None


def headline(bench: Bench) -> Iterator[str]:
    """What was measured where, and how the whole did; one line each."""
    m, whole, alone = bench.machine, bench.whole, bench.alone
    where = ", ".join([m.cpu, f"{m.cores} cores", *m.gpus, f"load {m.load:.1f} before"])
    yield printable(f"{where}; torch {m.torch}, {bench.intra_op_threads} threads an operation")
    yield printable(
        f"{Path(bench.clip).name}: {bench.width}x{bench.height} {bench.codec}, model {bench.model},"
        f" {', '.join(bench.formats)}, on {alone.device}, decoded by {alone.decoder}"
    )
    yield (
        f"start-up: imports {alone.import_s:.1f} s, model {alone.load_s:.1f} s, looking at the clip"
        f" {alone.prepare_s:.1f} s; worker ready after {whole.ready_s:.1f} s, first frame after"
        f" {whole.first_frame_s:.1f} s"
    )
    if whole.others_busy > MOST_OTHERS:
        yield f"other programs took {100 * whole.others_busy:.0f} % of the cores: measure again"
    again = sum(whole.recomputed(alone.warmup_frames))
    yield (
        f"whole: {whole.frames} frames in {len(whole.segments)} segments of"
        f" {whole.segments[0][1] - whole.segments[0][0]}, {again} warm-up frames besides;"
        f" {whole.workers} workers, {whole.lanes} lanes each; {clock(whole.wall_s)} in all"
    )
    vram = "" if whole.peak_vram_bytes is None else f", {readable_size(whole.peak_vram_bytes)} VRAM"
    yield (
        f"{bench.frames_per_second:.2f} frames/s; at the most"
        f" {readable_size(whole.peak_rss_bytes)} RSS{vram}; leading process"
        f" {100 * whole.parent_cpu_s / whole.cpu_s:.1f} % of the CPU time"
    )
    steady = bench.efficiency.steady
    yield (
        f"efficiency ({bench.efficiency.kind}):"
        f" {'unknown' if steady is None else f'{steady:.2f}'} from the first frame to the last"
        f" segment, {bench.efficiency.overall:.2f} with start-up; slowest stage"
        f" {bench.efficiency.slowest}; cores busy {100 * bench.efficiency.cores_busy:.0f} %"
    )


def stage_table(bench: Bench) -> Table:
    """One row per stage."""
    from rich import box
    from rich.table import Table

    table = Table(title="Stages alone", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("Stage")
    for heading in ("Frames", "ms/frame", "Frames/s", "CPU ms/frame", "of all CPU"):
        table.add_column(heading, justify="right", no_wrap=True)
    all_cpu = sum(stage.cpu_s / stage.frames for stage in bench.alone.stages) or 1.0
    for stage in bench.alone.stages:
        cpu_s = stage.cpu_s / stage.frames
        table.add_row(
            stage.name,
            str(stage.frames),
            f"{1000 * stage.wall_s / stage.frames:.1f}",
            f"{stage.frames_per_second:.1f}",
            f"{1000 * cpu_s:.1f}",
            f"{100 * cpu_s / all_cpu:.0f} %",
        )
    return table
