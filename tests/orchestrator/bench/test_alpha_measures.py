"""MAD, MSE, dtSSD and IoU: against figures made by hand, and by what they must do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from orchestrator.bench.alpha_measures import AlphaMeasures, Distance, Floats


def measured(alpha: Floats, truth: Floats) -> Distance:
    measures = AlphaMeasures()
    for pair in zip(alpha, truth, strict=True):
        measures.add(*pair)
    return measures.distance()


MATTES = arrays(
    np.float32, (4, 5, 6), elements=st.integers(0, 255).map(lambda value: np.float32(value / 255))
)


def test_by_hand() -> None:
    # Two frames of 1x4; the differences are 0.5, 0, 0, 0 and then 0, 0, -0.2, 0.
    alpha = np.array([[[0.5, 0, 1, 1]], [[0, 0, 0.4, 1]]], np.float32)
    truth = np.array([[[0.0, 0, 1, 1]], [[0, 0, 0.6, 1]]], np.float32)
    found = measured(alpha, truth)
    assert found.frames == 2
    assert found.mad == pytest.approx((0.5 / 4 + 0.2 / 4) / 2)
    assert found.mse == pytest.approx((0.25 / 4 + 0.04 / 4) / 2)
    # From frame to frame the differences change by -0.5, 0, -0.2, 0.
    assert found.dtssd == pytest.approx(math.sqrt((0.25 + 0.04) / 4))
    # Above 0.5 are 2 and 1 pixels, truly 2 and 2.
    assert found.iou == pytest.approx((2 + 1) / (2 + 2))


def test_a_constant_error_does_not_flicker_and_a_single_one_does() -> None:
    truth = np.zeros((3, 1, 4), np.float32)
    assert measured(truth + np.float32(0.25), truth).dtssd == pytest.approx(0)
    blink = truth.copy()
    blink[1] = 1
    assert measured(blink, truth).dtssd == pytest.approx(1)  # on, and off again
    assert measured(truth[:1], truth[:1]).dtssd is None


@given(MATTES)
def test_the_truth_itself_is_no_distance_away(truth: Floats) -> None:
    assert measured(truth, truth) == Distance(4, 0.0, 0.0, 0.0, 1.0)


@given(MATTES)
def test_the_complement_has_nothing_in_common(truth: Floats) -> None:
    hard = (truth > 0.5).astype(np.float32)
    found = measured(1 - hard, hard)
    assert (found.mad, found.mse, found.iou) == (1.0, 1.0, 0.0)
    flips = np.abs(np.diff(hard, axis=0)).mean(axis=(1, 2))
    assert found.dtssd == pytest.approx(float(np.sqrt(4 * flips).mean()), abs=1e-6)


@settings(max_examples=30)
@given(MATTES, MATTES)
def test_a_distance_is_the_same_from_both_ends_and_bounded(first: Floats, second: Floats) -> None:
    there, back = measured(first, second), measured(second, first)
    assert there.mad == pytest.approx(back.mad)
    assert there.mse == pytest.approx(back.mse)
    assert there.dtssd == pytest.approx(back.dtssd)
    assert there.iou == back.iou
    assert 0 <= there.mse <= there.mad + 1e-6 <= 1 + 2e-6
    assert there.mad**2 <= there.mse + 1e-6
    assert there.dtssd is not None
    assert 0 <= there.dtssd <= 2


@given(st.integers(1, 9))
def test_a_shift_costs_the_pixels_that_it_moves(shift: int) -> None:
    truth = np.zeros((2, 10, 30), np.float32)
    truth[:, :, 10:20] = 1
    found = measured(np.roll(truth, shift, axis=2), truth)
    assert found.mad == found.mse == pytest.approx(2 * shift / 30)
    assert found.iou == pytest.approx((10 - shift) / (10 + shift))
    assert found.dtssd == 0


def test_two_empty_mattes_agree() -> None:
    nothing = np.zeros((1, 3, 3), np.float32)
    assert measured(nothing, nothing).iou == 1.0
