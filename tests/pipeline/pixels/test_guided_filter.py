"""Laws of the guided filter, and its equality with the definition written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from pipeline.pixels.guided_filter import box_mean, guided_filter

Plane = NDArray[np.float64]


def _random(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _windows(height: int, width: int, radius: int) -> list[tuple[int, int, slice, slice]]:
    return [
        (y, x, slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1))
        for y in range(height)
        for x in range(width)
    ]


def _naive(guide: Plane, target: Plane, radius: int, eps: float) -> Plane:
    """The definition, window by window, float64. guide [C,H,W], target [H,W]."""
    channels, height, width = guide.shape
    slope = np.zeros((channels, height, width))
    offset = np.zeros((height, width))
    for y, x, rows, columns in _windows(height, width, radius):
        pixels = guide[:, rows, columns].reshape(channels, -1)
        values = target[rows, columns].reshape(-1)
        centred = pixels - pixels.mean(1, keepdims=True)
        sigma = centred @ centred.T / values.size + eps * np.eye(channels)
        a = np.linalg.solve(sigma, centred @ (values - values.mean()) / values.size)
        slope[:, y, x] = a
        offset[y, x] = values.mean() - a @ pixels.mean(1)
    result = np.zeros((height, width))
    for y, x, rows, columns in _windows(height, width, radius):
        mean_slope = slope[:, rows, columns].reshape(channels, -1).mean(1)
        result[y, x] = mean_slope @ guide[:, y, x] + offset[rows, columns].mean()
    return result


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    radius=st.integers(0, 30),
    seed=st.integers(0, 1000),
)
def test_box_mean_is_the_mean_of_the_cut_off_window(
    height: int, width: int, radius: int, seed: int
) -> None:
    planes = _random(seed, 1, 2, height, width)
    got = box_mean(planes, radius).numpy()
    values = planes.numpy()
    for y, x, rows, columns in _windows(height, width, radius):
        expected = values[:, :, rows, columns].mean(axis=(2, 3), dtype=np.float64)
        np.testing.assert_allclose(got[:, :, y, x], expected, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("radius", "eps"), [(1, 1e-2), (4, 1e-3), (40, 1e-4)])
def test_equals_the_definition(channels: int, radius: int, eps: float) -> None:
    guide, target = _random(1, 1, channels, 23, 18), _random(2, 1, 1, 23, 18)
    expected = _naive(
        guide[0].double().numpy(), target[0, 0].double().numpy(), radius=radius, eps=eps
    )
    got = guided_filter(guide, target, radius, eps)[0, 0].numpy()
    np.testing.assert_allclose(got, expected, atol=2e-4)


@settings(max_examples=25, deadline=None)
@given(
    level=st.floats(-1, 2, width=32),
    channels=st.sampled_from([1, 3]),
    radius=st.integers(1, 9),
    scale=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_constant_target_stays_constant(
    level: float, channels: int, radius: int, scale: int, seed: int
) -> None:
    guide = _random(seed, 2, channels, 21, 34)
    got = guided_filter(guide, torch.full((2, 1, 21, 34), level), radius, 1e-3, scale=scale)
    assert (got - level).abs().max() < 1e-3


@settings(max_examples=25, deadline=None)
@given(
    a=st.floats(-3, 3, width=32),
    b=st.floats(-3, 3, width=32),
    channels=st.sampled_from([1, 3]),
    scale=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_linear_in_the_target(a: float, b: float, channels: int, scale: int, seed: int) -> None:
    guide = _random(seed, 1, channels, 17, 26)
    first, second = _random(seed + 1, 1, 1, 17, 26), _random(seed + 2, 1, 1, 17, 26)

    def smooth(target: Tensor) -> Tensor:
        return guided_filter(guide, target, 3, 1e-2, scale=scale)

    together = smooth(a * first + b * second)
    assert torch.allclose(together, a * smooth(first) + b * smooth(second), atol=1e-4)


def test_picture_filtered_by_itself_is_itself_when_eps_vanishes() -> None:
    picture = _random(3, 1, 1, 40, 50)
    assert (guided_filter(picture, picture, 3, 1e-6) - picture).abs().max() < 1e-3


def test_large_eps_leaves_the_mean_of_the_mean() -> None:
    guide, target = _random(4, 1, 1, 40, 50), _random(5, 1, 1, 40, 50)
    expected = box_mean(box_mean(target, 3), 3)
    assert torch.allclose(guided_filter(guide, target, 3, 1e4), expected, atol=1e-4)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_coarse_mask_takes_the_edge_of_the_picture(scale: int) -> None:
    guide = torch.full((1, 1, 64, 64), 0.2)
    guide[..., 32:] = 0.8
    target = torch.zeros(1, 1, 64, 64)
    target[..., 36:] = 1.0  # four pixels off
    got = guided_filter(guide, target, 16, 1e-4, scale=scale)
    edges = (got[..., 1:] - got[..., :-1])[0, 0, 32]
    assert int(edges.argmax()) == 31


@pytest.mark.parametrize("scale", [1, 3])
def test_frames_do_not_touch_each_other_nor_the_input(scale: int) -> None:
    guide, target = _random(6, 3, 3, 31, 45), _random(7, 3, 1, 31, 45)
    kept = guide.clone(), target.clone()
    together = guided_filter(guide, target, 5, 1e-3, scale=scale)
    assert torch.equal(guide, kept[0])
    assert torch.equal(target, kept[1])
    for n in range(3):
        alone = guided_filter(guide[n : n + 1], target[n : n + 1], 5, 1e-3, scale=scale)
        assert torch.equal(together[n : n + 1], alone)


@pytest.mark.parametrize(
    "change", [{"radius": 0}, {"scale": 0}, {"eps": 0.0}, {"guide": torch.rand(1, 2, 8, 8)}]
)
def test_refuses_what_it_cannot_do(change: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"guide": torch.rand(1, 1, 8, 8), "radius": 2, "eps": 1e-3}
    arguments |= change
    with pytest.raises(ValueError, match="must be"):
        guided_filter(target=torch.rand(1, 1, 8, 8), **arguments)
