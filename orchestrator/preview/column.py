"""Mattes the frames of a preview with one model, in a child process, and makes its cells.

Cells are as small as the sheet shows them, and lie in one file of the preview's own folder, which
is gone when the sheet is there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.child_module import run_module
from pipeline.contact_sheet.cells import Cells, Mark, Picture, cells_of, cut
from pipeline.contact_sheet.edge import Edge, Place, cut_size, find_edge
from pipeline.contact_sheet.ruler import EyePlace
from pipeline.contract import Finding, SegmentJob, VideoInfo, eye_size
from pipeline.errors import VrmatteError
from pipeline.files.disk import writing
from pipeline.prompts.prompts import Prompt, Prompts
from pipeline.stages.matting.catalogue import JSON_CONTEXT
from workers.launch import WORKER_ENVIRONMENT

if TYPE_CHECKING:
    from pipeline.preview import Shown


@dataclass(frozen=True, slots=True)
class ColumnRequest:
    """What is made.

    Attributes:
        frames: of the job's video.
        prompts: are drawn on the sources.
        width: of a cell, in pixels.
        at_once: frames that are worked on at a time.
        place: of the cut at 1:1; None: it is chosen by these mattes.
        cells: the file that is written, a `CellsFile`.
    """

    job: SegmentJob
    frames: tuple[int, ...]
    prompts: Prompts | None
    width: int
    device: str
    at_once: int
    place: Place | None
    cells: str


@dataclass(frozen=True, slots=True)
class Column:
    """What came of it.

    Attributes:
        place: of the cut at 1:1, in pixels of the mattes; None: nobody was found, and there is
            none.
        eyes: where the eyes lie in the source, as prompts count its pixels.
    """

    findings: tuple[Finding, ...]
    place: Place | None
    eyes: tuple[EyePlace, ...]


def column_by_child(request: ColumnRequest) -> Column:
    """`make_column` in a process with the environment of a worker.

    Raises:
        MachineError: it failed; what it said last.
    """
    from pydantic import TypeAdapter

    cells = Path(request.cells)
    asked, answer = cells.with_suffix(".request.json"), cells.with_suffix(".answer.json")
    asked.write_bytes(TypeAdapter(ColumnRequest).dump_json(request))
    environment = {k: v for k, v in WORKER_ENVIRONMENT.items() if k not in os.environ}
    environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    run_module("orchestrator.preview.column", [str(asked), str(answer)], environment)
    return TypeAdapter(Column).validate_json(answer.read_bytes())


def make_column(request: ColumnRequest) -> Column:
    """Matte the frames and write their cells.

    Raises:
        VrmatteError: by its kind.
    """
    import torch

    from pipeline.pixels.eyes import eye_corner
    from pipeline.preview import preview_frames

    video = request.job.video
    findings: list[Finding] = []
    rows: list[Cells] = []
    cut = _Cut(video, request.place, request.width)
    scale = request.width / video.even_width
    device = torch.device(request.device)
    for shown in preview_frames(request.job, request.frames, device, request.at_once):
        findings.extend(shown.findings)
        rows.append(cells_of(shown, request.width, _marks(request, shown.number), scale))
        cut.see(shown)
    _write_cells(Path(request.cells), [*rows, *([] if cut.cells is None else [cut.cells])])
    height, width = video.eye_size
    names = ("",) if video.eyes == 1 else ("left", "right")
    whole = video.even_height, video.even_width
    eyes = tuple(
        EyePlace(name, *eye_corner(video.layout, video.right_first, eye, *whole), width, height)
        for eye, name in enumerate(names)
    )
    return Column(tuple(findings), cut.place, eyes)


class _Cut:
    """Cuts at 1:1 out of one of the frames it sees; keeps no whole picture.

    Args:
        place: where; None: at the best edge so far.
    """

    def __init__(self, video: VideoInfo, place: Place | None, width: int) -> None:
        self._video, self._width = video, width
        self._edge: Edge | None = None
        self._is_given = place is not None
        self.place = place
        self.cells: Cells | None = None

    def see(self, shown: Shown) -> None:
        from pipeline.pixels.eyes import eye_corner

        video, whole = self._video, tuple(shown.alpha.shape)
        left, top = eye_corner(video.layout, video.right_first, 0, *whole)
        height, width = eye_size(video.layout, *whole)
        if self._is_given:
            if self.place is None or self.place.frame != shown.number:
                return
        else:
            size = cut_size((height, width), self._width)
            alpha = shown.alpha[top : top + height, left : left + width].numpy()
            edge = find_edge(alpha, size)
            if edge is None or (self._edge is not None and edge <= self._edge):
                return
            self._edge = edge
            self.place = Place(shown.number, edge.left, edge.top, size[1], size[0])
        place = self.place
        self.cells = cut(shown, left + place.left, top + place.top, place.width, place.height)


def _marks(request: ColumnRequest, frame: int) -> list[Mark]:
    from pipeline.pixels.eyes import eye_corner

    def mark(prompt: Prompt) -> Mark:
        video = request.job.video
        whole = video.even_height, video.even_width
        corner = eye_corner(video.layout, video.right_first, prompt.eye, *whole)
        height, width = video.eye_size
        return Mark(prompt, *corner, width, height)

    said = () if request.prompts is None else request.prompts.prompts
    return [mark(prompt) for prompt in said if prompt.frame == frame and prompt.corrects]


def _write_cells(path: Path, rows: Sequence[Cells]) -> None:
    named = {
        f"{number}-{each.name}": getattr(cells, each.name)
        for number, cells in enumerate(rows)
        for each in fields(cells)
    }
    with writing(path), path.open("wb") as file:
        np.savez(file, **named)


@dataclass(frozen=True, slots=True)
class CellsFile:
    """The cells that a model made: a row for each frame, and one more for the cut, if there is one.

    Only what is asked for is read.
    """

    path: Path

    def cell(self, row: int, name: str) -> Picture | None:
        """The ``"source"``, ``"matte"`` or ``"result"`` of a row; None: there is no such row."""
        with np.load(self.path) as cells:
            key = f"{row}-{name}"
            found: Picture | None = cells.get(key)
            return found

    def row(self, row: int) -> tuple[Picture | None, ...]:
        """Its source, matte and result."""
        return tuple(self.cell(row, each.name) for each in fields(Cells))


def main(request: str, answer: str) -> None:
    from pydantic import TypeAdapter

    text = Path(request).read_bytes()
    made = make_column(TypeAdapter(ColumnRequest).validate_json(text, context=JSON_CONTEXT))
    Path(answer).write_bytes(TypeAdapter(Column).dump_json(made))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except VrmatteError as error:
        sys.exit(f"error: {error}")
