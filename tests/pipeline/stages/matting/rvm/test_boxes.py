"""RVM takes boxes: each way of running it hands on what it remembers, and looks without memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.engines.by_torch import TorchEngine
from pipeline.pixels.batches import EyeBatch
from pipeline.stages.matting.base import BoxModel
from pipeline.stages.matting.regions.boxes import Box
from pipeline.stages.matting.regions.memory import carried
from pipeline.stages.matting.rvm.coefficients import shrink
from pipeline.stages.matting.rvm.cuda import DeviceMatting
from pipeline.stages.matting.rvm.load import RobustVideoMatting
from pipeline.stages.matting.rvm.openvino import OpenVinoMatting
from tests.pipeline.stages.matting.rvm.test_network import clip, make_network
from tests.render import CPU

#: Height and width of a box, and the network's input as a share of it.
SIZES = [(80, 112, 0.5), (94, 126, 0.43), (64, 96, 1.0)]


class InTime(nn.Module):
    """The double takes frames one by one, RVM several too: ``[B, T, 3, H, W]``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = network

    def forward(self, source: Tensor, *rest: Any) -> list[Tensor]:
        if source.ndim == 4:
            made: list[Tensor] = self._network(source, *rest)
            return made
        *states, ratio = rest
        colours, alphas = [], []
        for t in range(source.shape[1]):
            colour, alpha, *states = self._network(source[:, t], *states, ratio)
            colours.append(colour)
            alphas.append(alpha)
        return [torch.stack(colours, 1), torch.stack(alphas, 1), *states]


@pytest.fixture(scope="module", params=["torch", "openvino", "device"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BoxModel:
    if request.param == "torch":
        return RobustVideoMatting(InTime(make_network()), None, torch.float32)
    if request.param == "device":
        return DeviceMatting(make_network(), None, torch.float32, CPU, TorchEngine(1, CPU))
    kept = tmp_path_factory.mktemp("compiled")
    return OpenVinoMatting(make_network(), None, 1, Path(__file__), kept)


@pytest.mark.parametrize(("height", "width", "ratio"), SIZES)
def test_a_state_that_takes_over_goes_on_as_the_one_before_would(
    model: BoxModel, height: int, width: int, ratio: float
) -> None:
    rgb = clip(2, height, width)
    one, other = (model.start_box(2, height, width, ratio) for _ in range(2))
    model.matte(EyeBatch(rgb[:4], 0), one)
    model.remember(other, tuple(level.clone() for level in model.memory(one)))
    expected, found = (model.matte(EyeBatch(rgb[4:], 4), state) for state in (one, other))
    assert torch.equal(found.alpha, expected.alpha)
    fresh = model.matte(EyeBatch(rgb[4:], 4), model.start_box(2, height, width, ratio))
    assert not torch.equal(fresh.alpha, expected.alpha)


@pytest.mark.parametrize(("height", "width", "ratio"), SIZES)
def test_what_is_carried_has_the_sizes_that_the_network_has(
    model: BoxModel, height: int, width: int, ratio: float
) -> None:
    state = model.start_box(2, height, width, ratio)
    model.matte(EyeBatch(clip(2, height, width), 0), state)
    box = Box(160, 320, width, height, ratio)
    memory = carried([(box, model.memory(state))], box)
    assert len(memory) == 4
    assert all(map(torch.equal, memory, model.memory(state)))


def test_a_look_remembers_nothing_and_sees_the_whole_eye_small(model: BoxModel) -> None:
    rgb = clip(2, 480, 640)
    looking = model.start_looking(2, 480, 640)
    first, second, again = (model.look(rgb[t], looking).clone() for t in (0, 5, 0))
    assert first.shape == (2, 288, 384)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    with torch.inference_mode():
        alpha = make_network()(shrink(rgb[0], 0.6), None, None, None, None, 1.0)[1]
    assert float((first - alpha[:, 0]).abs().max()) <= 1e-4


def test_a_whole_eye_is_a_box_at_the_size_that_suits_it(model: BoxModel) -> None:
    assert model.whole_ratio(400, 300) == 1
    assert model.whole_ratio(1024, 2048) == 0.25
