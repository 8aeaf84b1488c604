"""Step `nvdec`: the frames of the GPU's decoder against those of the CPU's, bit for bit.

Both are made into colours on the GPU, by the same operations, so that not one bit may differ. What
a CPU makes of the same samples may be rounded otherwise: it may differ by one level.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from orchestrator.gpu_check.cards import with_engine, without_engine
from orchestrator.gpu_check.clips import (
    AV1,
    FULL,
    H264,
    HEVC,
    OPEN_8K,
    UNTAGGED,
    Clip,
    made,
    opened,
)
from orchestrator.gpu_check.results import Result, passed
from orchestrator.gpu_check.site import Site, Tell
from pipeline.pixels.batches import FrameBatch
from pipeline.source.decode import FrameReader

_CHUNK = 4

#: (what, clip, first frame, whether what 8 bits leave out is compared too)
_CASES: tuple[tuple[str, Clip, int, bool], ...] = (
    ("h264", H264, 0, False),
    ("hevc", HEVC, 0, False),
    ("av1", AV1, 0, False),
    ("hevc 10 bits, 720 lines, untagged", UNTAGGED, 0, True),
    ("hevc 10 bits, full range", FULL, 0, True),
    ("hevc 8K, open GOP, from the middle", OPEN_8K, 13, False),
)


def bit_for_bit(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`."""
    for what, clip, start, fine in _CASES:
        tell(compared(site, what, clip, start, fine))


@dataclass
class Difference:
    """Between frames of two decoders.

    Attributes:
        frames, differing: counted.
        most: levels of 8 bits by which the CPU's own colours are apart at the most.
    """

    frames: int = 0
    differing: int = 0
    most: int = 0

    def add(self, there: FrameBatch, here: FrameBatch, on_cpu: FrameBatch) -> None:
        """One batch of each."""
        for t in range(len(there)):
            same = torch.equal(there.rgb[t], here.rgb[t]) and _same(there.fine, here.fine, t)
            self.frames += 1
            self.differing += not same
        apart = (there.rgb.cpu().int() - on_cpu.rgb.int()).abs().max()
        self.most = max(self.most, int(apart))


def _same(a: Tensor | None, b: Tensor | None, frame: int) -> bool:
    return (a is None and b is None) or (
        a is not None and b is not None and torch.equal(a[frame], b[frame])
    )


def compared(site: Site, what: str, clip: Clip, start: int, fine: bool) -> Result:
    """Compare the clip from a frame on."""
    video, index = opened(site, made(site, clip))
    device = site.device
    there = FrameReader(video, index, device, fine=fine)
    has = site.decodes(clip.codec)
    if there.decoder != site.decoder:
        return without_engine(f"{what}: decoder", site.engines, has, there.decoder)
    here = FrameReader(video, index, device, fine=fine, cpu_decode=True)
    on_cpu = FrameReader(video, index, torch.device("cpu"), fine=fine)
    difference, stop = Difference(), video.num_frames
    for batches in zip(
        *(reader.batches(start, stop, _CHUNK) for reader in (there, here, on_cpu)), strict=True
    ):
        difference.add(*batches)
    return verdict(what, with_engine(site.engines, has), there.decoder, difference)


def verdict(what: str, engine: str, decoder: str, found: Difference) -> Result:
    """In words: right where no bit differs, and a CPU's colours are at most one level apart."""
    return passed(
        what,
        f"{engine}, with the CPU's bits",
        f"{decoder}: {found.differing} of {found.frames} frames differ; {found.most} levels from"
        " colours made by the CPU",
        found.frames > 0 and found.differing == 0 and found.most <= 1,
        frames=float(found.frames),
        differing=float(found.differing),
    )
