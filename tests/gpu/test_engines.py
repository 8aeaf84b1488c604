"""Engines on a real GPU: each beside torch, in halves, with states in 32 bits.

TensorRT is tried where its extra is installed: `uv pip install 'vrmatte[tensorrt]'`.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from pipeline.engines.by_torch import CompileEngine, CudaGraphEngine, TorchEngine
from pipeline.engines.catalogue import ENGINES
from pipeline.engines.compiled_files import CompiledFiles
from pipeline.engines.engine import Engine
from pipeline.engines.kept import BuiltAtOnce, OpenedFile
from pipeline.engines.trust import distrust
from pipeline.flow.cuda_streams import segment_stream
from pipeline.stages.matting.rvm.cuda import parts_on_device, small_input
from pipeline.stages.matting.rvm.recurrence import example_of
from tests.gpu.test_gpu import CUDA, need_a_gpu
from tests.pipeline.engines.networks import a_key
from tests.pipeline.stages.matting.rvm.test_network import make_network

pytestmark = pytest.mark.gpu
__all__ = ["need_a_gpu"]  # a fixture of all tests here, too

SHAPE = (2, 3, 288, 512)


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("name", ["cuda_graph", "compile", "tensorrt"])
@torch.inference_mode()
def test_it_gives_what_torch_gives(
    name: str,
    dtype: torch.dtype,
    refine: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if lacking := ENGINES[name].lacking():
        pytest.skip(f"{lacking} is not installed: {ENGINES[name].how_to_have_it()}")
    part = parts_on_device(make_network(), dtype, CUDA)[refine]
    with segment_stream(CUDA):
        example = example_of(part, small_input(SHAPE, dtype, CUDA))
        torchs = TorchEngine(1, CUDA)
        engine: Engine = (
            CudaGraphEngine(1, CUDA) if name == "cuda_graph" else CompileEngine(1, CUDA)
        )
        began = time.perf_counter()
        if name == "tensorrt":
            from pipeline.engines.tensorrt import TensorRt

            files = CompiledFiles(tmp_path)
            key = a_key(example.shapes)
            BuiltAtOnce("TensorRT", TensorRt(1, CUDA), files, lambda *asked: key).load(
                part, example
            )
            kept = files.read(key)
            assert kept is not None
            engine = OpenedFile("tensorrt", TensorRt(1, CUDA), files, kept.digest, torchs)
        runner, reference = engine.load(part, example), torchs.load(part, example)
        took = time.perf_counter() - began
        assert distrust(runner, reference, example) is None
        speeds = []
        for each in (reference, runner):
            picture = torch.rand(SHAPE, device=CUDA)
            torch.cuda.synchronize()
            began = time.perf_counter()
            for _ in range(300):
                each(picture)
            torch.cuda.synchronize()
            speeds.append(300 / (time.perf_counter() - began))
        for ours, theirs in zip(runner.states, reference.states, strict=True):
            assert ours.dtype == torch.float32
            assert float((ours - theirs).abs().mean()) <= 1 / 255
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{name} {dtype}: {took:.1f} s to make; {speeds[1]:.0f} calls a second,"
            f" torch {speeds[0]:.0f}"
        )
