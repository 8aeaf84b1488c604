"""What only a GPU can show of Triton's kernels: their bits, and how long they take.

Run as `tests/gpu/test_gpu.py` is. Nothing of this has been run yet: no GPU was at hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch

from pipeline.kernels import trials
from pipeline.kernels.choice import way_on
from pipeline.kernels.trials import Noise, Trial
from pipeline.kernels.way import TORCH, Way
from pipeline.pixels.color import YuvFormat
from tests.gpu.test_gpu import CUDA, need_a_gpu

pytestmark = [pytest.mark.gpu, pytest.mark.slow]
__all__ = ["need_a_gpu"]  # a fixture of all tests here, too


def test_every_kernel_gives_pytorchs_bits() -> None:
    assert way_on(CUDA).notes == {}


def seconds(work: Callable[[], object]) -> float:
    """Of one call, without the first ones."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(10):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - begun) / 10


def test_kernels_at_full_size_give_the_same_bits_and_are_timed() -> None:
    """Two frames of two eyes of 2048x2048."""
    noise, form, size = Noise(CUDA), YuvFormat("bt709", False), (2048, 2048)
    asked: list[Trial] = [
        trials.colour_in(noise, form, (2048, 4096), (2, 2), semi_planar=True),
        trials.colour_in(noise, YuvFormat("bt709", False, 16), (2048, 4096), (2, 2)),
        trials.drawn(noise, torch.float16, size),
        trials.shrunk(noise, torch.uint8, size, (128, 128)),
        trials.shrunk(noise, torch.float16, size, (256, 256)),
        trials.rgba(noise, form, torch.float16, size=size),
        trials.over_screen(noise, form, torch.float16, size=size),
        trials.over_screen(noise, form, torch.float16, size=size, as_rgb=True),
        trials.packed(noise, form, torch.uint8, 2048),
    ]
    way: Way = way_on(CUDA)
    problems = []
    for each in asked:
        problems += [found] if (found := each.difference(way)) is not None else []
        ours, theirs = (seconds(lambda w=w, e=each: e.made(w)) for w in (way, TORCH))  # type: ignore[misc]
        print(f"{each.what}: {ours * 1e3:.2f} ms, PyTorch {theirs * 1e3:.2f} ms")  # noqa: T201
    assert not problems
