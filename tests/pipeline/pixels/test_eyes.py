"""Whole pictures and single eyes say the same, in every layout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import eye_size
from pipeline.pixels.color import YuvFormat, rgba_planes
from pipeline.pixels.eyes import JoinedEyes, eye_corner, join_eyes, split

LAYOUTS = [("mono", False), ("sbs", False), ("sbs", True), ("tb", False), ("tb", True)]


def eyes_of(layout: str, seed: int, height: int = 6, width: int = 10) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 1 if layout == "mono" else 2, 3, height, width, generator=generator)


@pytest.mark.parametrize(("layout", "right_first"), LAYOUTS)
def test_splitting_takes_back_what_joining_did(layout: Any, right_first: bool) -> None:
    eyes = eyes_of(layout, 1)
    assert torch.equal(split(join_eyes(eyes, layout, right_first), layout, right_first), eyes)


@given(st.sampled_from(LAYOUTS), st.integers(0, 12), st.integers(1, 14))
def test_any_rows_are_those_of_the_whole_picture(
    form: tuple[Any, bool], top: int, count: int
) -> None:
    eyes = eyes_of(form[0], 2)
    whole, by_rows = join_eyes(eyes, *form), JoinedEyes(eyes, *form)
    assert by_rows.shape == tuple(whole.shape)
    top = min(top, whole.shape[2] - 1)
    assert torch.equal(by_rows.rows(1, top, top + count), whole[1, :, top : top + count])


@pytest.mark.parametrize(("layout", "right_first"), LAYOUTS)
def test_planes_made_by_rows_are_those_of_the_whole_picture(layout: Any, right_first: bool) -> None:
    # Strips of 32 rows and more meet the border between upper and lower eye (74 rows) within one.
    eyes = eyes_of(layout, 3, height=74, width=1022)
    alpha = eyes[:, :, :1].flip(-1)
    form = YuvFormat("bt709", full_range=False)
    whole, whole_alpha = (join_eyes(part, layout, right_first) for part in (eyes, alpha))
    by_rows, alpha_by_rows = (JoinedEyes(part, layout, right_first) for part in (eyes, alpha))
    expected = rgba_planes(whole, whole_alpha, form)
    assert torch.equal(rgba_planes(by_rows, alpha_by_rows, form), expected)


@pytest.mark.parametrize(("layout", "right_first"), LAYOUTS)
def test_an_eye_begins_where_its_pixels_are(layout: Any, right_first: bool) -> None:
    eyes = eyes_of(layout, 4)
    whole = join_eyes(eyes, layout, right_first)
    height, width = eye_size(layout, *whole.shape[2:])
    for eye in range(eyes.shape[1]):
        x, y = eye_corner(layout, right_first, eye, *whole.shape[2:])
        assert torch.equal(whole[:, :, y : y + height, x : x + width], eyes[:, eye])
