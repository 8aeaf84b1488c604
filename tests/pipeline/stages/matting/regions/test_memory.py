"""What a network remembers moves with the picture when its box moves."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.stages.matting.regions.boxes import Box
from pipeline.stages.matting.regions.memory import Memory, carried

EYE = 1024


def world(levels: int = 4) -> list[Tensor]:
    """Of a whole eye, a number of its own for each cell of each level."""
    sizes = [EYE // 2 ** (level + 1) for level in range(levels)]
    return [torch.arange(1.0, size * size + 1).view(1, 1, size, size) for size in sizes]


def remembered(box: Box) -> Memory:
    """What a box of ratio 1 on the grid remembers of that world."""
    cut = []
    for level, cells in enumerate(world()):
        size = 2 ** (level + 1)
        rows = slice(box.top // size, box.bottom // size)
        cut.append(cells[..., rows, box.left // size : box.right // size])
    return tuple(cut)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    width, height = (64 * draw(st.integers(1, 6)) for _ in range(2))
    left = 16 * draw(st.integers(0, (EYE - width) // 16))
    top = 16 * draw(st.integers(0, (EYE - height) // 16))
    return Box(left, top, width, height, 1.0)


@given(boxes(), boxes())
def test_on_the_grid_every_cell_goes_where_the_picture_goes(old: Box, new: Box) -> None:
    memory = carried([(old, remembered(old))], new)
    if not old.overlap(new):
        assert memory == ()
        return
    for level, (found, true) in enumerate(zip(memory, remembered(new), strict=True)):
        size = 2 ** (level + 1)
        assert found.shape == true.shape
        known = torch.zeros_like(true, dtype=torch.bool)
        top, left = (max(old.top, new.top) - new.top), (max(old.left, new.left) - new.left)
        bottom = min(old.bottom, new.bottom) - new.top
        right = min(old.right, new.right) - new.left
        known[..., top // size : bottom // size, left // size : right // size] = True
        assert torch.equal(found, torch.where(known, true, torch.zeros_like(true)))


def test_two_boxes_that_become_one_are_both_remembered() -> None:
    one, two = Box(0, 0, 128, 128, 1.0), Box(128, 0, 128, 128, 1.0)
    both = Box(0, 0, 256, 128, 1.0)
    memory = carried([(one, remembered(one)), (two, remembered(two))], both)
    for found, true in zip(memory, remembered(both), strict=True):
        assert torch.equal(found, true)


def test_at_another_size_a_place_takes_the_nearest_cell() -> None:
    box = Box(0, 0, 256, 256, 1.0)
    smaller = Box(0, 0, 256, 256, 0.5)
    memory = carried([(box, remembered(box))], smaller)
    assert [tuple(level.shape[-2:]) for level in memory] == [(64, 64), (32, 32), (16, 16), (8, 8)]
    same_place = remembered(box)[0][..., 127, 127]
    assert abs(float(memory[0][..., 63, 63] - same_place)) <= 513


def test_what_has_no_memory_yet_gives_none() -> None:
    box = Box(0, 0, 128, 128, 1.0)
    assert carried([(box, ())], box) == ()
