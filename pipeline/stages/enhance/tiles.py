"""A picture goes through a network in tiles, and comes out as if it had gone through whole.

Each tile is taken with as many pixels around it as one pixel of the output depends on (the
network's `radius`), and only its own part is kept. Beyond the picture's edge the network itself
says what it sees there: at that edge a tile is cut as the picture is. A picture of 360 degrees goes
on at the other side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor


class Tile(NamedTuple):
    """A part of a picture, and what is given to the network for it: rows and columns, half open."""

    rows: slice
    columns: slice
    wide_rows: slice
    wide_columns: slice

    def own(self, scale: int) -> tuple[slice, slice]:
        """Its own part of what came out for the wide one."""
        return _own(self.rows, self.wide_rows, scale), _own(self.columns, self.wide_columns, scale)


def tiles(height: int, width: int, side: int, radius: int) -> Iterator[Tile]:
    """The tiles of a picture, at most `side` wide and high, as even as can be."""
    for rows in _parts(height, side):
        for columns in _parts(width, side):
            yield Tile(rows, columns, _wide(rows, height, radius), _wide(columns, width, radius))


def through(
    picture: Tensor,
    network: Callable[[Tensor], Tensor],
    put: Callable[[Tensor, slice, slice], None],
    *,
    scale: int,
    radius: int,
    side: int,
    wraps: bool,
) -> None:
    """Give every tile of a picture to a network, and each result to `put`.

    Args:
        picture: ``[N, 3, H, W]``.
        network: ``[N, 3, h, w]`` -> ``[N, 3, scale * h, scale * w]``.
        put: is given a tile's result, and its rows and columns in the large picture.
        wraps: the left edge goes on at the right one.
    """
    height, width = picture.shape[2:]
    around = min(radius, width) if wraps else 0
    if around:
        picture = torch.cat([picture[..., -around:], picture, picture[..., :around]], -1)
    for tile in tiles(height, width, side, radius):
        if around:
            left, right = tile.columns.start, tile.columns.stop + 2 * around
            tile = tile._replace(wide_columns=slice(left - around, right - around))
            given = picture[:, :, tile.wide_rows, left:right]
        else:
            given = picture[:, :, tile.wide_rows, tile.wide_columns]
        made = network(given)
        rows, columns = tile.own(scale)
        put(made[:, :, rows, columns], _times(tile.rows, scale), _times(tile.columns, scale))


def _parts(length: int, side: int) -> list[slice]:
    count = -(-length // side)
    ends = [round(k * length / count) for k in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


def _wide(part: slice, length: int, radius: int) -> slice:
    return slice(max(0, part.start - radius), min(length, part.stop + radius))


def _own(part: slice, wide: slice, scale: int) -> slice:
    return slice((part.start - wide.start) * scale, (part.stop - wide.start) * scale)


def _times(part: slice, scale: int) -> slice:
    return slice(part.start * scale, part.stop * scale)
