from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.machine.crew import crew_of
from orchestrator.machine.devices import Devices, Gpu
from orchestrator.machine.segment_memory import (
    Share,
    encoders_bytes_per_pixel,
    fitted,
    outside_bytes,
    pytorch_bytes,
    segment_bytes,
    share,
    with_needs,
)
from orchestrator.out.folder import OutFolder
from orchestrator.settings.settings import load_settings, video_settings
from pipeline.contract import (
    EncodingSettings,
    MattingSettings,
    StoredView,
    StreamingSettings,
    VideoInfo,
    VideoSettings,
    chunk_frames,
)
from tests.orchestrator.worlds import make_job

GB = 10**9
BY_BOXES = VideoSettings()
OPEN = VideoSettings(matting=MattingSettings(region="whole"))


def video(width: int, height: int) -> VideoInfo:
    return replace(make_job().info, width=width, height=height)


UHD, EIGHT_K = video(3840, 1920), video(8192, 4096)


def test_chunks_are_smaller_for_larger_pictures_and_as_asked_if_asked() -> None:
    sizes = [(1920, 960), (4096, 2048), (5760, 2880), (8192, 4096), (11520, 5760)]
    chunks = [chunk_frames(video(*size), StreamingSettings()) for size in sizes]
    assert chunks == [4, 4, 2, 1, 1]
    assert chunk_frames(EIGHT_K, StreamingSettings(chunk_frames=3)) == 3


def test_8k_fits_into_6_gb_of_a_gpu_as_it_is() -> None:
    of_gpu = share(1, 64 * GB, 24 * GB, None, 6.0)
    assert of_gpu.vram_bytes == 6 * GB
    assert of_gpu.vram_for_segments is not None
    assert segment_bytes(EIGHT_K, OPEN, chunk_frames(EIGHT_K, OPEN.streaming), True)[1] < (
        of_gpu.vram_for_segments
    )
    assert fitted(EIGHT_K, OPEN, Share(None, 6 * GB), True) == OPEN


def test_pictures_that_are_resampled_are_planned_with_more() -> None:
    stored = replace(EIGHT_K, stored=StoredView(4096, 4096, "tb", False, 2, mesh_sha256="00"))
    for on_gpu in (False, True):
        plain, more = (segment_bytes(v, OPEN, 1, on_gpu)[on_gpu] for v in (EIGHT_K, stored))
        assert more - plain > 25 * 8192 * 4096 * (0.6 if on_gpu else 1), "its grids at least"


def test_frames_that_wait_for_boxes_are_planned_with_and_given_up_where_they_do_not_fit() -> None:
    chunk = chunk_frames(EIGHT_K, BY_BOXES.streaming)
    for on_gpu in (False, True):
        by_boxes, whole = (
            segment_bytes(EIGHT_K, settings, chunk, on_gpu)[on_gpu] for settings in (BY_BOXES, OPEN)
        )
        assert by_boxes - whole == 16 * 3 * 8192 * 4096
    assert fitted(EIGHT_K, BY_BOXES, Share(None, 8 * GB), True) == BY_BOXES
    assert fitted(EIGHT_K, BY_BOXES, Share(None, 6 * GB), True) == OPEN
    assert fitted(UHD, BY_BOXES, Share(None, 6 * GB), True) == BY_BOXES


def test_a_limit_that_is_set_makes_chunks_smaller_and_a_machine_never_does() -> None:
    asked = replace(OPEN, streaming=StreamingSettings(chunk_frames=4))
    small = fitted(EIGHT_K, asked, Share(None, 6 * GB), True)
    assert small.streaming.chunk_frames in (1, 2)
    assert small.fingerprint() != asked.fingerprint(), "it alters bits: old segments do not fit"
    assert fitted(UHD, asked, Share(None, 6 * GB), True) == asked
    assert fitted(EIGHT_K, asked, Share(), True) == asked
    tiny = fitted(EIGHT_K, asked, Share(None, GB), True)
    assert tiny.streaming.chunk_frames == 1, "then it is tried, with one frame at a time"


def test_on_the_cpu_the_limit_of_the_memory_counts() -> None:
    asked = replace(OPEN, streaming=StreamingSettings(chunk_frames=4))
    assert fitted(EIGHT_K, asked, Share(40 * GB, None), False) == asked
    assert fitted(EIGHT_K, asked, Share(16 * GB, None), False) != asked


