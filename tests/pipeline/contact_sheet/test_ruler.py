"""Rulers tell the pixels that prompts count."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.contact_sheet.ruler import ABOVE, BESIDE, EyePlace, draw_rulers, number_step
from pipeline.contract import Layout, eye_size
from pipeline.pixels.eyes import eye_corner


def _eyes(layout: Layout, height: int, width: int) -> list[EyePlace]:
    size = eye_size(layout, height, width)
    names = ("",) if layout == "mono" else ("left", "right")
    return [
        EyePlace(name, *eye_corner(layout, False, eye, height, width), size[1], size[0])
        for eye, name in enumerate(names)
    ]


@pytest.mark.parametrize("layout", ["sbs", "tb", "mono"])
@pytest.mark.parametrize("scale", [0.15625, 0.5, 1.0, 2.5])
def test_a_long_tick_stands_over_the_pixel_of_its_number_and_nothing_on_the_picture(
    layout: Layout, scale: float
) -> None:
    height, width = 480, 960
    eyes = _eyes(layout, height, width)
    shown = round(height * scale), round(width * scale)
    sheet = Image.new("RGB", (BESIDE + shown[1], ABOVE + shown[0]), "white")
    draw_rulers(ImageDraw.Draw(sheet), eyes, scale, BESIDE, ABOVE)
    ink = np.asarray(sheet.convert("L")) < 200
    assert not ink[ABOVE:, BESIDE:].any()
    # The row of ticks' outer ends, above and left of the picture: long ticks alone reach it.
    across = np.nonzero(ink[ABOVE - 7, BESIDE:])[0]
    down = np.nonzero(ink[ABOVE:, BESIDE - 7])[0]
    for found, length, begins, apart in (
        (across, eyes[0].width, {eye.left for eye in eyes}, 38),
        (down, eyes[0].height, {eye.top for eye in eyes}, 34),
    ):
        step = number_step(scale, apart)
        expected = {
            int((begin + pixel + 0.5) * scale)
            for begin in begins
            for pixel in range(0, length, step)
        }
        assert set(found.tolist()) == expected


def test_numbers_are_round_and_have_room() -> None:
    assert [number_step(scale, 40) for scale in (0.02, 0.078, 0.5, 1, 3, 64)] == [
        *(2000, 1000, 100, 50, 20, 1)
    ]
