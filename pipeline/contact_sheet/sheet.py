"""Lays cells out on one sheet: headings, rows with captions, and rulers along the first column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.contact_sheet.ruler import ABOVE, BESIDE, EyePlace, draw_rulers

#: A picture, uint8 ``[H, W, 3]``; words; or nothing.
Cell = NDArray[np.uint8] | str | None

#: Pixels: of a caption's line, and between pictures.
LINE, GAP = 22, 6
_TITLE_TEXT, _TEXT = 18, 14
_PAPER, _INK, _DOUBT = (250, 250, 250), (20, 20, 20), (170, 60, 0)


@dataclass(frozen=True, slots=True)
class Heading:
    """Stands above a column: a title, and paragraphs below it.

    Attributes:
        warns: the paragraphs are set in another colour.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    warns: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A caption, and below it a cell for each column.

    Attributes:
        eyes: rulers count their pixels along the first picture; none: it has no rulers.
        scale: pixels of the sheet for one pixel that they count.
    """

    caption: str
    cells: Sequence[Cell]
    eyes: Sequence[EyePlace] = ()
    scale: float = 1.0


def contact_sheet(
    rows: Sequence[Row], columns: int, width: int, headings: Sequence[Heading] = ()
) -> Image.Image:
    """The sheet; each column is `width` pixels wide, and the rulers stand left of the first one."""
    lefts = [BESIDE + GAP + column * (width + GAP) for column in range(columns)]
    titles = [_heading_lines(heading, width) for heading in headings]
    top = GAP + max((_heading_height(lines) for lines in titles), default=0)
    across = lefts[-1] + width - lefts[0]
    heights = [_above(row, across) + _cells_height(row, width) + GAP for row in rows]
    size = lefts[-1] + width + GAP, top + sum(heights)
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for heading, lines, left in zip(headings, titles, lefts, strict=False):
        draw.text((left, GAP), heading.title, fill=_INK, font_size=_TITLE_TEXT)
        _write(draw, lines, left, GAP + LINE + 4, _DOUBT if heading.warns else _INK)
    for row, height in zip(rows, heights, strict=True):
        _draw_row(sheet, draw, row, lefts, top, width)
        top += height
    return sheet


def _draw_row(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    row: Row,
    lefts: Sequence[int],
    top: int,
    width: int,
) -> None:
    across = lefts[-1] + width - lefts[0]
    _write(draw, wrapped(row.caption, across), lefts[0], top + 3, _INK)
    top += _above(row, across)
    for cell, left in zip(row.cells, lefts, strict=False):
        if isinstance(cell, str):
            _write(draw, wrapped(cell, width), left, top, _DOUBT)
        elif cell is not None:
            sheet.paste(Image.fromarray(cell), (left, top))
    if row.eyes:
        draw_rulers(draw, row.eyes, row.scale, lefts[0], top)


def _above(row: Row, across: int) -> int:
    """Pixels from the top of a row to its cells; `across` is what its caption has."""
    return LINE * len(wrapped(row.caption, across)) + (ABOVE if row.eyes else 0)


def _cells_height(row: Row, width: int) -> int:
    heights = [
        LINE * len(wrapped(cell, width)) if isinstance(cell, str) else cell.shape[0]
        for cell in row.cells
        if cell is not None
    ]
    return max(heights, default=0)


def _heading_lines(heading: Heading, width: int) -> list[str]:
    return [line for paragraph in heading.paragraphs for line in wrapped(paragraph, width)]


def _heading_height(lines: Sequence[str]) -> int:
    return LINE + 4 + LINE * len(lines) + GAP


def _write(
    draw: ImageDraw.ImageDraw, lines: Sequence[str], left: int, top: int, ink: tuple[int, int, int]
) -> None:
    for number, line in enumerate(lines):
        draw.text((left, top + LINE * number), line, fill=ink, font_size=_TEXT)


def wrapped(text: str, width: int) -> list[str]:
    """Lines of `text` no wider than so many pixels; a longer word is broken."""
    font = ImageFont.load_default(_TEXT)
    lines: list[str] = []
    line = ""
    for word in _words(text, width, font):
        longer = f"{line} {word}" if line else word
        if line and font.getlength(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line] if line else lines


def _words(
    text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> Iterator[str]:
    for word in text.split():
        while len(word) > 1 and font.getlength(word) > width:
            fits = next(n for n in range(1, len(word)) if font.getlength(word[: n + 1]) > width)
            yield word[:fits]
            word = word[fits:]
        yield word
