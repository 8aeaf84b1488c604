"""Step `ceiling`: how many frames of 8K the GPU's side makes with 1, 2, 4 and 8 lanes.

The encoder is replaced by a sink that takes the planes where a pipe would take them. Then one lane
once under PyTorch's profiler: kernels a frame, and how long the GPU waits between them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orchestrator.gpu_check.clips import LARGE, Clip, index_path, opened, repeated
from orchestrator.gpu_check.predicted import beside, expected
from orchestrator.gpu_check.results import Result, passed
from orchestrator.gpu_check.site import Site, Tell
from orchestrator.gpu_check.steps.segment import job_of, prepared
from orchestrator.machine.segment_memory import segment_bytes
from orchestrator.words import counted
from pipeline.contract import SegmentJob, chunk_frames
from pipeline.deliverables.webm import WebM
from pipeline.errors import Stopped
from pipeline.segment import run_segment
from pipeline.stages.chain import Chain

_LANES = (1, 2, 4, 8)
_BEGIN_S = 40.0
_PROFILED = 8
_KEY = "frames/s of 8K by PyTorch"


def lanes_without_encoder(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`."""
    prepared(site)
    clip: Clip = LARGE
    job = job_of(site, clip, "ceiling")
    path = repeated(site, clip, 2 if site.rehearsal else 20)
    video, _ = opened(site, path)
    job = replace(job, video=video, stop=video.num_frames, index_path=str(index_path(site, path)))
    device = site.device
    chain = Chain.of(job.settings, device)
    seconds = 3.0 if site.rehearsal else 20.0
    with sink():
        warm = replace(job, stop=min(job.stop, 12))
        run_segment(warm, chain, device)
        best = 0.0
        for lanes in _LANES[:2] if site.rehearsal else _LANES:
            if (why := _no_room(site, job, lanes)) is not None:
                tell(Result(counted(lanes, "lane"), "room for them", why, "absent"))
                continue
            rate = rate_of(job, chain, device, lanes, seconds)
            best = max(best, rate)
            found = f"{rate:.2f} frames/s"
            tell(
                passed(counted(lanes, "lane"), "a figure", found, rate > 0, frames_per_second=rate)
            )
        card = site.machine.card
        found = beside(_KEY, card, best)
        tell(passed("the most", expected(_KEY, card), found, best > 0, frames_per_second=best))
        tell(profiled(site, replace(job, stop=min(job.stop, _PROFILED)), chain))


class Sink:
    """See `pipeline.encode.ffmpeg_pipe.Encoder`: it takes planes and keeps none."""

    def __init__(self, path: Path) -> None:
        path.touch()

    def write(self, planes: Tensor) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


@contextmanager
def sink() -> Iterator[None]:
    """WebM has a sink for an encoder, in this process."""
    before: dict[str, Any] = {
        name: getattr(WebM, name) for name in ("open_segment", "check_segment")
    }
    own = {name: name in vars(WebM) for name in before}
    WebM.open_segment = lambda self, path: Sink(path)  # type: ignore[method-assign]
    WebM.check_segment = lambda self, path, num_frames, samples: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        for name, method in before.items():
            if own[name]:
                setattr(WebM, name, method)
            else:
                delattr(WebM, name)


def _no_room(site: Site, job: SegmentJob, lanes: int) -> str | None:
    """By the plan of a run; None where there is."""
    has = site.machine.cards[0].memory_bytes
    if has is None:
        return None if lanes == 1 else "the driver does not tell the GPU's memory"
    each = segment_bytes(
        job.video, job.settings, chunk_frames(job.video, job.settings.streaming), True
    )[1]
    if lanes * each <= 0.9 * has:
        return None
    return f"{lanes} x {each / 1e9:.1f} GB are planned, of {has / 1e9:.1f} GB"


