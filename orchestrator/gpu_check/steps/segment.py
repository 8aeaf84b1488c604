"""Step `segment`: a segment of 8K by RVM as WebM, of 8 and 10 bits: stages and GPU memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from orchestrator.gpu_check.clips import LARGE, LARGE_10, Clip, index_path, made, opened
from orchestrator.gpu_check.predicted import beside, expected
from orchestrator.gpu_check.results import passed
from orchestrator.gpu_check.site import Site, Tell
from orchestrator.machine.segment_memory import segment_bytes
from pipeline.contract import (
    EncodingSettings,
    ProcessingSettings,
    SegmentJob,
    SegmentResult,
    VideoSettings,
    chunk_frames,
)
from pipeline.segment import run_segment
from pipeline.source.decode import keep_idle_decoders
from pipeline.stages.chain import Chain
from workers.telemetry import gpu_memory_used

#: What CUDA holds of a process before anything runs, as the plan of lanes has it.
_CONTEXT_BYTES = 600_000_000
_SAMPLE_S = 0.02


def of_8k(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`."""
    before = Peak(site).before  # CUDA has not begun in this process
    for bits, clip in ((8, LARGE), (10, LARGE_10)):
        _measured(site, tell, bits, clip, before)
        if not site.rehearsal:
            torch.cuda.empty_cache()  # what the next one holds is its own


def prepared(site: Site) -> None:
    """Set PyTorch and TorchCodec as a worker does (`workers/work.py`)."""
    if not site.rehearsal:
        torch.backends.cudnn.allow_tf32 = False
    keep_idle_decoders(0)


def job_of(site: Site, clip: Clip, name: str) -> SegmentJob:
    """The whole clip as one segment of WebM."""
    path = made(site, clip)
    video, _ = opened(site, path)
    settings = VideoSettings(
        deliverables=("webm",),
        matting=site.rvm(),
        processing=ProcessingSettings(engine="torch"),
        encoding=EncodingSettings(encoder="software"),
    )
    work = str(site.work_folder(name))
    return SegmentJob(video, settings, 0, 0, video.num_frames, str(index_path(site, path)), work)


class Peak:
    """The most that a GPU's memory held, by any process, in bytes; 0: the driver does not tell."""

    def __init__(self, site: Site) -> None:
        self._uuid = site.machine.cards[0].uuid
        self._ended = threading.Event()
        self.before = self._used()
        self.most = 0

    def _used(self) -> int:
        return gpu_memory_used(self._uuid) or 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look, until the block ends."""
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            self.most = max(self.most, self._used())


def _measured(site: Site, tell: Tell, bits: int, clip: Clip, before: int) -> None:
    peak = Peak(site)
    prepared(site)
    job = job_of(site, clip, f"segment-{bits}")
    device, what = site.device, f"8K, {bits} bits"
    chain = Chain.of(job.settings, device)
    half = max(1, job.num_frames // 2)
    run_segment(replace(job, stop=half), chain, device)  # what begins once is not measured
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with peak.watched():
        result = run_segment(job, chain, device)
    tell_frames(site, tell, what, job, result)
    tell_memory(site, tell, what, job, peak.most and peak.most - before)


def tell_frames(site: Site, tell: Tell, what: str, job: SegmentJob, result: SegmentResult) -> None:
    """Whether all frames came by the GPU's decoder, and the seconds of each stage."""
    right = (
        result.num_frames == job.num_frames
        and result.concealed_frames == 0
        and result.decoder == site.decoder
    )
    counts = f"{result.num_frames} frames, {result.concealed_frames} concealed, {result.decoder}"
    wanted = f"{job.num_frames} frames, 0 concealed, {site.decoder}"
    tell(passed(f"{what}: frames", wanted, counts, right))
    slow = [finding for finding in result.findings if finding.source == "kernels"]
    left = "; ".join(f"{each.kind}: {each.detail}" for each in slow) or "none"
    tell(passed(f"{what}: kernels left to PyTorch", "none", left, not slow))
    stages = {f"{name}_s": seconds for name, seconds in result.stage_seconds.items()}
    words = ", ".join(
        f"{name} {seconds / result.num_frames * 1e3:.1f}"
        for name, seconds in result.stage_seconds.items()
    )
    rate = result.num_frames / result.wall_s
    found = f"{rate:.2f} frames/s; ms a frame: {words}"
    tell(passed(f"{what}: {job.settings.matting.model}, stages", "a figure", found, True, **stages))


def tell_memory(site: Site, tell: Tell, what: str, job: SegmentJob, used: int) -> None:
    """PyTorch's, and all that the driver counts.

    Args:
        used: the most, in bytes, beside what was there before; 0: not told.
    """
    device = site.device
    chunk = chunk_frames(job.video, job.settings.streaming)
    planned = segment_bytes(job.video, job.settings, chunk, True)[1]
    figures = {"planned_bytes": float(planned)}
    if device.type == "cuda":
        stats = torch.cuda.memory_stats(device)
        figures["allocated_bytes"] = float(stats["allocated_bytes.all.peak"])
        figures["reserved_bytes"] = float(stats["reserved_bytes.all.peak"])
    else:
        figures |= {"allocated_bytes": 0.0, "reserved_bytes": 0.0}
    key, card = "GB of PyTorch for a lane of 8K", site.machine.card
    found = beside(key, card, figures["allocated_bytes"] / 1e9)
    reserved = f"{found}; {figures['reserved_bytes'] / 1e9:.2f} GB reserved"
    tell(passed(f"{what}: PyTorch's memory", expected(key, card), reserved, True, **figures))
    if used == 0:
        told = "a rehearsal has none" if site.rehearsal else "the driver does not tell it"
        tell(passed(f"{what}: the GPU's memory", "told by the driver", told, site.rehearsal))
        return
    limit = planned + _CONTEXT_BYTES
    tell(
        passed(
            f"{what}: the GPU's memory",
            f"at most {limit / 1e9:.2f} GB, as planned",
            f"{used / 1e9:.2f} GB, decoder and CUDA's own included",
            used <= limit,
            used_bytes=float(used),
        )
    )
