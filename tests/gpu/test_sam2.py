"""SAM 2 on a GPU: in 16 bits, compiled, and in the memory that is planned. Random weights.

`VRMATTE_REQUIRE_GPU=1 make test` on a pod turns the skips into failures.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from orchestrator.machine.segment_memory import tracking_bytes
from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.pixels.batches import EyeBatch
from pipeline.stages.matting.base import MattingModel, load_model
from pipeline.stages.matting.sam2.facts import Sam2Options
from tests.gpu.test_gpu import CUDA, need_a_gpu
from tests.pipeline.demo_truth import scene_clip
from tests.pipeline.sam2_networks import random_network

assert need_a_gpu  # a fixture that is used by itself

pytestmark = [pytest.mark.gpu, pytest.mark.slow]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "sam2.pt"
    torch.save({"model": random_network(1024, slim=False).state_dict()}, path)
    return path


def model(checkpoint: Path, device: torch.device, *, compiled: bool = False) -> MattingModel:
    options = Sam2Options(size="tiny", checkpoint=str(checkpoint), seed="depth", compile=compiled)
    matting = MattingSettings(model="sam2", options=(options,))
    return load_model(matting, ProcessingSettings(), device)


def alpha(made: MattingModel, device: torch.device) -> torch.Tensor:
    clip = scene_clip("room")
    state = made.start(2, clip.height, clip.width, {})
    with torch.inference_mode():
        return made.matte(EyeBatch(clip.rgb.to(device), 0), state).alpha.cpu()


@pytest.mark.timeout(900)
def test_compiled_networks_give_the_same_bits_each_time(checkpoint: Path) -> None:
    plain = alpha(model(checkpoint, CUDA), CUDA)
    compiled = [alpha(model(checkpoint, CUDA, compiled=True), CUDA) for _ in range(2)]
    assert torch.equal(*compiled)
    assert (compiled[0][0] - plain[0]).abs().mean() < 0.01


def test_it_stays_within_what_is_planned(checkpoint: Path) -> None:
    made = model(checkpoint, CUDA)
    torch.cuda.reset_peak_memory_stats(CUDA)
    before = torch.cuda.memory_allocated(CUDA)
    alpha(made, CUDA)
    used = torch.cuda.max_memory_allocated(CUDA) - before
    planned = tracking_bytes(
        MattingSettings(model="sam2", options=(Sam2Options(size="tiny"),)), True
    )
    assert used < planned + 400e6  # the seed model's and the filter's, which are planned by pixels
