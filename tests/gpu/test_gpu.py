"""What only a GPU can show.

`VRMATTE_REQUIRE_GPU=1 make test` on a pod turns the skips into failures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from orchestrator.machine.segment_memory import segment_bytes
from pipeline.clip import ClipReader
from pipeline.contract import (
    MattingSettings,
    ProcessingSettings,
    SegmentJob,
    VideoSettings,
    chunk_frames,
)
from pipeline.pixels.eyes import split_eyes
from pipeline.segment import run_segment
from pipeline.source.decode import FrameReader
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.video_info import read_video
from pipeline.stages.chain import Chain
from pipeline.stages.matting.base import load_model
from pipeline.stages.matting.rvm.facts import RvmOptions
from tests.clips import SVT_AV1, X264, X265, ClipSpec, read_frames, read_numbers
from tests.render import CPU

GetClip = Callable[[ClipSpec], Path]
CUDA = torch.device("cuda", 0)

pytestmark = [pytest.mark.gpu, pytest.mark.slow]


@pytest.fixture(autouse=True)
def need_a_gpu() -> None:
    if torch.cuda.is_available():
        return
    if os.environ.get("VRMATTE_REQUIRE_GPU") == "1":
        pytest.fail("VRMATTE_REQUIRE_GPU=1, and torch sees no CUDA device")
    pytest.skip("no CUDA device")


def open_on(device: torch.device, path: Path, folder: Path) -> FrameReader:
    index_path = folder / "index.json"
    video = read_video(path, index_path, "sbs")
    return FrameReader(video, FrameIndex.load(index_path), device)


@pytest.mark.parametrize(
    "spec",
    [
        ClipSpec("h264.mp4", X264, eye=(256, 256)),
        ClipSpec("hevc.mp4", X265, eye=(256, 256)),
        ClipSpec("hevc10.mp4", X265, "yuv420p10le", eye=(256, 256)),
        ClipSpec(
            "untagged10.mp4",
            X265,
            "yuv420p10le",
            eye=(640, 720),
            filters=("setparams=colorspace=unknown",),
            options=("-colorspace", "unknown"),
        ),
        ClipSpec("full10.mp4", X265, "yuv420p10le", eye=(640, 720), color=("bt709", "pc")),
        ClipSpec("av1.mkv", SVT_AV1, eye=(256, 256)),
    ],
    ids=lambda spec: spec.name,
)
def test_the_gpus_decoder_gives_the_cpus_frames(
    spec: ClipSpec, clip: GetClip, tmp_path: Path
) -> None:
    path = clip(spec)
    here = open_on(CPU, path, tmp_path)
    there = open_on(CUDA, path, tmp_path)
    print(f"{spec.name}: {there.decoder}")  # noqa: T201
    if spec.codec is SVT_AV1 and there.decoder != "NVDEC":
        # Decoders of Turing's design know no AV1; then the reason must be told.
        assert there.decoder.removeprefix("CPU: ") not in ("", "CPU")
    else:
        assert there.decoder == "NVDEC"
    for a, b in zip(here.batches(7, 31, 4), there.batches(7, 31, 4), strict=True):
        assert b.rgb.device.type == "cuda"
        # By the same operations on the same samples: a GPU may round a product and a sum at once.
        apart = (a.rgb.int() - b.rgb.cpu().int()).abs()
        assert apart.max() <= 1
        assert apart.float().mean() <= 0.01


@pytest.mark.parametrize("name", ["chroma", "plate"])
def test_mattes_agree_between_kinds_of_device(name: str, clip: GetClip, tmp_path: Path) -> None:
    path = clip(ClipSpec("h264.mp4", X264, eye=(256, 256)))
    settings = VideoSettings(matting=MattingSettings(model=name))
    alphas = []
    for device in (CPU, CUDA):
        reader = open_on(device, path, tmp_path)
        video = read_video(path, tmp_path / "index.json", "sbs")
        job = SegmentJob(video, settings, 0, 0, 20, str(tmp_path / "index.json"), str(tmp_path))
        model = load_model(settings.matting, ProcessingSettings(), device)
        prepared = model.prepare(ClipReader(job, reader))
        state = model.start(2, 256, 256, prepared)
        mattes = [model.matte(split_eyes(b, "sbs"), state) for b in reader.batches(0, 20, 4)]
        alphas.append(torch.cat([matte.alpha.cpu().float() for matte in mattes]))
    assert (alphas[0] - alphas[1]).abs().mean() <= 1 / 255


@pytest.fixture
def six_gb() -> Iterator[None]:
    """This process may take 6 GB of the GPU, as `limits.vram_gb` sees to in a worker.

    PyTorch has of it what the context (0.6 GB) and the surfaces of a decoder (1 GB) leave.
    """
    total = torch.cuda.get_device_properties(CUDA).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 4.39e9 / total), CUDA)
    torch.cuda.reset_peak_memory_stats(CUDA)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0, CUDA)
    torch.cuda.empty_cache()


@pytest.mark.usefixtures("six_gb")
@pytest.mark.parametrize("name", ["chroma", "rvm"])
def test_8k_fits_into_6_gb(name: str, clip: GetClip, tmp_path: Path) -> None:
    matting = rvm_settings() if name == "rvm" else MattingSettings(model=name)
    path = clip(ClipSpec("8k_LR.mp4", X265, num_frames=12, eye=(4096, 4096)))
    index_path = tmp_path / "index.json"
    job = SegmentJob(
        read_video(path, index_path, "sbs"),
        VideoSettings(matting=matting, processing=ProcessingSettings(engine="torch")),
        0,
        0,
        12,
        str(index_path),
        str(tmp_path / "work"),
    )
    (tmp_path / "work").mkdir()
    result = run_segment(job, Chain.of(job.settings, CUDA), CUDA)
    assert result.num_frames == 12
    on_device = [
        taken for stage, taken in result.stage_seconds.items() if stage not in ("decode", "encode")
    ]
    assert len(on_device) >= 2
    assert min(on_device) > 0  # by real events
    # Two clocks, and one stream: a thousandth is theirs.
    assert sum(on_device) <= 1.001 * result.wall_s
    peak = torch.cuda.max_memory_allocated(CUDA)
    chunk = chunk_frames(job.video, job.settings.streaming)
    planned = segment_bytes(job.video, job.settings, chunk, True)[1]
    print(f"{name} 8K: {peak / 1e9:.2f} GB by PyTorch, {planned / 1e9:.2f} GB planned")  # noqa: T201


def rvm_settings() -> MattingSettings:
    """RVM's code and weights, fetched where the environment does not say where they are."""
    options = RvmOptions()
    if "VRMATTE_RVM_REPO" in os.environ:
        options = replace(options, repo=os.environ["VRMATTE_RVM_REPO"])
    if "VRMATTE_RVM_WEIGHTS" in os.environ:
        options = replace(options, weights=os.environ["VRMATTE_RVM_WEIGHTS"])
    return MattingSettings(model="rvm", options=(options,))


