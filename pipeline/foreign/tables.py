"""Reads tables of others (CSV): as programs write them, and as spreadsheets save them again.

Cells end with commas, semicolons or tabs; numbers have a decimal point, or a decimal comma where
that ends no cell. One table has one way of each.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.foreign.files import Unreadable, read_text

#: Three hours of 60 frames a second with 30 points each.
MOST_BYTES = 1 << 29

_ENDS = ",;\t"
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d{1,4})?|[+-]?(nan|inf)", re.I)
_LONGEST_NUMBER = 64


class Table:
    """A table whose rows are read one after the other.

    Raises:
        Unreadable: the file cannot be read, or is no text.
    """

    def __init__(self, path: Path) -> None:
        self._text = read_text(path, MOST_BYTES)
        first = self._text.partition("\n")[0]
        self._end = next((letter for letter in first if letter in _ENDS), ",")
        self._mark: str | None = None

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The line in which each row ends, and its cells; without empty rows.

        Raises:
            Unreadable: a row is no CSV; with the line.
        """
        lines = csv.reader(self._lines(), delimiter=self._end, strict=True)
        while True:
            try:
                row = next(lines)
            except StopIteration:
                return
            except csv.Error as error:
                raise Unreadable(
                    f"is not a table in CSV: {error}", "is it the right file?", lines.line_num
                ) from None
            if any(cell.strip() for cell in row):
                yield lines.line_num, row

    def _lines(self) -> Iterator[str]:
        begin = 0
        while begin < len(self._text):
            end = self._text.find("\n", begin) + 1 or len(self._text)
            yield self._text[begin:end]
            begin = end

    def number(self, cell: str, line: int) -> float:
        """The number in a cell; NaN where it is empty.

        Raises:
            Unreadable: it holds none, or one that can be read in two ways.
        """
        text = cell.strip()
        if not text:
            return math.nan
        if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
            raise Unreadable(
                f"holds {text[:40]!r} where a number should be", "export it again", line
            )
        mark = "," if "," in text else "." if "." in text else None
        if mark is not None and self._mark not in (None, mark):
            raise Unreadable(
                f"holds {text!r}, and numbers above have a decimal {_name(self._mark)}",
                "export it again with decimal points",
                line,
            )
        self._mark = self._mark or mark
        return float(text.replace(",", "."))


def _name(mark: str | None) -> str:
    return "comma" if mark == "," else "point"
