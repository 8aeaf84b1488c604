"""Parses a mesh projection: the content of an `mshp` box, as VR180 cameras write it.

A hostile file can state any count: each is compared with the bytes that are there, and with what a
mesh can need, before memory is taken for it. Loads no torch. Layout of the boxes: Google's
Spherical Video V2 RFC, "Mesh Projection Box".
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Of the box, and of what it holds when it is inflated. A camera's two meshes take 76 kB.
MOST_BOX_BYTES = 4 << 20
_MOST_INFLATED_BYTES = 8 << 20
#: Coordinates, vertices, and indices of a mesh, at the most; a camera's have 5000, 1600 and 3200.
_MOST_COORDINATES = 1 << 20
_MOST_VERTICES = 1 << 17
_MOST_INDICES = 1 << 19
_MOST_LISTS = 1 << 12
_MOST_BOXES = 64

_HEADER_BYTES = 8
_RAW, _DEFLATE = b"raw ", b"dfl8"
_TRIANGLES, _STRIP, _FAN = 0, 1, 2
_PER_VERTEX = 5  # x, y, z, u, v


class MeshError(ValueError):
    """The mesh cannot be used; the text says why."""


@dataclass(frozen=True, slots=True, eq=False)
class EyeMesh:
    """How one eye's picture is to be laid around the viewer.

    Attributes:
        points: ``[V, 3]``, x to the right, y down, z forward; only their directions matter.
        places: ``[V, 2]``, (u, v) in the eye's picture, v down; inside it they are 0..1.
        triangles: ``[T, 3]``, indices of vertices; none is repeated in a triangle.
    """

    points: Floats
    places: Floats
    triangles: Indices


def parse_meshes(content: bytes) -> tuple[EyeMesh, ...]:
    """The meshes of an `mshp` box: one for all eyes, or the left one and the right one.

    Args:
        content: of the box, from its version and flags on; Matroska's ProjectionPrivate has the
            same bytes.

    Raises:
        MeshError: it is damaged, too large, or of a kind that is not known.
    """
    if len(content) > MOST_BOX_BYTES:
        raise MeshError(f"it has more than {MOST_BOX_BYTES >> 20} MiB")
    if len(content) < 12:
        raise MeshError("it is cut off")
    if content[0] != 0:
        raise MeshError(f"it is of version {content[0]}, which is not known")
    if zlib.crc32(content[8:]) != int.from_bytes(content[4:8], "big"):
        raise MeshError("its checksum is wrong")
    meshes = tuple(_mesh(box) for kind, box in _boxes(_decoded(content)) if kind == b"mesh")
    if len(meshes) not in (1, 2):
        raise MeshError(f"it has {len(meshes)} meshes instead of one or two")
    return meshes


def _decoded(content: bytes) -> bytes:
    encoding, data = content[8:12], content[12:]
    if encoding == _RAW:
        return data
    if encoding != _DEFLATE:
        raise MeshError(f"its encoding {encoding!r} is not known")
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflate.decompress(data, _MOST_INFLATED_BYTES)
    except zlib.error as error:
        raise MeshError("it cannot be inflated") from error
    if inflate.unconsumed_tail:
        raise MeshError(f"it inflates to more than {_MOST_INFLATED_BYTES >> 20} MiB")
    if not inflate.eof:
        raise MeshError("it is cut off")
    return plain


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    for _ in range(_MOST_BOXES):
        if len(data) - at < _HEADER_BYTES:  # the RFC: extra bytes at the end are ignored
            return
        size = int.from_bytes(data[at : at + 4], "big")
        if not _HEADER_BYTES <= size <= len(data) - at:
            raise MeshError("a box in it has an impossible size")
        yield data[at + 4 : at + 8], data[at + _HEADER_BYTES : at + size]
        at += size


class _Reader:
    """Reads fields of a mesh box from front to back; MeshError where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise MeshError("a mesh in it is cut off")
        self._at += count
        return self._data[self._at - count : self._at]

    def count(self, most: int, what: str, least: int = 1) -> int:
        count = int.from_bytes(self.take(4), "big")
        if not least <= count <= most:
            raise MeshError(f"a mesh in it has {count} {what}")
        return count

    def deltas(self, count: int, bits: int) -> Indices:
        """Zigzag-coded integers of so many bits each, and the bits up to the next whole byte."""
        packed = self.take((count * bits + 7) // 8)
        single = np.unpackbits(np.frombuffer(packed, np.uint8), count=count * bits)
        coded = np.zeros(count, np.int64)
        for column in single.reshape(count, bits).T:
            coded <<= 1
            coded |= column
        return (coded >> 1) ^ -(coded & 1)


def _mesh(box: bytes) -> EyeMesh:
    reader = _Reader(box)
    count = reader.count(_MOST_COORDINATES, "coordinates")
    with np.errstate(invalid="ignore"):  # what is no number is looked for where it is used
        coordinates = np.frombuffer(reader.take(4 * count), ">f4").astype(np.float64)
    vertices = reader.count(_MOST_VERTICES, "vertices")
    deltas = reader.deltas(vertices * _PER_VERTEX, _index_bits(count))
    indices = np.cumsum(deltas.reshape(vertices, _PER_VERTEX), axis=0)
    _require_indices(indices, count)
    used = coordinates[indices]
    if not np.isfinite(used).all():
        raise MeshError("a mesh in it has coordinates that are no numbers")
    lists = reader.count(_MOST_LISTS, "lists of indices")
    bits = _index_bits(vertices)
    found, total = [], 0
    for _ in range(lists):
        texture, kind = reader.take(2)
        length = reader.count(_MOST_INDICES - total, "indices", least=0)
        total += length
        corners = np.cumsum(reader.deltas(length, bits))
        _require_indices(corners, vertices)
        if texture == 0:  # others are of pictures that are not in this track
            found.append(_triangles(kind, corners))
    triangles = np.concatenate(found) if found else np.empty((0, 3), np.int64)
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (c != a)]  # how strips turn a corner
    if not len(triangles):
        raise MeshError("a mesh in it has no triangle")
    x, y, z, u, v = used.T  # OpenGL's: y up, z backward, v up
    return EyeMesh(np.stack([x, -y, -z], -1), np.stack([u, 1 - v], -1), triangles)


def _index_bits(count: int) -> int:
    """``ceil(log2(2 count))``: of a difference of two indices into so many, and its sign."""
    return (2 * count - 1).bit_length()


def _require_indices(indices: Indices, count: int) -> None:
    if indices.size and not (indices.min() >= 0 and indices.max() < count):
        raise MeshError("a mesh in it refers to what it does not hold")


def _triangles(kind: int, corners: Indices) -> Indices:
    if kind == _TRIANGLES:
        return corners[: len(corners) // 3 * 3].reshape(-1, 3)
    if kind not in (_STRIP, _FAN):
        raise MeshError(f"a mesh in it has indices of type {kind}, which is not known")
    first = corners[:-2] if kind == _STRIP else np.full(max(0, len(corners) - 2), corners[:1])
    return np.stack([first, corners[1:-1], corners[2:]], -1)
