"""The cells of a contact sheet: the checkerboard, prompts on the source, parts at 1:1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pipeline.contact_sheet.cells import Mark, cells_of, cut, over_checkerboard
from pipeline.preview import Shown
from pipeline.prompts.prompts import Point, Prompt


def test_what_is_transparent_shows_the_checkerboard_and_what_is_opaque_does_not() -> None:
    foreground = np.full((24, 24, 3), 77, np.uint8)
    alpha = np.zeros((24, 24), np.uint8)
    alpha[:, :6] = 255
    shown = over_checkerboard(foreground, alpha)
    assert (shown[:, :6] == 77).all()
    assert set(np.unique(shown[:, 6:])) == {140, 200}


def test_prompts_are_drawn_where_their_eye_is_and_on_the_source_alone() -> None:
    grey = torch.full((3, 100, 200), 128, dtype=torch.uint8)
    shown = Shown(0, grey, grey, torch.zeros(100, 200, dtype=torch.uint8))
    marks = [Mark(Prompt(1, 1, 0, (Point(50, 50),), box=(10, 10, 90, 90)), 100, 0, 100, 100)]
    plain, marked = cells_of(shown, 200), cells_of(shown, 200, marks)
    assert np.array_equal(plain.matte, marked.matte)
    assert np.array_equal(plain.result, marked.result)
    changed = np.abs(plain.source.astype(int) - marked.source).sum(axis=2)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), columns.min()) == (9, 109)  # OpenCV draws the box 3 wide
    assert (rows.max(), columns.max()) == (91, 191)
    assert changed[50, 150] > 0


def test_a_mask_of_another_size_is_drawn_where_it_is_meant(tmp_path: Path) -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[4:16, 6:12] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    grey = torch.full((3, 100, 200), 128, dtype=torch.uint8)
    shown = Shown(0, grey, grey, torch.zeros(100, 200, dtype=torch.uint8))
    marks = [Mark(Prompt(1, 1, 0, mask=tmp_path / "mask.png"), 100, 0, 100, 100)]
    plain, marked = cells_of(shown, 200), cells_of(shown, 200, marks)
    assert np.array_equal(plain.matte, marked.matte)
    assert np.array_equal(plain.result, marked.result)
    changed = np.abs(plain.source.astype(int) - marked.source).sum(axis=2)
    rows, columns = np.nonzero(changed)
    # The outline is 2 wide, and on its outermost pixels.
    for found, expected in (
        (rows, (20, 79)),
        (columns - 100, (30, 59)),
    ):
        assert abs(found.min() - expected[0]) <= 1
        assert abs(found.max() - expected[1]) <= 1


def test_a_cut_holds_the_pixels_of_the_frame_as_they_are() -> None:
    generator = torch.Generator().manual_seed(1)
    source, foreground = (
        torch.randint(0, 256, (3, 60, 80), dtype=torch.uint8, generator=generator) for _ in "ab"
    )
    alpha = torch.zeros(60, 80, dtype=torch.uint8)
    alpha[:, 40:] = 255
    cells = cut(Shown(0, source, foreground, alpha), left=30, top=10, width=20, height=16)
    part = (slice(10, 26), slice(30, 50))
    assert np.array_equal(cells.source, source.permute(1, 2, 0).numpy()[part])
    assert np.array_equal(cells.matte[..., 0], alpha.numpy()[part])
    assert np.array_equal(cells.result[:, 10:], foreground.permute(1, 2, 0).numpy()[part][:, 10:])
    assert set(np.unique(cells.result[:, :10])) <= {140, 200}
