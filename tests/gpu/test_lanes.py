"""What only a GPU can show of several segments at once: streams, copies, graphs, NVENC.

Run as `tests/gpu/test_gpu.py` is. Nothing of this has been run yet: no GPU was at hand.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs
from torch import Tensor

from pipeline.contract import (
    EncodingSettings,
    FinishJob,
    ProcessingSettings,
    SegmentJob,
    SegmentResult,
    StereoSettings,
    VideoSettings,
)
from pipeline.contract.nvenc_ways import WAYS, nvenc_way
from pipeline.deliverables.base import make_deliverable
from pipeline.deliverables.device_trial import MATRICES
from pipeline.encode.choice import encoder_options
from pipeline.encode.nvenc_trial import Asked, NvencTrials
from pipeline.engines.by_torch import CudaGraphEngine, TorchEngine
from pipeline.engines.cuda_graph import capture_lock, cuda_capture
from pipeline.finish import finish_video
from pipeline.flow.cuda_streams import segment_stream
from pipeline.flow.device_copies import HostCopy, HostRing, to_device
from pipeline.flow.overlap import overlap
from pipeline.pixels.batches import EyeBatch, FrameBatch
from pipeline.pixels.eyes import split_eyes
from pipeline.pixels.layers import Layers
from pipeline.segment import run_segment
from pipeline.source.video_info import read_video
from pipeline.stages.chain import Chain
from pipeline.stages.matting.base import MattingModel, load_model
from pipeline.stages.matting.rvm.cuda import DeviceMatting
from pipeline.stages.stereo.stage import Stereo
from pipeline.stages.stereo.stage import make as make_stereo
from tests.clips import X264, ClipSpec, read_numbers
from tests.finished import decoded, rgba
from tests.gpu.test_gpu import CUDA, need_a_gpu, rvm_settings
from tests.pipeline.stages.matting.rvm.test_network import make_network
from tests.pipeline.stages.stereo.test_ahead import damaged, result
from tests.render import CPU, chroma_settings

GetClip = Callable[[ClipSpec], Path]

pytestmark = [pytest.mark.gpu, pytest.mark.slow]
__all__ = ["need_a_gpu"]  # a fixture of all tests here, too

LANES = 3


@contextmanager
def nothing_waits() -> Iterator[None]:
    """PyTorch raises where a thread would wait for the GPU."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def lane(seed: int) -> bool:
    """Much work on a stream, planes of it in one thread, their copies used in another."""
    arrived: list[Tensor] = []
    expected: list[Tensor] = []
    with segment_stream(CUDA) as streams:
        ring = HostRing(3, streams.transfer)

        def copies() -> Iterator[HostCopy]:
            generator = torch.Generator().manual_seed(seed)
            for _ in range(12):
                small = torch.randint(0, 256, (2, 1_000_000), generator=generator)
                expected.append(small.to(torch.uint8))
                data = to_device(small, CUDA)
                for _ in range(50):  # the copy begins long before this is done
                    data = (data * 3 + 1 - 1) // 3
                yield ring.begin(data.to(torch.uint8))

        for copy in overlap(copies(), 2, on_thread=streams.use):
            with copy.arrived() as data:
                arrived.append(data.clone())
    return all(map(torch.equal, arrived, expected))


def test_copies_of_lanes_at_once_arrive_whole() -> None:
    with ThreadPoolExecutor(LANES) as pool:
        assert all(pool.map(lane, range(2 * LANES)))


@pytest.fixture
def job(clip: GetClip, tmp_path: Path) -> SegmentJob:
    index_path = tmp_path / "index.json"
    path = clip(ClipSpec("h264.mp4", X264, eye=(256, 256)))
    video = read_video(path, index_path, "sbs")
    settings = replace(chroma_settings(), deliverables=("webm", "matte"))
    settings = replace(settings, encoding=EncodingSettings(encoder="software"))
    return SegmentJob(video, settings, 0, 0, 50, str(index_path), str(tmp_path))


def in_lanes(job: SegmentJob, chain: Chain, lanes: int, folder: Path) -> list[SegmentResult]:
    def run(number: int) -> SegmentResult:
        place = folder / str(number)
        place.mkdir(parents=True)
        return run_segment(replace(job, work_dir=str(place)), chain, CUDA)

    with ThreadPoolExecutor(lanes) as pool:
        return list(pool.map(run, range(LANES)))