@given(
    workers=st.integers(1, 8),
    machine=st.integers(1, 2000),
    gpu=st.none() | st.integers(1, 200),
    ram=st.none() | st.floats(0.1, 1000),
    vram=st.none() | st.floats(0.1, 200),
)
def test_shares_stay_within_machine_and_limits(
    workers: int, machine: int, gpu: int | None, ram: float | None, vram: float | None
) -> None:
    one = share(workers, machine * GB, None if gpu is None else gpu * GB, ram, vram)
    allowed = machine * GB if ram is None else ram * GB
    assert one.ram_bytes is not None
    assert workers * one.ram_bytes <= allowed + workers
    assert (one.vram_bytes is None) == (gpu is None)
    if gpu is not None and one.vram_bytes is not None:
        assert one.vram_bytes <= gpu * GB
        assert vram is None or one.vram_bytes <= vram * GB + 1
    for room in (one.ram_for_segments, one.vram_for_segments):
        assert room is None or room >= 0


@given(st.integers(2, 16384), st.integers(2, 8192), st.integers(1, 8), st.booleans())
def test_larger_pictures_and_chunks_never_need_less(
    width: int, height: int, chunk: int, on_gpu: bool
) -> None:
    need = segment_bytes(video(width, height), OPEN, chunk, on_gpu)
    assert need <= segment_bytes(video(width + 2, height), OPEN, chunk, on_gpu)
    assert need <= segment_bytes(video(width, height), OPEN, chunk + 1, on_gpu)


def test_a_crew_is_told_its_limits_and_plans_with_what_there_is(tmp_path: Path) -> None:
    gpus = [Gpu(0, "GPU-a", "L4", 24 * GB), Gpu(1, "GPU-b", "L40S", 48 * GB)]
    devices = Devices((1, 0), "two GPUs", tuple(gpus))
    out = OutFolder(tmp_path)
    settings = load_settings(None, {"limits": {"vram_gb": 10, "ram_gb": 32}})
    crew = crew_of(settings, devices, out, [], lanes=8, machine_bytes=256 * GB)
    of_pytorch = [setup.vram_bytes for setup in crew.setups.values()]
    assert of_pytorch[0] == of_pytorch[1]
    assert of_pytorch[0] is not None
    assert 7 * GB < of_pytorch[0] < 10 * GB - 600_000_000, "decoders and the context want some, too"
    assert [setup.idle_decoders for setup in crew.setups.values()] == [0, 0]
    assert [setup.ram_bytes for setup in crew.setups.values()] == [16 * GB] * 2
    assert [setup.device for setup in crew.setups.values()] == [1, 0]
    assert [Path(setup.log_path).name for setup in crew.setups.values()] == [
        "gpu1.jsonl",
        "gpu0.jsonl",
    ]
    assert [gpu.uuid for gpu in crew.gpus.values()] == ["GPU-b", "GPU-a"]
    usual = load_settings(None, {})
    free = crew_of(usual, devices, out, [], lanes=8, machine_bytes=256 * GB)
    for setup, gpu in zip(free.setups.values(), (48 * GB, 24 * GB), strict=True):
        assert setup.vram_bytes is not None
        assert gpu / 2 < setup.vram_bytes < gpu - 600_000_000, "nobody else's room is taken"
    rooms = [spec.vram_bytes for spec in free.specs()]
    assert rooms[0] is not None
    assert rooms[1] is not None
    assert rooms[1] < rooms[0] < 48 * GB
    on_cpu = Devices(("cpu",) * 2, "")
    cpu = crew_of(usual, on_cpu, out, [], lanes=2, machine_bytes=24 * GB)
    assert not cpu.on_gpu
    assert cpu.specs()[0].vram_bytes is None
    assert [setup.vram_bytes for setup in cpu.setups.values()] == [None, None]
    assert cpu.memory_used(0) is None


