"""Choke moves edges, feather softens them, gamma makes what is half transparent fuller."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.contract import EdgeSettings
from pipeline.stages.edges.shape import corrected, grows, reach

SIDE = 160
BLUR = 1.5  # pixels over which the edge is soft


def half_plane(degrees: float) -> tuple[Tensor, Tensor]:
    """Alpha ``[1, 1, SIDE, SIDE]`` that ends at a line through the middle; distances from it."""
    at = torch.arange(SIDE, dtype=torch.float32) - (SIDE - 1) / 2
    turn = math.radians(degrees)
    distance = at[:, None] * math.sin(turn) + at[None] * math.cos(turn)
    return (0.5 - distance / BLUR).clamp(0, 1)[None, None], distance


def moved_in(degrees: float, edges: EdgeSettings) -> float:
    """By how much the edge lies farther in: the alpha that is lost for each pixel of the line.

    Weighted along the line by a Gaussian: its sum over pixels is an integral in any direction.
    """
    alpha, _ = half_plane(degrees)
    _, along = half_plane(degrees + 90)
    width = 6.0
    weight = torch.exp(-(along**2) / (2 * width**2)) / (width * math.sqrt(2 * math.pi))
    return float(((alpha - corrected(alpha, edges))[0, 0] * weight).sum())


@settings(max_examples=60, deadline=None)
@given(st.floats(-50, 50), st.floats(0, 180))
def test_a_straight_edge_moves_by_half_a_pixel_more_or_less(choke: float, degrees: float) -> None:
    assert abs(moved_in(degrees, EdgeSettings(choke=choke)) - choke) < 0.5


@settings(max_examples=30, deadline=None)
@given(st.floats(-8, 8), st.floats(0, 4), st.integers(0, 9))
def test_more_choke_is_less_alpha_everywhere(choke: float, more: float, seed: int) -> None:
    alpha = torch.rand(1, 1, 24, 30, generator=torch.Generator().manual_seed(seed))
    first, second = (corrected(alpha, EdgeSettings(choke=c)) for c in (choke, choke + more))
    assert bool((second <= first + 1e-6).all())


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 50), st.floats(0, 180))
def test_feather_keeps_what_is_far_from_edges_and_the_amount(feather: float, angle: float) -> None:
    alpha, distance = half_plane(angle)
    soft = corrected(alpha, EdgeSettings(feather=feather))[0, 0]
    far = math.sqrt(2) * math.ceil(feather) + BLUR
    assert torch.equal(soft[distance < -far], torch.ones_like(soft[distance < -far]))
    assert torch.equal(soft[distance > far], torch.zeros_like(soft[distance > far]))
    assert abs(moved_in(angle, EdgeSettings(feather=feather))) < 0.5
    # An upright edge keeps its amount to the last digits.
    upright, _ = half_plane(0)
    after = corrected(upright, EdgeSettings(feather=feather))
    assert float((after - upright).sum(dim=3).abs().max()) < 1e-3


def test_feather_is_as_wide_as_it_says_and_falls_off_smoothly() -> None:
    alpha = (torch.arange(60) < 30).float().expand(1, 1, 60, 60)
    row = corrected(alpha, EdgeSettings(feather=9))[0, 0, 30]
    assert row[20] == 1
    assert 0.99 < row[21] < 1
    assert 0 < row[38] < 0.01
    assert row[39] == 0
    steps = row[20:40].diff().neg()
    assert bool((steps >= 0).all())
    assert int(steps.argmax()) in (9, 10)


def test_gamma_above_one_makes_the_matte_fuller_and_keeps_its_ends() -> None:
    alpha = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 1, 1, 4)
    assert corrected(alpha, EdgeSettings(gamma=2)).flatten().tolist() == pytest.approx(
        [0, 0.5, 0.5**0.5, 1]
    )
    assert corrected(alpha, EdgeSettings(gamma=0.5)).flatten().tolist() == pytest.approx(
        [0, 0.0625, 0.25, 1]
    )


@pytest.mark.parametrize(
    "edges",
    [
        EdgeSettings(choke=-2.5),
        EdgeSettings(choke=3.25, feather=4.5),
        EdgeSettings(feather=7),
    ],
)
def test_a_part_gives_what_the_whole_gives(edges: EdgeSettings) -> None:
    """Bit for bit, with as much around it as `reach` says and no more."""
    alpha = torch.rand(1, 1, 60, 70, generator=torch.Generator().manual_seed(1)).round(decimals=1)
    whole, around = corrected(alpha, edges), reach(edges)
    part = corrected(alpha[..., 20 - around : 33 + around, 25 - around :], edges)
    assert torch.equal(part[..., around : around + 13, around:], whole[..., 20:33, 25:])


def test_what_only_takes_away_is_known() -> None:
    alpha = torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(2))
    for edges in (EdgeSettings(choke=2.5), EdgeSettings(gamma=0.6)):
        assert not grows(edges)
        assert bool((corrected(alpha, edges) <= alpha).all())
    for edges in (EdgeSettings(choke=-1), EdgeSettings(gamma=1.1), EdgeSettings(feather=0.5)):
        assert grows(edges)