@pytest.mark.parametrize("name", ["chroma", "rvm"])
def test_lanes_alter_no_bit(name: str, job: SegmentJob, tmp_path: Path) -> None:
    matting = rvm_settings() if name == "rvm" else job.settings.matting
    processing = ProcessingSettings(engine="torch")
    settings = replace(job.settings, matting=matting, processing=processing)
    job = replace(job, settings=settings)
    chain = Chain.of(job.settings, CUDA)
    alone = in_lanes(job, chain, 1, tmp_path / "alone")
    together = in_lanes(job, chain, LANES, tmp_path / "together")
    assert {result.digests for result in together} == {alone[0].digests}


# Graphs.


def matte(model: MattingModel, rgb: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    with segment_stream(CUDA):
        _, eyes, _, height, width = rgb.shape
        state = model.start(eyes, height, width, {})
        made = [
            model.matte(EyeBatch(rgb[t : t + chunk], t), state) for t in range(0, len(rgb), chunk)
        ]
        colours = [batch.foreground for batch in made if batch.foreground is not None]
        found = torch.cat([batch.alpha for batch in made]), torch.cat(colours)
        torch.cuda.current_stream().synchronize()
    return found


def noise(frames: int = 10, height: int = 256, width: int = 320) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    rgb = torch.randint(0, 256, (frames, 2, 3, height, width), generator=generator)
    return rgb.to(torch.uint8).to(CUDA)


def double(dtype: torch.dtype, graphs: bool) -> DeviceMatting:
    engine = CudaGraphEngine(1, CUDA) if graphs else TorchEngine(1, CUDA)
    return DeviceMatting(make_network(), 0.5, dtype, CUDA, engine)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_graphs_chunks_and_lanes_alter_no_bit(dtype: torch.dtype) -> None:
    rgb = noise()
    expected = matte(double(dtype, graphs=False), rgb, 10)
    with capture_logs() as logs:
        model = double(dtype, graphs=True)
        for chunk in (10, 1, 4):
            assert all(map(torch.equal, expected, matte(model, rgb, chunk)))
        busy = threading.Event()

        def memory_comes_and_goes() -> None:  # as in the lanes of other segments
            with segment_stream(CUDA):
                while not busy.is_set():
                    torch.empty(50_000_000, device=CUDA).add_(1).sum().item()

        thread = threading.Thread(target=memory_comes_and_goes)
        thread.start()
        try:
            with ThreadPoolExecutor(LANES) as pool:
                made = list(pool.map(lambda _: matte(model, rgb, 4), range(3 * LANES)))
        finally:
            busy.set()
            thread.join()
    assert all(all(map(torch.equal, expected, found)) for found in made)
    assert [log for log in logs if log["event"] == "no_cuda_graph"] == []


def test_rvm_with_and_without_graphs_and_on_the_cpu(
    clip: GetClip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rgb = noise(6, 512, 512)
    with capture_logs() as logs:
        graphed = load_model(rvm_settings(), ProcessingSettings(engine="cuda_graph"), CUDA)
        plain = load_model(rvm_settings(), ProcessingSettings(engine="torch"), CUDA)
        assert isinstance(graphed, DeviceMatting)
        found = matte(graphed, rgb, 4)
        assert all(map(torch.equal, matte(plain, rgb, 2), found))
    reasons = [log["reason"] for log in logs if log["event"] == "no_cuda_graph"]
    with capsys.disabled():
        print(f"RVM as a CUDA graph: {reasons or 'yes'}")  # noqa: T201
    assert reasons == []
    by_torch = load_model(rvm_settings(), ProcessingSettings(engine="torch"), CPU)
    state = by_torch.start(2, 512, 512, {})
    expected = by_torch.matte(EyeBatch(rgb.cpu(), 0), state).alpha
    assert float((found[0].float().cpu() - expected).abs().mean()) <= 1 / 255


def test_stereo_by_a_graph_mends_as_by_single_calls() -> None:
    here = damaged()
    there = Layers(
        0, here.rgb.to(CUDA), here.matte.alpha.to(CUDA), (here.rgb.float() / 255).to(CUDA)
    )
    with segment_stream(CUDA), capture_logs() as logs:
        plain, told = result(Stereo(StereoSettings()), there, 4)
        graphed = make_stereo(VideoSettings(), CUDA)
        for chunk in (1, 3):
            found, findings = result(graphed, there, chunk)
            assert torch.equal(found.matte.alpha, plain.matte.alpha)
            assert findings == told
    assert [log for log in logs if log["event"] == "no_cuda_graph"] == []


def test_a_capture_that_fails_leaves_everything_as_it_was() -> None:
    value = torch.ones(1, device=CUDA)

    def waits() -> None:
        value.add_(value.item())

    def doubles() -> None:
        value.mul_(2)

    with segment_stream(CUDA), capture_lock:
        with pytest.raises(RuntimeError):
            cuda_capture(waits)
        value.fill_(1)
        replay = cuda_capture(doubles)
        for _ in range(3):
            replay()
        assert value.item() == 8
    torch.cuda.empty_cache()  # asserts that no capture is under way
    assert lane(1)


def test_nobody_waits_between_the_frames_and_the_encoder(job: SegmentJob) -> None:
    """Of RVM, a green screen and a matte; what refines stereo has tests of its own."""
    model = double(torch.float16, graphs=True)
    makers = [
        make_deliverable(n, job.video, job.settings) for n in ("greenscreen", "matte", "webm")
    ]
    with segment_stream(CUDA):
        pictures = torch.randint(0, 256, (4, 3, 256, 512), device=CUDA).to(torch.uint8)
        eyes = split_eyes(FrameBatch(pictures, 0), "sbs")
        state = model.start(2, 256, 256, {})
        rings = [HostRing(3) for _ in makers]
        copies: list[HostCopy] = []
        for debug in (False, True):  # the first takes memory
            with nothing_waits() if debug else nullcontext():
                layers = Layers(0, eyes.rgb).with_matte(model.matte(eyes, state))
                copies = [
                    ring.begin(maker.planes(layers))
                    for ring, maker in zip(rings, makers, strict=True)
                ]
        for copy in copies:
            with copy.arrived() as data:
                assert len(data) == 4


# NVENC.


def rendered(job: SegmentJob, way: str, folder: Path) -> Path:
    encoding = EncodingSettings(encoder="nvenc", nvenc_input="gpu", keyframe_s=0.3)
    if way != "gpu":
        encoding = replace(encoding, nvenc_input="pipe", nvenc_pipe=way)
    settings: VideoSettings = replace(
        job.settings, deliverables=("greenscreen",), encoding=encoding
    )
    folder.mkdir()
    chain = Chain.of(settings, CUDA)
    parts = tuple(
        run_segment(
            SegmentJob(job.video, settings, k, a, b, job.index_path, str(folder)), chain, CUDA
        )
        for k, (a, b) in enumerate([(0, 20), (20, 40), (40, 50)])
    )
    target = folder / "green.mp4"
    finish_video(FinishJob(job.video, settings, parts, (str(target),), str(folder)))
    return target


def test_all_ways_to_nvenc_show_the_same_pictures(job: SegmentJob, tmp_path: Path) -> None:
    size = job.video.even_width, job.video.even_height
    options = tuple(encoder_options(EncodingSettings(encoder="nvenc"), 60))
    nvenc = NvencTrials([os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]])
    found = {way.name: nvenc(way, Asked(options, *size)) for way in WAYS}
    for name, why_not in found.items():
        print(f"NVENC, {nvenc_way(name).words}: {why_not or 'works'}")  # noqa: T201
    huge = nvenc(nvenc_way("gpu"), Asked(options, 8192, 4096))
    print(f"NVENC from the GPU's memory, 8192x4096: {huge or MATRICES}")  # noqa: T201
    working = [name for name, why_not in found.items() if why_not is None]
    if len(working) < 2:
        pytest.skip(f"fewer than two ways to NVENC work here: {found}")
    ours, *others = (
        [rgba(frame) for frame in decoded(rendered(job, way, tmp_path / way))] for way in working
    )
    left, right = read_numbers([picture.round().astype(np.uint8) for picture in ours])
    assert left == right == list(range(50))
    for other in others:
        for a, b in zip(ours, other, strict=True):
            assert float(np.abs(a - b).mean()) <= 2.0