def test_want_of_memory_is_met_by_smaller_chunks(clip: GetClip, tmp_path: Path) -> None:
    """With 1.2 GB a 4K segment of four frames a chunk does not fit; with fewer it does."""
    source, out = clip(ClipSpec("uhd_LR.mp4", X264, num_frames=12, eye=(1920, 1920))), tmp_path
    config = tmp_path / "settings.yaml"
    config.write_text("matting: {model: chroma}\nstreaming: {chunk_frames: 32, lanes: 1}\n")
    program = (
        "import sys, torch; from workers import work; real = work._open\n"
        "def small(device, setup):\n"
        "    name = real(device, setup)\n"
        "    total = torch.cuda.get_device_properties(device).total_memory\n"
        "    torch.cuda.set_per_process_memory_fraction(1.2e9 / total, device)\n"
        "    return name\n"
        "work._open = small\n"
        "class Small(work.Pipeline): pass\n"
    )
    (tmp_path / "small_gpu.py").write_text(program)
    start = (
        "import sys; from dataclasses import replace; import orchestrator.run.running_crew as r\n"
        "real = r.LocalBackend\n"
        "r.LocalBackend = lambda setups, used: real(\n"
        "    {w: replace(s, work='small_gpu:Small') for w, s in setups.items()}, used)\n"
        "from orchestrator.cli import main; main()\n"
    )
    command = [sys.executable, "-c", start, "run", str(source), "-o", str(out / "out")]
    command += ["--gpus", "0", "--config", str(config)]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    (webm,) = (out / "out").rglob("*.webm")
    left, right = read_numbers(read_frames(webm))
    assert left == right == list(range(12))
    (video,) = json.loads((out / "out/report.json").read_text())["videos"]
    assert video["retries"] > 0
    print(video["notes"])  # noqa: T201


def test_the_main_job_on_all_gpus(clip: GetClip, tmp_path: Path) -> None:
    source, out = clip(ClipSpec("h264_LR.mp4", X264, eye=(256, 256))), tmp_path / "out"
    command = [sys.executable, "-m", "orchestrator.cli", "run", str(source), "-o", str(out)]
    command += ["--gpus", "all", "--model", "chroma", "--segment-frames", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = out.rglob("*.webm")
    left, right = read_numbers(read_frames(path))
    assert left == right == list(range(50))
    (video,) = json.loads((out / "report.json").read_text())["videos"]
    print(video["decoders"])  # noqa: T201
