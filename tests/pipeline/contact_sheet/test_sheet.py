"""How a contact sheet is laid out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageFont

from pipeline.contact_sheet.ruler import BESIDE
from pipeline.contact_sheet.sheet import GAP, Heading, Row, contact_sheet, wrapped


@pytest.mark.parametrize("width", [3, 40, 200])
def test_words_are_wrapped_and_none_is_lost(width: int) -> None:
    text = "the matte is smooth and lies along theuppereeeeeedgeofthepicture as sky does"
    lines = wrapped(text, width)
    font = ImageFont.load_default(14)
    assert all(font.getlength(line) <= width or len(line) == 1 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert wrapped("", width) == []


def test_pictures_stand_whole_in_their_columns_below_their_headings() -> None:
    cells = [np.full((30, 100, 3), grey, np.uint8) for grey in (40, 90)]
    headings = [Heading("a"), Heading("b", ("a long verdict about it, in several lines",), True)]
    rows = [Row("first", (cells[0], "a reason in words that are many, for a small cell"))]
    rows += [Row("second", (cells[0], cells[1]))]
    sheet = np.asarray(contact_sheet(rows, 2, 100, headings))
    for grey, left in ((40, BESIDE + GAP), (90, BESIDE + 2 * GAP + 100)):
        found = (sheet[:, left : left + 100] == grey).all(axis=(1, 2))
        assert found.sum() == (60 if grey == 40 else 30)
    plain = np.asarray(contact_sheet(rows, 2, 100))
    assert plain.shape[0] < sheet.shape[0]
    assert plain.shape[1] == sheet.shape[1]
