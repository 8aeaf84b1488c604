"""`vrmatte bench`: how fast the whole is, and each stage alone, on this machine.

What is counted, exactly:

- The whole is a real `vrmatte run` into a temporary folder, in a process of its own: probe,
  workers, segments with their warm-up, checks, joining with sound. `wall_s` is from its start to
  its end. Its frames/s are those delivered from the first frame (given to the encoders) to the last
  segment (whole, checked, and bearing its name).
- Each stage alone runs in another process with a worker's environment and threads, one after the
  other, nothing beside it (`orchestrator/estimate/trial_child.py`): wall seconds, and CPU seconds
  of all its threads and children.
- Efficiency compares the two (`orchestrator.bench.result.efficiency`). What starts up (processes,
  imports, loading the model) is told in seconds, and counts in `overall` only.
- So that warm-up frames show, the run has at least two segments for each that is in flight at once.
  They are work: the stages that see them are credited with them.

The parent imports no torch and touches no GPU.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from threading import Event, Thread

from orchestrator.bench.clip import SIZES, make_clip
from orchestrator.bench.result import (
    SCHEMA_VERSION,
    Bench,
    Machine,
    Whole,
    efficiency,
)
from orchestrator.bench.whole import INDEX_NAME, Noted
from orchestrator.child_module import run_module
from orchestrator.estimate.trial import StageRequest, stages_alone
from orchestrator.machine.devices import (
    Gpu,
    default_lanes,
    devices_here,
    list_gpus,
    usable_cores,
    usable_memory,
)
from orchestrator.plan.part import Times, with_frames
from orchestrator.settings.settings import (
    Settings,
    as_mapping,
    forced_layout,
    forced_projection,
    video_settings,
)
from pipeline.contract import VideoInfo, segment_frames
from pipeline.errors import SettingsError
from pipeline.source.probe import probe_video
from pipeline.stages.matting.catalogue import JSON_CONTEXT, candidates, facts_of
from pipeline.text import printable
from workers.telemetry import gpu_memory_used, resident_bytes

#: Frames where nothing else is said: as many pixels together as so many pictures of 1920x960.
_FRAMES, _PIXELS, _LEAST_FRAMES = 240, 1920 * 960, 24
_SAMPLE_S = 0.5


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """The command line.

    Attributes:
        clip: None makes one of `size`, a key of `orchestrator.bench.clip.SIZES`.
        frames: of the clip; by its size, or as many as it has, if None.
    """

    settings: Settings
    clip: Path | None = None
    size: str = "1080p"
    frames: int | None = None


def bench(request: BenchRequest, say: Callable[[str], None] = lambda line: None) -> Bench:
    """Measure.

    Args:
        say: gets a line for each step.

    Raises:
        VrmatteError: the clip, the settings or the machine cannot be used; its message says why.
    """
    load = os.getloadavg()[0]
    devices = devices_here(request.settings.workers, list_gpus())
    gpus = [gpu for gpu in devices.gpus if gpu.number in devices.devices]
    with tempfile.TemporaryDirectory(prefix="vrmatte-bench-") as name:
        folder = Path(name)
        clip = request.clip
        if clip is None:
            say(f"making a clip of {request.size}")
            size = SIZES[request.size]
            # The last resort of `auto` has a room behind it, as most videos have.
            backdrop = facts_of(candidates(request.settings.matting)[-1]).backdrop
            clip = make_clip(folder, size, request.frames or _frames_of(*size), backdrop)
        info = _probe(clip, request.settings, folder)
        settings = _with_range(request, info, len(devices.devices))
        say(f"the whole: {settings.input.max_frames} frames, {devices.remark}")
        whole, noted = _whole(settings, clip, folder, gpus)
        say("each stage alone")
        first, last = noted.segments[0][0], noted.segments[-1][1]
        index = str(folder / INDEX_NAME)
        alone = stages_alone(
            StageRequest(noted.info, noted.settings, first, last, index), devices.first
        )
    machine = Machine(
        cpu=_cpu_name(),
        cores=usable_cores(),
        memory_bytes=usable_memory(),
        gpus=tuple(gpu.name for gpu in gpus),
        load=load,
        python=platform.python_version(),
        vrmatte=version("vrmatte"),
        torch=version("torch"),
        torchcodec=version("torchcodec"),
    )
    return Bench(
        schema_version=SCHEMA_VERSION,
        at=datetime.now().astimezone().isoformat(timespec="seconds"),
        machine=machine,
        clip=str(request.clip.absolute()) if request.clip else clip.name,
        width=info.width,
        height=info.height,
        eyes=info.eyes,
        codec=info.codec,
        model=noted.settings.matting.model,
        formats=noted.settings.deliverables,
        settings=noted.settings.fingerprint(),
        intra_op_threads=noted.settings.processing.intra_op_threads,
        decode_threads=noted.settings.processing.decode_threads,
        alone=alone,
        whole=whole,
        efficiency=efficiency(alone, whole, machine.cores, bool(gpus)),
    )


def _frames_of(width: int, height: int) -> int:
    return max(_LEAST_FRAMES, min(_FRAMES, _FRAMES * _PIXELS // (width * height)))


def _probe(clip: Path, settings: Settings, folder: Path) -> VideoInfo:
    return probe_video(
        clip,
        folder / "probe.json",
        layout=forced_layout(settings),
        projection=forced_projection(settings),
        deadline_s=settings.input.probe_timeout_s,
    )


def _with_range(request: BenchRequest, info: VideoInfo, workers: int) -> Settings:
    """The settings with a range that the clip has, and segments that are enough to see them."""
    settings = request.settings
    times = Times(settings.input.start, settings.input.end)
    asked = with_frames(video_settings(settings), times, info, printable(info.path))
    there = info.num_frames - asked.start_frame
    frames = request.frames or min(there, _frames_of(info.even_width, info.even_height))
    if frames > there or frames < 2:
        raise SettingsError(
            f"{max(0, there)} frames of {info.path} can be measured, and {frames} would be",
            "--frames takes 2 or more, as many as the clip has",
        )
    lanes = settings.streaming.lanes or default_lanes(usable_cores(), workers)
    longest = max(1, frames // (2 * workers * lanes))
    streaming = replace(
        settings.streaming, segment_frames=min(segment_frames(info, settings.streaming), longest)
    )
    ranged = replace(
        settings.input,
        start_frame=asked.start_frame,
        max_frames=frames,
        start=None,
        end=None,
        every=1,  # what is measured is a run at full length
    )
    return settings.model_copy(update={"input": ranged, "streaming": streaming})


def _whole(
    settings: Settings, clip: Path, folder: Path, gpus: Sequence[Gpu]
) -> tuple[Whole, Noted]:
    """Run it; what was noted is left in the folder for the stages."""
    from pydantic import TypeAdapter

    # The settings go as a file: JSON is YAML.
    (folder / "settings.yaml").write_text(json.dumps(as_mapping(settings)), encoding="utf-8")
    result = folder / "noted.json"
    arguments = [str(folder / "settings.yaml"), str(clip), str(folder / "out"), str(result)]
    memory = _Memory(gpus)
    before, own_before, busy_before = _children_cpu_s(), time.process_time(), _machine_cpu_s()
    begin = time.monotonic()
    run_module("orchestrator.bench.whole", arguments, watch=memory.watch)
    wall_s = time.monotonic() - begin
    cpu_s, own_s = _children_cpu_s() - before, time.process_time() - own_before
    others_s = _machine_cpu_s() - busy_before - cpu_s - own_s
    noted = TypeAdapter(Noted).validate_json(result.read_bytes(), context=JSON_CONTEXT)
    whole = Whole(
        workers=noted.workers,
        lanes=noted.lanes,
        segments=noted.segments,
        ready_s=noted.ready_at - begin,
        first_frame_s=noted.first_frame_at - begin,
        first_frames=noted.first_frames,
        last_segment_s=noted.last_segment_at - begin,
        wall_s=wall_s,
        cpu_s=cpu_s,
        parent_cpu_s=noted.cpu_s,
        others_busy=max(0.0, others_s / (wall_s * (os.cpu_count() or 1))),
        peak_rss_bytes=memory.peak_rss_bytes,
        peak_vram_bytes=memory.peak_vram_bytes,
    )
    return whole, noted


class _Memory:
    """The most that a process with its children, and some GPUs, held while it was watched."""

    def __init__(self, gpus: Sequence[Gpu]) -> None:
        self._gpus = gpus
        self._before = self._vram()
        self._ended = Event()
        self.peak_rss_bytes = 0
        self.peak_vram_bytes: int | None = 0 if gpus else None

    def watch(self, pid: int) -> Callable[[], None]:
        """Begin; returns what ends it."""
        thread = Thread(target=self._look, args=(pid,), daemon=True)
        thread.start()

        def end() -> None:
            self._ended.set()
            thread.join()

        return end

    def _look(self, pid: int) -> None:
        while not self._ended.wait(_SAMPLE_S):
            self.peak_rss_bytes = max(self.peak_rss_bytes, resident_bytes(pid))
            if self.peak_vram_bytes is not None:
                self.peak_vram_bytes = max(self.peak_vram_bytes, self._vram() - self._before)

    def _vram(self) -> int:
        return sum(gpu_memory_used(gpu.uuid) or 0 for gpu in self._gpus)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _machine_cpu_s() -> float:
    """Of all cores, whoever used them."""
    import psutil

    spent = psutil.cpu_times()
    return float(sum(spent[:8]) - spent.idle - getattr(spent, "iowait", 0.0))


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
