"""Triton's kernels give the bits of PyTorch's operations, as far as its interpreter shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import torch

from pipeline.kernels import trials
from pipeline.kernels.trials import Noise, Trial
from pipeline.kernels.way import TORCH
from pipeline.pixels.color import YCGCO, YuvFormat
from tests.pipeline.kernels.interpreted import interpreted, way_of

CPU = torch.device("cpu")
KernelWay = Callable[..., Any]


@pytest.fixture(scope="module")
def kernel_way(one_thread: None) -> Iterator[KernelWay]:
    with interpreted() as found:
        yield found


def noise(seed: int = 1) -> Noise:
    return Noise(CPU, seed)


COLOURS_IN = {
    "nv12": (YuvFormat("bt709", False), (5, 9), (2, 2), True),
    "p010": (YuvFormat("bt2020nc", False, 16), (6, 11), (2, 2), True),
    "planar 4:2:0, wider than a program": (YuvFormat("smpte170m", True), (3, 531), (2, 2), False),
    "planar 4:2:2, 10 bits": (YuvFormat("bt709", False, 10), (4, 7), (1, 2), False),
    "planar 4:4:4, 12 bits": (YuvFormat("smpte240m", True, 12), (3, 6), (1, 1), False),
    "4:1:0": (YuvFormat("fcc", False), (9, 10), (4, 4), False),
    "ycgco": (YuvFormat(YCGCO, True), (4, 6), (1, 1), False),
}


@pytest.mark.parametrize("name", COLOURS_IN)
def test_colours_come_in_with_the_same_bits(name: str, kernel_way: KernelWay) -> None:
    form, size, step, semi_planar = COLOURS_IN[name]
    trial = trials.colour_in(noise(), form, size, step, semi_planar=semi_planar)
    assert trial.difference(way_of(kernel_way)) is None


MATRICES = ["bt709", "smpte170m", "bt470bg", "bt2020nc"]


@pytest.mark.parametrize("seed", range(8))
def test_planes_have_the_same_bits(seed: int, kernel_way: KernelWay) -> None:
    """Every layout, dtype, depth and matrix is met with every other kind over the seeds."""
    draw = torch.Generator().manual_seed(seed)

    def one_of(*values: Any) -> Any:
        return values[int(torch.randint(len(values), (), generator=draw))]

    bits = (8, 10)[seed % 2]
    form = YuvFormat(MATRICES[seed % 4], one_of(False, True), bits)
    kind = (torch.float16, torch.uint8, torch.float32)[seed % 3]
    shape: dict[str, Any] = {
        "fine": bits > 8 and one_of(False, True),
        "size": (one_of(2, 4), one_of(4, 10, 134) if seed < 2 else one_of(4, 10)),
        "layout": ("sbs", "tb", "sbs", "mono")[seed // 2],
        "right_first": one_of(False, True),
    }
    way = way_of(kernel_way)
    for made in (trials.rgba, trials.over_screen):
        assert made(noise(seed), form, kind, **shape).difference(way) is None, shape


def test_colours_for_an_encoder_on_the_gpu_have_the_same_bits(kernel_way: KernelWay) -> None:
    trial = trials.over_screen(
        noise(), YuvFormat("bt709", False), torch.float16, size=(4, 10), as_rgb=True
    )
    assert trial.difference(way_of(kernel_way)) is None


@pytest.mark.parametrize(("bits", "kind"), [(8, torch.uint8), (10, torch.float32)])
def test_packed_mattes_have_the_same_bits(
    bits: int, kind: torch.dtype, kernel_way: KernelWay
) -> None:
    trial = trials.packed(noise(), YuvFormat("bt709", False, bits), kind, height=20)
    assert trial.difference(way_of(kernel_way)) is None


@pytest.mark.parametrize("bits", [8, 10])
def test_nv12_and_p010_hold_the_samples_of_planes(bits: int, kernel_way: KernelWay) -> None:
    """Chroma by turns, and with more than 8 bits in the high ones."""
    import sys

    planes_out = sys.modules["pipeline.kernels.planes_out"]
    form, height, width = YuvFormat("bt709", False, bits), 4, 10
    rgb, alpha = noise().shares(1, 3, height, width), noise(2).shares(1, 1, height, width)
    given = (rgb, alpha, (0.1, 0.9, 0.2), form)
    planar = TORCH.screen_planes(*given).view(form.kind)[0].int()
    made = planes_out.screen_planes(*given, arrangement="semi-planar")
    made = cast(torch.Tensor, made).view(form.kind)[0].int()
    luma = height * width
    u, v = planar[luma:].view(2, -1)
    expected = torch.cat([planar[:luma], torch.stack([u, v], 1).view(-1)])
    high = 1 if bits == 8 else 1 << (16 - bits)
    assert torch.equal(made & 0xFFFF if bits > 8 else made, expected * high)


def test_mattes_are_drawn_alike(kernel_way: KernelWay) -> None:
    """PyTorch's CPU enlarges in an order of its own: the levels of 8 bits are the same."""
    trial = trials.drawn(noise(), torch.float32, (3, 20))
    ours, theirs = trial.made(way_of(kernel_way)), trial.made(TORCH)
    for a, b in zip(ours, theirs, strict=True):
        assert float((a - b).abs().max()) <= 1e-6
        assert torch.equal((a * 255 + 0.5).floor(), (b * 255 + 0.5).floor())


@pytest.mark.parametrize("kind", [torch.uint8, torch.float16, torch.float32])
@pytest.mark.parametrize(
    ("size", "low_size"),
    [((7, 11), (3, 4)), ((8, 140), (2, 133)), ((3, 4), (3, 2))],
    ids=["uneven cells", "wider than a program", "rows as they are"],
)
def test_smaller_pictures_have_the_same_bits(
    kind: torch.dtype, size: tuple[int, int], low_size: tuple[int, int], kernel_way: KernelWay
) -> None:
    assert trials.shrunk(noise(), kind, size, low_size).difference(way_of(kernel_way)) is None


def test_a_difference_is_told_in_words() -> None:
    values = iter([torch.tensor([0.0, 1.0, 3.0]), torch.tensor([0.0, 1.0, 2.0])])
    trial = Trial("draw", "mattes", lambda way: (next(values),))
    assert trial.difference(TORCH) == "mattes: 1 of 3 values differ, by 1 at most"
