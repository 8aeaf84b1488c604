"""The laws of boxes: they hold what was seen, lie on the grid, and never overlap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stages.matting.regions.boxes import Box, Planner, Region

HEIGHT, WIDTH = 1504, 2144
MOST_PIXELS = 512 * 512 * 3 // 2


def planner(subject_pixels: int = 384, height: int = HEIGHT, width: int = WIDTH) -> Planner:
    return Planner(height, width, subject_pixels, 512 / max(height, width))


@st.composite
def regions(draw: st.DrawFn, height: int = HEIGHT, width: int = WIDTH) -> Region:
    left = draw(st.integers(0, width - 2))
    top = draw(st.integers(0, height - 2))
    right = draw(st.integers(left + 1, min(width, left + 900)))
    bottom = draw(st.integers(top + 1, min(height, top + 1200)))
    return Region(left, top, right, bottom, max(right - left, bottom - top))


def holds(box: Box, region: Region) -> bool:
    across = box.left <= region.left and region.right <= box.right
    return across and box.top <= region.top and region.bottom <= box.bottom


@given(st.lists(regions(), max_size=12), st.sampled_from((256, 384, 1024)))
def test_boxes_hold_every_region_within_the_eye_and_do_not_overlap(
    found: list[Region], subject_pixels: int
) -> None:
    boxes = planner(subject_pixels).boxes(found)
    assert bool(boxes) == bool(found)
    for region in found:
        assert any(holds(box, region) for box in boxes)
    for number, box in enumerate(boxes):
        assert 0 <= box.left < box.right <= WIDTH
        assert 0 <= box.top < box.bottom <= HEIGHT
        assert not any(box.overlap(other) for other in boxes[:number])
    assert len(boxes) <= 4


@given(st.lists(regions(), max_size=12))
def test_the_network_never_sees_more_than_half_as_many_pixels_again(found: list[Region]) -> None:
    boxes = planner().boxes(found)
    assert sum(math.prod(box.network_size) for box in boxes) <= MOST_PIXELS


@given(regions(), st.sampled_from((256, 384, 1024)))
def test_a_subject_is_seen_no_larger_than_asked_and_never_enlarged(
    region: Region, subject_pixels: int
) -> None:
    plan = planner(subject_pixels)
    [box] = plan.boxes([region])
    assert box.ratio <= 1
    if box != plan.whole:
        assert region.extent * box.ratio <= subject_pixels + 1e-6


@given(regions())
def test_sides_are_of_few_sizes_or_the_eyes_own_and_the_network_gets_whole_cells(
    region: Region,
) -> None:
    [box] = planner().boxes([region])
    for side, seen, length in zip(
        (box.height, box.width), box.network_size, (HEIGHT, WIDTH), strict=True
    ):
        assert side == length or (seen % 64 == 0 and seen == pytest.approx(side * box.ratio))


@given(regions(), st.integers(0, 3))
def test_boxes_move_on_the_grid_of_the_networks_coarsest_cells(region: Region, by: int) -> None:
    [box] = planner().boxes([region])
    if box == planner().whole:
        return
    cell = 16 / box.ratio
    if box.right < WIDTH:
        assert box.left / cell == pytest.approx(round(box.left / cell))
    if box.bottom < HEIGHT:
        assert box.top / cell == pytest.approx(round(box.top / cell))


@given(regions(), st.lists(st.sampled_from(("left", "right", "top", "bottom")), min_size=1))
def test_a_box_that_grows_on_and_on_becomes_the_whole_eye(region: Region, sides: list[str]) -> None:
    plan = planner()
    [box] = plan.boxes([region])
    for _ in range(60):
        inside = {
            "left": box.left > 0,
            "top": box.top > 0,
            "right": box.right < WIDTH,
            "bottom": box.bottom < HEIGHT,
        }
        cut = [side for side in sides if inside[side]]
        if not cut:
            return
        grown = plan.grown(box, cut)
        assert grown.width * grown.height > box.width * box.height
        assert grown.overlap(box) == box.width * box.height
        assert math.prod(grown.network_size) <= MOST_PIXELS
        box = grown
    raise AssertionError("it grows for ever")


def test_people_on_opposite_sides_have_a_box_each_and_neighbours_one() -> None:
    left, right = Region(100, 700, 250, 1200, 500), Region(1800, 700, 1950, 1200, 500)
    near = Region(300, 700, 450, 1200, 500)
    assert len(planner().boxes([left, right])) == 2
    assert len(planner().boxes([left, near])) == 1


def test_what_covers_most_of_an_eye_is_seen_whole() -> None:
    crowd = [Region(x, 300, x + 150, 1400, 1100) for x in range(0, 2000, 200)]
    plan = planner()
    assert plan.boxes(crowd) == (plan.whole,)


def look(*spots: tuple[int, int, int, int, float]) -> np.ndarray:
    seen = np.zeros((94, 134), np.float32)
    for left, top, right, bottom, value in spots:
        seen[top:bottom, left:right] = value
    return seen


def test_something_is_there_where_a_look_is_sure_and_as_far_as_it_may_be() -> None:
    sure = look((50, 40, 54, 60, 0.2), (51, 42, 53, 50, 0.9))
    [region] = planner().regions([sure])
    scale = WIDTH / 134
    assert (region.left, region.right) == pytest.approx((50 * scale, 54 * scale))
    assert region.extent == pytest.approx(20 * HEIGHT / 94)


@pytest.mark.parametrize("spot", [(5, 5, 20, 20, 0.3), (5, 5, 6, 7, 1.0)])
def test_a_faint_haze_and_a_speck_are_nothing(spot: tuple[int, int, int, int, float]) -> None:
    assert planner().regions([look(spot)]) == []


def test_who_moves_from_look_to_look_may_be_anywhere_between() -> None:
    one, two = look((10, 10, 14, 30, 1.0)), look((40, 10, 44, 30, 1.0))
    [region] = planner().regions([one, two])
    assert region.right - region.left == pytest.approx(34 * WIDTH / 134)
    assert region.extent == pytest.approx(20 * HEIGHT / 94), "of the person, not of the way"


def test_who_stays_is_not_taken_for_the_one_who_comes_or_goes() -> None:
    stays, other = (10, 10, 14, 30, 1.0), (40, 10, 44, 30, 1.0)
    for looks in ((look(stays), look(stays, other)), (look(stays, other), look(stays))):
        found = planner().regions(looks)
        widths = [region.right - region.left for region in found]
        assert widths == pytest.approx([4 * WIDTH / 134] * 2)


def test_who_comes_from_too_far_away_is_somebody_else() -> None:
    one, two = look((0, 10, 4, 20, 1.0)), look((120, 10, 124, 20, 1.0))
    assert len(planner().regions([one, two])) == 2
