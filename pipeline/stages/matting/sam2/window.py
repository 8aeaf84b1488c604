"""The part of an eye that SAM 2 is shown: its choice, and ways into it and out of it.

A window has one place and size in both eyes. It is never smaller than the network's input, so that
nothing is enlarged. Knows nothing of networks and of time. Decision 032.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.prompts.store import Said, read_mask

#: Kept free around a subject, as a share of its longer side: room to move for some frames.
_MARGIN = 0.25

#: Share of the eye above which the whole eye is seen.
_MOST_COVERED = 0.6

#: Cells of the answer at an edge of a window in which a subject counts as cut off there.
_EDGE_CELLS = 2

#: How much smaller a window may become before it does.
_TOO_LARGE = 0.5


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a subject is, in pixels of an eye."""

    left: float
    top: float
    right: float
    bottom: float

    def joined(self, other: Extent) -> Extent:
        return Extent(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )


@dataclass(frozen=True, slots=True)
class Window:
    """A part of an eye, in its pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def rows(self) -> slice:
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.right)

    def extent(self, inside: Tensor) -> Extent | None:
        """Where a mask of the window, bool ``[h, w]`` of any size, is true; None: nowhere."""
        rows, columns = inside.any(dim=1).nonzero(), inside.any(dim=0).nonzero()
        if not len(rows):
            return None
        down, across = self.height / inside.shape[0], self.width / inside.shape[1]
        return Extent(
            self.left + int(columns[0]) * across,
            self.top + int(rows[0]) * down,
            self.left + (int(columns[-1]) + 1) * across,
            self.top + (int(rows[-1]) + 1) * down,
        )


class Windows:
    """Windows in eyes of one size.

    Args:
        least: side of the network's input in pixels.
        cells: side of its answer.
    """

    def __init__(self, height: int, width: int, least: int, cells: int) -> None:
        self._least = least
        self._cells = cells
        self.whole = Window(0, 0, width, height)

    def around(self, extent: Extent) -> Window:
        """A square around a subject, with room to move, as far as the eye goes.

        The whole eye, where that is not much more. So it is where the subject reaches the left or
        right edge: in a picture of 360 degrees it may go on at the other one.
        """
        return self.whole if self._at_side(extent) else self._square(extent)

    def _square(self, extent: Extent) -> Window:
        width, height = self.whole.width, self.whole.height
        longer = max(extent.right - extent.left, extent.bottom - extent.top)
        side = max(self._least, round(longer * (1 + 2 * _MARGIN)))
        across, down = min(side, width), min(side, height)
        if across * down > _MOST_COVERED * width * height:
            return self.whole
        left = round((extent.left + extent.right - across) / 2)
        top = round((extent.top + extent.bottom - down) / 2)
        return Window(
            min(max(0, left), width - across), min(max(0, top), height - down), across, down
        )

    def after_cut(self, window: Window, extent: Extent, before: Extent | None) -> Window | None:
        """A window that reaches further where the subject is cut off; None: it is not.

        It holds where the subject was `before`, too.
        """
        across, down = (side * _EDGE_CELLS / self._cells for side in (window.width, window.height))
        left = extent.left < window.left + across and window.left > 0
        right = extent.right > window.right - across and window.right < self.whole.width
        top = extent.top < window.top + down and window.top > 0
        bottom = extent.bottom > window.bottom - down and window.bottom < self.whole.height
        if self._at_side(extent):
            return self.whole
        if not (left or right or top or bottom):
            return None
        more_across, more_down = window.width / 2, window.height / 2
        reach = Extent(
            max(0.0, extent.left - more_across * left),
            max(0.0, extent.top - more_down * top),
            min(float(self.whole.width), extent.right + more_across * right),
            min(float(self.whole.height), extent.bottom + more_down * bottom),
        )
        grown = self._square(reach if before is None else reach.joined(before))
        return grown if grown != window else self.whole

    def too_large(self, window: Window, extent: Extent) -> bool:
        """Whether a much smaller window would do."""
        better = self.around(extent)
        return better.width * better.height < _TOO_LARGE**2 * window.width * window.height

    def holds(self, window: Window, said: Said, shift: float) -> bool:
        """Whether what is said, moved `shift` pixels of the eye to the right, is all inside."""
        places = [(point.x, point.y) for point in said.points]
        if said.box is not None:
            places += [said.box[:2], said.box[2:]]
        if said.mask is not None:
            extent = self.whole.extent(torch.from_numpy(read_mask(said.mask)))
            if extent is not None:
                places += [(extent.left, extent.top), (extent.right, extent.bottom)]
        return all(
            window.left <= x + shift <= window.right and window.top <= y <= window.bottom
            for x, y in places
        )

    def cropped(self, mask: Tensor, window: Window) -> Tensor:
        """What a mask of the whole eye, bool ``[h, w]`` of any size, is in a window.

        As it is where the window is the whole eye; else bool ``[S, S]`` of the network's input, by
        the nearest pixel.
        """
        if window == self.whole:
            return mask
        height, width = mask.shape
        middle = (torch.arange(self._least, dtype=torch.float64, device=mask.device) + 0.5) / (
            self._least
        )
        rows = ((window.top + middle * window.height) * (height / self.whole.height)).long()
        columns = ((window.left + middle * window.width) * (width / self.whole.width)).long()
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        return mask.index_select(0, rows).index_select(1, columns)

    def _at_side(self, extent: Extent) -> bool:
        cell = self.whole.width / self._cells
        return extent.left < cell or extent.right > self.whole.width - cell


def joined(extents: Iterable[Extent | None]) -> Extent | None:
    """All of them; None where one is missing, or there is none."""
    found: Extent | None = None
    for extent in extents:
        if extent is None:
            return None
        found = extent if found is None else found.joined(extent)
    return found


def carried(
    planes: Tensor, old: Window, new: Window, size: tuple[int, int], empty: float
) -> Tensor:
    """Planes over one window, sampled over another: ``[N, h, w]`` -> ``[N, *size]``.

    Linear between the middles of cells; `empty` outside of the old window.
    """
    if old == new and planes.shape[-2:] == size:
        return planes
    down, below = _places(new.top, new.height, size[0], old.top, old.height)
    across, beside = _places(new.left, new.width, size[1], old.left, old.width)
    where_to = planes.device
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1).to(where_to)
    found = F.grid_sample(
        planes[None].float(), grid[None], padding_mode="border", align_corners=False
    )[0]
    outside = (below[:, None] | beside[None]).to(where_to)
    return found.masked_fill_(outside, empty)


def _places(
    begin: int, length: int, count: int, old_begin: int, old_length: int
) -> tuple[Tensor, Tensor]:
    """Along one side: the places of new cells in -1..1 of the old window, and which are outside."""
    middle = begin + (torch.arange(count, dtype=torch.float64) + 0.5) * (length / count)
    place = (middle - old_begin) / old_length * 2 - 1
    return place.float(), place.abs() > 1