class Counted:
    """Frames of all lanes together, as they come."""

    def __init__(self, lanes: int) -> None:
        self._changed = threading.Condition()
        self._begun: set[int] = set()
        self._lanes = lanes
        self._failed = False
        self.frames = 0

    def add(self, lane: int, frames: int) -> None:
        with self._changed:
            self._begun.add(lane)
            self.frames += frames
            self._changed.notify_all()

    def fail(self) -> None:
        with self._changed:
            self._failed = True
            self._changed.notify_all()

    def all_begun(self, within_s: float) -> None:
        """Wait until each lane has given a frame, or one has failed.

        Raises:
            TimeoutError: they did not.
        """
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._failed or len(self._begun) == self._lanes, within_s
            )
        if not done:
            raise TimeoutError(f"not all lanes gave a frame within {within_s:g} s")

    def after(self, seconds: float) -> tuple[int, float]:
        """Frames that come from now on, and the seconds; fewer where a lane fails."""
        with self._changed:
            before, began = self.frames, time.perf_counter()
            self._changed.wait_for(lambda: self._failed, seconds)
            return self.frames - before, time.perf_counter() - began


def rate_of(
    job: SegmentJob, chain: Chain, device: torch.device, lanes: int, seconds: float
) -> float:
    """Frames/s of so many lanes, each making the segment again and again."""
    stop, frames_of = threading.Event(), Counted(lanes)

    def lane(number: int) -> None:
        place = Path(job.work_dir) / f"{lanes}-{number}"
        place.mkdir(exist_ok=True)
        own = replace(job, work_dir=str(place))
        try:
            while not stop.is_set():
                _once(own, chain, device, stop, lambda frames: frames_of.add(number, frames))
        except BaseException:
            frames_of.fail()
            raise

    with ThreadPoolExecutor(lanes) as pool:
        running = [pool.submit(lane, number) for number in range(lanes)]
        try:
            frames_of.all_begun(_BEGIN_S)
            frames, took = frames_of.after(seconds)
        finally:
            stop.set()
        for each in running:
            each.result()
    return frames / took


def _once(
    job: SegmentJob, chain: Chain, device: torch.device, stop: threading.Event, add: Any
) -> None:
    done = 0

    def progress(frames: int) -> None:
        nonlocal done
        add(frames - done)
        done = frames

    try:
        run_segment(job, chain, device, on_progress=progress, should_stop=stop.is_set)
    except Stopped:
        return


@dataclass(frozen=True, slots=True)
class Gaps:
    """Of a device's work: how many pieces, and the share of the time in which none ran."""

    pieces: int
    idle_share: float
    longest_s: float


def gaps(spans: Iterable[tuple[float, float]]) -> Gaps:
    """Of pieces of work by their begin and end, in microseconds; they may overlap."""
    ordered = sorted(spans)
    if not ordered:
        return Gaps(0, 0.0, 0.0)
    end = ordered[0][0]
    idle = longest = 0.0
    for begin, stop in ordered:
        gap = max(0.0, begin - end)
        idle, longest, end = idle + gap, max(longest, gap), max(end, stop)
    whole = end - ordered[0][0]
    return Gaps(len(ordered), idle / whole if whole else 0.0, longest / 1e6)


def profiled(site: Site, job: SegmentJob, chain: Chain) -> Result:
    """One short segment under the profiler; in a rehearsal operations of the CPU are counted."""
    from torch.profiler import ProfilerActivity, profile

    # The host's own operations are not recorded: that would make it slower.
    kind = ProfilerActivity.CPU if site.rehearsal else ProfilerActivity.CUDA
    place = "CPU" if site.rehearsal else "CUDA"
    with profile(activities=[kind]) as profiler:
        run_segment(job, chain, site.device)
    events = [event for event in profiler.events() if event.device_type.name == place]
    found = gaps((event.time_range.start, event.time_range.end) for event in events)
    a_frame = found.pieces / job.num_frames
    key, card = "kernels a frame", site.machine.card
    words = (
        f"{beside(key, card, a_frame)}; nothing runs in {found.idle_share:.0%} of the time,"
        f" {found.longest_s * 1e3:.1f} ms at the longest"
    )
    most = f"self_{'cpu' if site.rehearsal else 'device'}_time_total"
    return Result(
        "one lane, profiled",
        expected(key, card),
        words,
        "ok" if found.pieces else "FAILED",
        {"kernels_a_frame": a_frame, "idle_share": found.idle_share},
        profiler.key_averages().table(sort_by=most, row_limit=30),
    )
