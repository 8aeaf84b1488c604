"""Step `busy`: decoding beside much work on the GPU loses, doubles and swaps no frame.

NVDEC writes its surfaces on a stream of the lane. Whether the driver may reuse a surface before
that is done is documented nowhere (docs/decisions/034); it would show under load only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import torch
from torch import Tensor

from orchestrator.gpu_check.clips import LONG, made, opened
from orchestrator.gpu_check.results import passed
from orchestrator.gpu_check.site import Site, Tell
from pipeline.contract import VideoInfo
from pipeline.flow.cuda_streams import segment_stream
from pipeline.pixels.batches import FrameBatch
from pipeline.source.decode import FrameReader
from pipeline.source.timing.frame_index import FrameIndex

LANES = 3
_CHUNK = 10
_WORK_S = 0.2


def behind_work(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`."""
    video, index = opened(site, made(site, LONG))
    stop = min(video.num_frames, 60 if site.rehearsal else 300)
    generator = torch.Generator().manual_seed(1)
    pixels = 3 * video.even_width * video.even_height
    weights = torch.randint(1, 1 << 40, (pixels,), generator=generator).to(site.device)

    def read(work: Callable[[], None], *, cpu_decode: bool = False) -> list[int]:
        return digests(site, video, index, stop, weights, work, cpu_decode=cpu_decode)

    expected = read(lambda: None, cpu_decode=True)
    wanted = f"the {stop} digests of the CPU's decoder"
    distinct = len(set(expected))
    tell(passed("pictures", f"{stop} that differ", f"{distinct}", distinct == stop))
    tell(passed("a quiet GPU", wanted, *_equal(expected, [read(lambda: None)])))
    work = load(site)
    with ThreadPoolExecutor(LANES) as pool:
        lanes = list(pool.map(lambda _: read(work()), range(LANES)))
    said = f"{LANES} lanes, {_WORK_S * 1e3:.0f} ms of work before each {_CHUNK} frames"
    tell(passed(said, wanted, *_equal(expected, lanes)))


def _equal(expected: list[int], lanes: list[list[int]]) -> tuple[str, bool]:
    wrong = [
        frame
        for found in lanes
        for frame, (a, b) in enumerate(zip(expected, found, strict=True))
        if a != b
    ]
    total = sum(map(len, lanes))
    first = f"; the first wrong one: frame {wrong[0]}" if wrong else ""
    return f"{total - len(wrong)} of {total} equal{first}", not wrong


def digests(
    site: Site,
    video: VideoInfo,
    index: FrameIndex,
    stop: int,
    weights: Tensor,
    work: Callable[[], None],
    *,
    cpu_decode: bool,
) -> list[int]:
    """A number of each frame, read as in a segment; `work` is asked for before each batch."""

    def batches() -> Generator[FrameBatch, None, None]:
        yield from reader.batches(0, stop, _CHUNK)

    sums = []
    with segment_stream(site.device) as lane:
        reader = FrameReader(video, index, site.device, cpu_decode=cpu_decode)
        ahead = lane.decode_ahead(batches(), 2, FrameBatch.tensors, lambda: None)
        with closing(ahead):
            for batch in ahead:
                work()
                # Integers wrap around: the order of the sum alters nothing.
                sums += [(frame.flatten().long() * weights).sum() for frame in batch.rgb]
                del batch
        return [int(each) for each in torch.stack(sums).cpu()]


def load(site: Site) -> Callable[[], Callable[[], None]]:
    """Makes work for one lane that keeps its stream busy for `_WORK_S`; on the CPU a little."""
    size = 64 if site.rehearsal else 4096
    kind = torch.float32 if site.rehearsal else torch.float16

    def product() -> Callable[[], None]:
        a, b = (torch.rand(size, size, device=site.device).to(kind) for _ in range(2))
        out = torch.empty_like(a)
        return lambda: void(torch.mm(a, b, out=out))

    times = 1 if site.rehearsal else _times(product())

    def of_a_lane() -> Callable[[], None]:
        once = product()

        def work() -> None:
            for _ in range(times):
                once()

        return work

    return of_a_lane


def void(result: object) -> None:
    del result


def _times(once: Callable[[], None]) -> int:
    """How many calls fill `_WORK_S`."""
    for _ in range(3):
        once()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(20):
        once()
    torch.cuda.synchronize()
    return max(1, round(_WORK_S * 20 / (time.perf_counter() - began)))
