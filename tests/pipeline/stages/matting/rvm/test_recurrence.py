"""What RVM remembers has 32 bits in every engine: halves do not add up over a long video."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.engines.by_torch import TorchEngine
from pipeline.engines.engine import Example
from pipeline.stages.matting.rvm.coefficients import coefficients_of
from pipeline.stages.matting.rvm.cuda import on_device, parts_on_device, small_input
from pipeline.stages.matting.rvm.graph import GraphNetwork
from pipeline.stages.matting.rvm.graph_file import read_graph
from pipeline.stages.matting.rvm.recurrence import example_of
from tests.pipeline.stages.matting.rvm.test_graph import small_rvm
from tests.pipeline.stages.matting.rvm.test_network import make_network
from tests.render import CPU

#: `make night` goes through 2,000.
FRAMES = int(os.environ.get("VRMATTE_DRIFT_FRAMES", "300"))

SHAPE = (1, 3, 16, 24)


def patient() -> Any:
    """The small double of RVM, whose memory lets little in with each frame, as trained ones do."""
    network: Any = make_network()
    for layer in network.decoder.layers:
        layer.gru.gate.bias.fill_(-4)
        layer.gru.fresh.bias.fill_(0.8)
    return network


def frames() -> list[Tensor]:
    generator = torch.Generator().manual_seed(4)
    grain = torch.rand(FRAMES, 3, 4, 6, generator=generator)
    return [each[None] for each in F.interpolate(grain, SHAPE[2:], mode="bilinear")]


@torch.inference_mode()
def drift(part: nn.Module, case: Example, dtype: torch.dtype) -> float:
    """The largest mean difference of a state to that of 32 bits, over all frames."""
    exact = TorchEngine(1, CPU).load(
        coefficients_of(patient(), False),
        example_of(coefficients_of(patient(), False), torch.zeros(SHAPE)),
    )
    tried = TorchEngine(1, CPU).load(part, case)
    worst = 0.0
    for picture in frames():
        exact(picture)
        tried(picture.to(dtype))
        for ours, theirs in zip(tried.states, exact.states, strict=True):
            worst = max(worst, float((ours - theirs).abs().mean()))
    return worst


@pytest.mark.usefixtures("one_thread")
def test_halves_do_not_add_up_over_a_long_video() -> None:
    part = parts_on_device(patient(), torch.float16, CPU)[False]
    case = example_of(part, small_input(SHAPE, torch.float16, CPU))
    assert drift(part, case, torch.float16) <= 0.1 / 255


@pytest.mark.usefixtures("one_thread")
def test_they_would_if_states_had_16_bits() -> None:
    """Else the test before shows nothing."""
    part = coefficients_of(on_device(patient(), torch.float16, CPU), False)
    whole = example_of(part, small_input(SHAPE, torch.float16, CPU))
    case = Example(whole.given, tuple(state.half() for state in whole.states))
    assert drift(part, case, torch.float16) > 2 / 255


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("source", ["own code", "graph"])
@torch.inference_mode()
def test_states_are_floats_whatever_the_network_works_in(
    source: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    if source == "graph":
        path = small_rvm(tmp_path)
        network: nn.Module = GraphNetwork(read_graph(path, path.with_suffix(".bin"))).eval()
    else:
        network = make_network()
    generator = torch.Generator().manual_seed(6)
    for part in parts_on_device(network, dtype, CPU).values():
        case = example_of(part, small_input((2, 3, 40, 56), dtype, CPU))
        states = case.states
        for _ in range(4):
            given = torch.rand(2, 3, 40, 56, generator=generator).to(dtype)
            slope, offset, *states = part(given, *states)
            assert {each.dtype for each in (slope, offset, *states)} == {torch.float32}
        # They are not only stored so: what is mixed is not rounded to halves on the way.
        assert not any(torch.equal(state, state.half().float()) for state in states)
