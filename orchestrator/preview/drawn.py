"""Puts the columns of a preview on one sheet, and writes it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.preview.at_hand import ShownModel
from orchestrator.preview.request import Verdict
from orchestrator.words import clock
from pipeline.contact_sheet.edge import Place
from pipeline.contact_sheet.sheet import Cell, Heading, Row, contact_sheet
from pipeline.errors import MachineError, SettingsError
from pipeline.stages.catalogue import output_video
from pipeline.text import printable

if TYPE_CHECKING:
    from PIL.Image import Image

_JPEG = (".jpg", ".jpeg")
#: Of either side, in pixels (libjpeg).
_LONGEST_JPEG = 65500

_NOBODY = "nobody was found"
_NO_EDGE = Row(f"an edge at 1:1: none, {_NOBODY}", ())


@dataclass(frozen=True, slots=True)
class Lacking:
    """A model that cannot be had, or failed on this video; and why, in one line."""

    model: str
    why: str

    @property
    def verdict(self) -> Verdict:
        return Verdict(self.model, lacking=self.why)


def require_sheet(path: Path) -> None:
    """Raises SettingsError where no sheet can get that name."""
    if not path.absolute().parent.is_dir():
        raise SettingsError(f"there is no folder for {path}", "make it, or name another")
    if path.suffix.lower() not in (".png", *_JPEG):
        raise SettingsError(f"{path} is no name of a picture", "end it in .png or .jpg")
    if path.is_dir():
        raise SettingsError(f"{path} is a folder", "name a picture in it")


def one_model_sheet(shown: ShownModel, frames: Sequence[int], width: int) -> Image:
    """Source, matte and result of each frame, and of an edge."""
    model = printable(shown.ready.model)
    rows = [
        Row(
            f"{_caption(shown, frame)}, {model}",
            shown.cells.row(number),
            shown.column.eyes,
            _scale(shown, width),
        )
        for number, frame in enumerate(frames)
    ]
    place = shown.column.place
    last = _NO_EDGE if place is None else Row(_where(shown, place), shown.cells.row(len(frames)))
    return contact_sheet([*rows, last], 3, width)


def compared_sheet(
    columns: Sequence[ShownModel | Lacking], first: ShownModel, frames: Sequence[int], width: int
) -> Image:
    """The source, and the result of each model.

    Args:
        first: of the models that were shown.
    """
    rows = []
    for number, frame in enumerate(frames):
        results = tuple(_result(column, number) for column in columns)
        cells = (first.cells.cell(number, "source"), *results)
        rows.append(Row(_caption(first, frame), cells, first.column.eyes, _scale(first, width)))
    rows.append(_edge_row(columns, len(frames)))
    headings = [Heading("source"), *(_heading(column.verdict) for column in columns)]
    return contact_sheet(rows, len(headings), width, headings)


def _result(column: ShownModel | Lacking, number: int) -> Cell:
    if isinstance(column, ShownModel):
        return column.cells.cell(number, "result")
    return printable(column.why) if number == 0 else None


def _edge_row(columns: Sequence[ShownModel | Lacking], number: int) -> Row:
    shown = [column for column in columns if isinstance(column, ShownModel)]
    by = next((each for each in shown if each.column.place is not None), None)
    if by is None or by.column.place is None:
        return _NO_EDGE

    def result(column: ShownModel | Lacking) -> Cell:
        if isinstance(column, Lacking):
            return None
        # Before the first model that found somebody there was no place to cut at.
        found = column.cells.cell(number, "result")
        return _NOBODY if found is None else found

    cells = (by.cells.cell(number, "source"), *map(result, columns))
    return Row(_where(by, by.column.place), cells)


def _heading(verdict: Verdict) -> Heading:
    seen = tuple(map(printable, verdict.seen()))
    return Heading(printable(verdict.model), seen, warns=not verdict.is_good)


def _caption(shown: ShownModel, frame: int) -> str:
    info = shown.ready.info
    return f"{clock(float(frame / info.frame_rate))}, frame {frame * info.every}"


def _scale(shown: ShownModel, width: int) -> float:
    """Pixels of a cell for one pixel as prompts count them."""
    return width / shown.ready.info.even_width


def _where(shown: ShownModel, place: Place) -> str:
    """The place of the cut in words, in pixels as prompts count them."""
    info = shown.ready.info
    # A stage may give eyes of another size than it gets.
    share = info.eye_size[1] / output_video(info, shown.ready.settings).eye_size[1]
    left, right = (round(x * share) for x in (place.left, place.left + place.width - 1))
    top, bottom = (round(y * share) for y in (place.top, place.top + place.height - 1))
    eye = "" if info.eyes == 1 else " of the left eye"
    return (
        f"an edge at 1:1: frame {place.frame * info.every}, x {left} to {right}, y {top} to"
        f" {bottom}{eye}"
    )


def write_sheet(sheet: Image, path: Path) -> None:
    """Write it whole or not at all.

    Raises:
        SettingsError: it is too large for a JPEG.
        MachineError: it cannot be written.
    """
    if path.suffix.lower() in _JPEG and max(sheet.size) > _LONGEST_JPEG:
        raise SettingsError(
            f"the sheet has {sheet.width}x{sheet.height} pixels, more than a JPEG holds",
            "end its name in .png, or show fewer frames",
        )
    draft = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        sheet.save(draft)
        draft.replace(path)
    except OSError as error:
        raise MachineError(
            f"cannot write {path}: {error.strerror or error}", "name another sheet by -o"
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink()
