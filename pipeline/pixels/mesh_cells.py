"""Sorts the triangles of a mesh by direction, so that those near a direction are found at once.

Loads no torch: the probe asks whether a mesh can be used before any worker sees it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Cells along each side of the cube around the sphere of directions, at least and at most.
_FEWEST, _MOST = 4, 96
#: Of all entries, of those of one cell, and of a cell on average: a camera's mesh has some
#: 30,000, 30 and 10. Only a mesh that lies on itself many times has more.
_MOST_ENTRIES = 1 << 23
_MOST_IN_A_CELL = 1 << 12
_MOST_ON_AVERAGE = 128
#: Triangles that are seen edge-on, or that hardly cover anything.
_LEAST_VOLUME = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class MeshCells:
    """A mesh, and which of its triangles may be seen in each cell of a cube around the viewer.

    Attributes:
        weights: ``[T, 3, 3]``: times a direction the shares of the three corners, but for a
            factor. All are positive where the direction meets the triangle.
        places: ``[T, 3, 2]``, (u, v) of the corners.
        side: cells along each side of the cube from -1 to 1.
        begins: ``[side^3 + 1]``: a cell's entries are those from its own number to the next one.
        entries: triangles, cell by cell.
    """

    weights: Floats
    places: Floats
    side: int
    begins: Indices
    entries: NDArray[np.int32]


def sort_mesh(points: Floats, places: Floats, triangles: Indices, margin: float) -> MeshCells:
    """Sort a mesh.

    Args:
        points: ``[V, 3]``; (u, v) is linear on the plane triangles between them, as GPUs draw it.
        places: ``[V, 2]``.
        triangles: ``[T, 3]``.
        margin: radians around a triangle in which it is found as well.

    Raises:
        ValueError: no triangle is seen, or too many lie upon each other.
    """
    lengths = np.linalg.norm(points, axis=1)
    units = points / np.maximum(lengths, 1e-30)[:, None]
    corners = units[triangles]
    volume = np.abs(np.linalg.det(corners))
    far = lengths[triangles]
    seen = (volume > _LEAST_VOLUME) & (far.min(1) > 1e-6 * far.max(1))
    if not seen.any():
        raise ValueError("a mesh in it has no triangle that is seen")
    triangles, corners = triangles[seen], corners[seen]
    shape = points[triangles] / far[seen].max(1)[:, None, None]
    weights = np.linalg.inv(shape.transpose(0, 2, 1))
    side = int(np.clip(1.5 * np.sqrt(len(triangles)), _FEWEST, _MOST))
    # The sphere bulges over a plane triangle by as much as that is nearer to its centre.
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1), 1e-30)[:, None]
    bulge = 1 - np.abs((normal * corners[:, 0]).sum(1))
    room = np.clip(bulge + margin, 0, 2)[:, None]
    low = _cell(corners.min(1) - room, side)
    high = _cell(corners.max(1) + room, side)
    entries, cells = _pairs(low, high, side)
    order = np.argsort(cells, kind="stable")
    counts = np.bincount(cells, minlength=side**3)
    if counts.max() > _MOST_IN_A_CELL or len(cells) > _MOST_ON_AVERAGE * np.count_nonzero(counts):
        raise ValueError("a mesh in it has too many triangles upon each other")
    begins = np.concatenate([[0], np.cumsum(counts)])
    return MeshCells(weights, places[triangles], side, begins, entries[order])


def _cell(place: Floats, side: int) -> Indices:
    return np.clip(np.floor((place + 1) / 2 * side), 0, side - 1).astype(np.int64)


def _pairs(low: Indices, high: Indices, side: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(triangle, cell) of every cell between two corners of each triangle's box."""
    extent = high - low + 1
    counts = extent.prod(1)
    if counts.sum() > _MOST_ENTRIES:
        raise ValueError("a mesh in it has too many triangles upon each other")
    triangle = np.repeat(np.arange(len(low), dtype=np.int32), counts)
    ends = np.cumsum(counts)
    number = np.arange(ends[-1], dtype=np.int64) - np.repeat(ends - counts, counts)
    cell = np.zeros(len(number), np.int32)
    for axis in range(3):
        along = extent[triangle, axis]
        cell = cell * side + (low[triangle, axis] + number % along).astype(np.int32)
        number //= along
    return triangle, cell
