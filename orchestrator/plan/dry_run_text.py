"""The output of ``--dry-run``: each video's plan, disk, time and cost, as text and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.estimate.before_run import TRIAL_FRAMES, Forecast
from orchestrator.estimate.output_sizes import Size, foretold
from orchestrator.fleet.jobs import Plan, VideoJob
from orchestrator.plan.part import part_in_words
from orchestrator.plan.sound_notes import sound_notes
from orchestrator.words import about, counted, listed, readable_size
from pipeline.deliverables.format import parted
from pipeline.deliverables.formats import FORMATS
from pipeline.encode.choice import encoder_words
from pipeline.text import printable


@dataclass(frozen=True, slots=True)
class DryRun:
    """All that a dry run found out.

    Attributes:
        devices: what each worker runs on, in words.
        done: ids of the videos of which nothing remains to be done.
        free_bytes: on the disk of the output folder, with what earlier runs left of these videos.
        in_flight: videos that hold scratch at a time.
        reserve_bytes: what must remain free.
        price_per_hour: in whatever money; None where it was not said.
    """

    plan: Plan
    devices: tuple[str, ...]
    lanes: int
    done: frozenset[str]
    forecast: Forecast
    free_bytes: int
    in_flight: int
    reserve_bytes: int
    price_per_hour: float | None = None

    @property
    def unfinished(self) -> list[VideoJob]:
        return [job for job in self.plan.jobs if job.id not in self.done]

    @property
    def makeable(self) -> list[VideoJob]:
        """The unfinished videos but for those whose trial failed."""
        return [job for job in self.unfinished if job.id not in self.forecast.problems]

    @property
    def failing(self) -> list[str]:
        """Names of the videos that the run would not make: set aside, or their trial failed."""
        tried = [job.name for job in self.unfinished if job.id in self.forecast.problems]
        return sorted([*(aside.name for aside in self.plan.set_aside), *tried])

    @property
    def doubtful(self) -> bool:
        """Whether the mattes of some video are doubtful by its trial."""
        return any(self.forecast.doubts.values())

    @property
    def lacking(self) -> bool:
        """Whether a format cannot be made of some video."""
        return any(job.left_out for job in self.plan.jobs)

    @property
    def output_bytes(self) -> int:
        return sum(self.size(job).output for job in self.makeable)

    @property
    def scratch_bytes(self) -> int:
        """What lies under the work folder at the most, beside the outputs."""
        pictures = sorted((self.size(job).pictures for job in self.makeable), reverse=True)
        return sum(pictures[: self.in_flight])

    def size(self, job: VideoJob) -> Size:
        """By the trial of such videos, if there was one."""
        return foretold(job, self.forecast.stages.get(job.id))

    @property
    def cost(self) -> float | None:
        if self.price_per_hour is None or self.forecast.seconds is None:
            return None
        return self.price_per_hour * self.forecast.seconds / 3600


def plan_lines(found: DryRun, width: int) -> Iterator[str]:
    """The plan in lines of no more than `width` columns, but for names that are longer.

    The last line names the videos that will fail, if there are any.
    """
    for place, job in enumerate(found.plan.jobs):
        outputs = ", ".join(Path(output).name for output in job.outputs)
        yield printable(f"{job.name} -> {outputs}")
        for line in _video(found, place, job):
            yield from _folded(printable(line), width)
        yield ""
    for name, text in _totals(found):
        yield from _folded(f"{name:6}{printable(text)}", width, indent="", rest=" " * 6)
    if found.failing:
        videos = len(found.plan.jobs) + len(found.plan.set_aside)
        names = printable(listed(found.failing))
        yield f"{len(found.failing)} of {videos} will fail: {names}"


def _folded(line: str, width: int, indent: str = "  ", rest: str = "    ") -> list[str]:
    return textwrap.wrap(
        line,
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _video(found: DryRun, place: int, job: VideoJob) -> Iterator[str]:
    info, told = job.info, found.forecast
    swapped = ", right eye first" if info.right_first else ""
    yield (
        f"{info.layout}{swapped} ({info.layout_reason}), {info.projection}"
        f" ({info.projection_reason})"
    )
    yield (
        f"{info.width}x{info.height}, {float(info.frame_rate):.5g} frames/s, {info.codec}"
        f" {info.bit_depth} bit; {counted(job.num_frames, 'frame')} in"
        f" {counted(len(job.segments), 'segment')}"
    )
    if part := part_in_words(info, job.settings):
        yield f"only {part}"
    if job.id in found.done:
        yield "already done: nothing to do"
        return
    if job.id in told.problems:
        yield f"will fail: {told.problems[job.id]}"
    worker = place % len(found.devices)
    model = job.settings.matting.model + (f" ({job.model_why})" if job.model_why else "")
    yield (
        f"worker {worker} ({found.devices[worker]}) first; model {model};"
        f" decoder {decoder(found.forecast, job)}; encoder {', '.join(encoders(job))}"
    )
    if job.id in told.problems:
        return
    found_size = found.size(job)
    how = "by a trial" if found_size.by_trial else "guessed"
    size = f"{readable_size(found_size.output)} ({how})"
    fps = told.frames_per_second.get(job.id)
    speed = "" if fps is None else f"; {fps:.3g} frames/s, {about(job.num_frames / fps)} of the run"
    yield f"about {size}{speed}"
    for doubt in told.doubts.get(job.id, ()):
        yield f"doubtful, by a trial of {counted(TRIAL_FRAMES, 'frame')}: {doubt}"


def decoder(told: Forecast, job: VideoJob) -> str:
    """What the trial decoded with."""
    return told.stages[job.id].decoder if job.id in told.stages else "not tried"


def encoders(job: VideoJob) -> Iterator[str]:
    """The encoder of each format, for people."""
    for name in dict.fromkeys(parted(name)[0] for name in job.settings.deliverables):
        row, encoding = FORMATS[name], job.settings.encoding
        yield f"{name}: {row.encoder or encoder_words(encoding, from_gpu=row.from_gpu)}"


def _totals(found: DryRun) -> Iterator[tuple[str, str]]:
    """What all videos that can be made take together; nothing where none of the rest can be."""
    told = found.forecast
    if found.failing and not found.makeable:
        return
    room = f"{readable_size(found.free_bytes)} free, of which"
    room += f" {readable_size(found.reserve_bytes)} must stay so"
    needed = found.output_bytes + found.scratch_bytes + found.reserve_bytes
    if needed > found.free_bytes:
        room += f": {readable_size(needed - found.free_bytes)} too little"
    yield (
        "disk",
        f"about {readable_size(found.output_bytes)} of outputs{_how(found)}, and"
        f" {readable_size(found.scratch_bytes)} more while they are made; {room}",
    )
    if not found.unfinished:
        yield "time", "none: all is done"
        return
    if told.seconds is None:
        yield "time", "not known, because no trial succeeded"
    else:
        workers = counted(len(found.devices), "worker")
        yield (
            "time",
            f"{about(told.seconds)} on {workers} of {counted(found.lanes, 'lane')}, start-up"
            f" {told.start_s:.0f} s of it, by trials of 20 frames",
        )
    if found.price_per_hour is not None:
        price = f"at {found.price_per_hour:g} an hour"
        yield "cost", f"about {found.cost:.2f} {price}" if found.cost is not None else "not known"


def _how(found: DryRun) -> str:
    """What the sizes go by, in words."""
    ways = {found.size(job).by_trial for job in found.makeable}
    if len(ways) == 2:
        return ", some of them guessed"
    return "".join(" by trials of 20 frames" if way else ", guessed" for way in ways)


def plan_fields(found: DryRun) -> dict[str, Any]:
    """What the ``plan`` line of ``--json`` holds."""
    told = found.forecast
    return {
        "videos": [
            {
                "video": printable(job.name),
                "source": printable(job.info.path),
                "outputs": [printable(output) for output in job.outputs],
                "layout": job.info.layout,
                "layout_reason": printable(job.info.layout_reason),
                "projection": job.info.projection,
                "projection_reason": printable(job.info.projection_reason),
                "frames": job.num_frames,
                "start_frame": job.settings.start_frame,
                "max_frames": job.settings.max_frames,
                "every": job.settings.every,
                "segments": len(job.segments),
                "worker": place % len(found.devices),
                "model": job.settings.matting.model,
                "model_why": printable(job.model_why),
                "decoder": told.stages[job.id].decoder if job.id in told.stages else None,
                "encoders": list(encoders(job)),
                "output_bytes": found.size(job).output,
                "output_bytes_by": "trial" if found.size(job).by_trial else "guess",
                "fps": told.frames_per_second.get(job.id),
                "done": job.id in found.done,
                "problem": told.problems.get(job.id),
                "notes": [printable(note) for note in (*job.info.notes, *sound_notes(job))],
                "doubts": [asdict(doubt) for doubt in told.doubts.get(job.id, ())],
            }
            for place, job in enumerate(found.plan.jobs)
        ],
        "set_aside": [
            {"video": printable(aside.name), "reason": printable(str(aside.error))}
            for aside in found.plan.set_aside
        ],
        "will_fail": [printable(name) for name in found.failing],
        "workers": list(found.devices),
        "lanes": found.lanes,
        "output_bytes": found.output_bytes,
        "scratch_bytes": found.scratch_bytes,
        "free_bytes": found.free_bytes,
        "seconds": told.seconds,
        "cost": found.cost,
    }
