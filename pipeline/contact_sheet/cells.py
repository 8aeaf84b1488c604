"""Makes the cells of a contact sheet out of a frame: source, matte, result over a checkerboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.prompts.prompts import Prompt
from pipeline.prompts.store import mask_of

if TYPE_CHECKING:  # it loads torch
    from pipeline.preview import Shown

Picture = NDArray[np.uint8]  # [H, W, 3]

#: Pixels: of a square of the checkerboard.
_SQUARE = 12
_LIGHT, _DARK = 200, 140

#: Of objects by turns; told apart by those who cannot see red or green too (Okabe and Ito).
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (204, 121, 167))


@dataclass(frozen=True, slots=True)
class Mark:
    """A prompt, and where its eye lies in the whole picture, in pixels of that."""

    prompt: Prompt
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Cells:
    """One place of a video in three pictures of one size."""

    source: Picture
    matte: Picture
    result: Picture


def cells_of(shown: Shown, width: int, marks: Sequence[Mark] = (), scale: float = 1.0) -> Cells:
    """A frame in pictures that are `width` pixels wide.

    Args:
        marks: drawn on the source.
        scale: pixels of the cell for one pixel as prompts count them.
    """
    source = _picture(shown.source)
    height = max(1, round(width * source.shape[0] / source.shape[1]))
    alpha = _shrunk(shown.alpha.numpy(), width, height)
    small = _shrunk(source, width, height)
    # Colours count as much as they are seen, so that what is cut out does not colour the edges.
    weight = shown.alpha.numpy()[..., None].astype(np.float32)
    seen = _shrunk(_picture(shown.foreground) * weight, width, height)
    colour = seen / np.maximum(_shrunk(weight[..., 0], width, height)[..., None], 1e-3)
    result = over_checkerboard(np.clip(colour, 0, 255).astype(np.uint8), alpha)
    marked = small.copy()
    for mark in marks:
        _draw(marked, mark, scale)
    return Cells(marked, _grey(alpha), result)


def cut(shown: Shown, left: int, top: int, width: int, height: int) -> Cells:
    """A part of a frame as it is, a pixel for a pixel."""
    rows, columns = slice(top, top + height), slice(left, left + width)
    alpha = shown.alpha[rows, columns].numpy()
    foreground = _picture(shown.foreground[:, rows, columns])
    source = _picture(shown.source[:, rows, columns])
    return Cells(source, _grey(alpha), over_checkerboard(foreground, alpha))


def over_checkerboard(foreground: Picture, alpha: NDArray[np.uint8]) -> Picture:
    """What shows where the picture is transparent is a checkerboard of greys."""
    height, width = alpha.shape
    squares = np.indices((height, width)) // _SQUARE
    board = np.where(squares.sum(axis=0) % 2 == 0, _LIGHT, _DARK)[..., None]
    share = alpha[..., None].astype(np.float32) / 255
    mixed = foreground * share + board * (1 - share)
    result: Picture = (mixed + 0.5).astype(np.uint8)
    return result


def shown_at(pixel: float, scale: float) -> int:
    """The pixel of a cell that shows the middle of a pixel of the whole picture, along one axis."""
    return int((pixel + 0.5) * scale)


def _picture(planes: object) -> Picture:
    pixels: Picture = np.ascontiguousarray(np.asarray(planes).transpose(1, 2, 0))
    return pixels


def _grey(plane: NDArray[np.uint8]) -> Picture:
    return np.repeat(plane[..., None], 3, axis=2)


def _shrunk(plane: Any, width: int, height: int) -> Any:
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)


def _draw(picture: Picture, mark: Mark, scale: float) -> None:
    """Points: a disc inside, a cross outside. A box: its outline. A mask: its outline too."""
    prompt = mark.prompt
    colour = _COLOURS[(prompt.object_id - 1) % len(_COLOURS)]

    def at(x: float, y: float) -> tuple[int, int]:
        return shown_at(x + mark.left, scale), shown_at(y + mark.top, scale)

    if prompt.mask is not None:
        mask = mask_of(prompt.mask)  # of any size
        size = (mark.width, mark.height)
        whole = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(whole, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        for outline in outlines:
            points = [at(float(x), float(y)) for x, y in outline[:, 0]]
            cv2.polylines(picture, [np.array(points, np.int32)], True, colour, 2)
    if prompt.box is not None:
        cv2.rectangle(picture, at(*prompt.box[:2]), at(*prompt.box[2:]), colour, 2)
    for point in prompt.points:
        where = at(point.x, point.y)
        if point.inside:
            cv2.circle(picture, where, 6, (0, 0, 0), -1, cv2.LINE_AA)
            cv2.circle(picture, where, 4, colour, -1, cv2.LINE_AA)
        else:
            cv2.drawMarker(picture, where, (0, 0, 0), cv2.MARKER_TILTED_CROSS, 14, 5)
            cv2.drawMarker(picture, where, colour, cv2.MARKER_TILTED_CROSS, 12, 2)