@given(
    sizes=st.lists(st.sampled_from([512, 1920, 3840, 8192]), min_size=1, max_size=4),
    lanes=st.integers(1, 8),
    gigabytes=st.floats(3, 80),
    nvenc=st.booleans(),
    idle=st.integers(0, 2),
)
def test_pytorch_and_what_is_outside_of_it_are_within_the_limit(
    sizes: list[int], lanes: int, gigabytes: float, nvenc: bool, idle: int
) -> None:
    """An allocation ledger: segments begin while their needs fit, each with its decoder."""
    settings = replace(OPEN, deliverables=("greenscreen", "matte"))
    if nvenc:
        settings = replace(settings, encoding=EncodingSettings(encoder="nvenc"))
    jobs = [
        with_needs(replace(make_job(), info=video(w, w // 2), settings=settings), True)
        for w in sizes
    ]
    room = Share(vram_bytes=round(gigabytes * GB)).vram_for_segments
    assert room is not None
    of_pytorch = pytorch_bytes(room, lanes, jobs, idle_decoders=idle)
    outside = [outside_bytes(job.info, job.settings) for job in jobs]
    fits = [job for job in jobs if job.vram_bytes <= room]
    for job in fits:  # so many of them at once as the fleet begins
        count = min(lanes, room // job.vram_bytes)
        held = count * outside_bytes(job.info, job.settings) + idle * max(outside)
        if held <= room / 2:
            assert of_pytorch + held <= room + 1
    if fits == jobs and not idle:  # and each still has what is planned for it in PyTorch
        least = max(j.vram_bytes - out for j, out in zip(jobs, outside, strict=True))
        largest = max(jobs, key=lambda job: job.vram_bytes)
        if len(set(sizes)) == 1:
            assert of_pytorch + 1 >= least == largest.vram_bytes - max(outside)


def test_8k_of_10_bits_fits_into_6_gb_with_what_its_decoder_takes(tmp_path: Path) -> None:
    deep = replace(EIGHT_K, bit_depth=10, pixel_format="yuv420p10le")
    settings = replace(OPEN, deliverables=("webm",))
    job = with_needs(replace(make_job(), info=deep, settings=settings), True)
    limited = load_settings(None, {"limits": {"vram_gb": 6}})
    devices = Devices((0,), "", (Gpu(0, "GPU-a", "L4", 24 * GB),))
    crew = crew_of(limited, devices, OutFolder(tmp_path), [job], lanes=4, machine_bytes=64 * GB)
    room, of_pytorch = crew.specs()[0].vram_bytes, crew.setups[0].vram_bytes
    assert room is not None
    assert of_pytorch is not None
    assert job.vram_bytes <= room, "one segment at a time"
    assert fitted(deep, settings, Share(vram_bytes=6 * GB), True) == settings, "in whole chunks"
    surfaces = 10 * 3 * 8192 * 4096
    assert of_pytorch + surfaces + 600_000_000 <= 6 * GB
    assert of_pytorch >= job.vram_bytes - surfaces, "and what is planned for it in PyTorch"


@pytest.mark.parametrize("codec", ["hevc", "h264", "av1"])
def test_a_slower_encoder_is_never_planned_with_less(codec: Literal["hevc", "h264", "av1"]) -> None:
    for name in ("webm", "greenscreen", "hevc-alpha", "matte", "prores", "tiff"):
        needs = [
            encoders_bytes_per_pixel(
                VideoSettings(
                    deliverables=(name,), encoding=EncodingSettings(codec=codec, quality=quality)
                )
            )
            for quality in ("draft", "balanced", "best")
        ]
        assert needs == sorted(needs)
        both = VideoSettings(deliverables=(name, "webm"), encoding=EncodingSettings(codec=codec))
        assert encoders_bytes_per_pixel(both) == needs[1] + 60


@pytest.mark.parametrize("on_gpu", [False, True])
def test_sam2_is_planned_with_what_its_size_takes(on_gpu: bool, tmp_path: Path) -> None:
    job = replace(make_job(), info=UHD)
    needs, rooms = [], []
    gpus = (Gpu(0, "GPU-a", "L4", 24 * GB),) if on_gpu else ()
    devices = Devices((0,) if on_gpu else ("cpu",), "", gpus)
    for size in (None, "tiny", "small", "base_plus", "large"):
        matting = {"model": "rvm", "region": "whole"}
        if size is not None:
            matting = {"model": "sam2+rvm", "sam2_size": size}
        settings = load_settings(None, {"matting": matting})
        one = with_needs(replace(job, settings=video_settings(settings)), on_gpu)
        needs.append((one.ram_bytes, one.vram_bytes)[on_gpu])
        out = OutFolder(tmp_path)
        crew = crew_of(settings, devices, out, [], lanes=3, machine_bytes=24 * GB)
        rooms.append((crew.specs()[0].ram_bytes, crew.specs()[0].vram_bytes)[on_gpu] or 0)
    assert needs == sorted(needs)
    assert needs[1] > needs[0] + 4e8
    assert rooms == sorted(rooms, reverse=True)
    assert rooms[0] - rooms[-1] > 8e8  # the weights of the large one
    small = load_settings(None, {"matting": {"model": "sam2", "sam2_image_size": 512}})
    quarter = with_needs(replace(job, settings=video_settings(small)), on_gpu)
    least = (quarter.ram_bytes, quarter.vram_bytes)[on_gpu]
    assert needs[0] < least < needs[0] + (needs[2] - needs[0]) / 3


def test_jobs_know_what_their_segments_need() -> None:
    job = with_needs(replace(make_job(), info=EIGHT_K), on_gpu=False)
    ram, vram = segment_bytes(EIGHT_K, job.settings, 1, False)
    assert (job.ram_bytes, job.vram_bytes) == (ram + 500_000_000, vram)
    assert job.ram_bytes > 8 * GB
