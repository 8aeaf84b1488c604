"""Mesh projections are read as they were written, and damage costs nothing but the mesh."""

from __future__ import annotations

import itertools
import random
import struct
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest

from pipeline.vr_tags.mesh import MeshError, parse_meshes
from tests.pipeline.hostile import box
from tests.pipeline.meshes import grid_strip, lens_mesh, mesh_box, mshp

LENS = lens_mesh(cells=6)


@pytest.mark.parametrize("encoding", [b"raw ", b"dfl8"])
@pytest.mark.parametrize("count", [1, 2])
def test_what_was_written_is_read(encoding: bytes, count: int) -> None:
    written = [lens_mesh(cells=6, yaw=yaw) for yaw in range(count)]
    read = parse_meshes(mshp(written, encoding))
    assert len(read) == count
    for mesh, given in zip(read, written, strict=True):
        assert np.allclose(mesh.points, given.points, atol=1e-6)
        assert np.allclose(mesh.places, given.places, atol=1e-6)
        assert (mesh.triangles == given.triangles).all()


def test_strips_and_fans_are_the_same_triangles() -> None:
    indices = np.array(grid_strip(6))[:, None]
    [strip] = parse_meshes(mshp([mesh_box(replace(LENS, triangles=indices), "strip")]))
    assert sets(strip.triangles) == sets(LENS.triangles)
    around = np.array([8, 0, 1, 2, 9, 16, 15, 14, 7, 0])[:, None]
    [fan] = parse_meshes(mshp([mesh_box(replace(LENS, triangles=around), "fan")]))
    assert fan.triangles.tolist() == [
        [8, int(a), int(b)] for a, b in itertools.pairwise(around[1:, 0])
    ]


def sets(triangles: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> set[frozenset[int]]:
    return {frozenset(corners) for corners in triangles.tolist()}


def test_boxes_and_bytes_that_nobody_knows_are_passed_over() -> None:
    more = [box(b"what", b"ever"), mesh_box(LENS), box(b"free", b""), b"\0\0"]
    assert len(parse_meshes(mshp(more))) == 1


def lists_of(count: int, *, coordinates: int = 4, vertices: int = 3) -> bytes:
    head = struct.pack(">I", coordinates) + bytes(4 * min(coordinates, 4))
    return box(b"mesh", head + struct.pack(">I", vertices) + bytes(6) + struct.pack(">I", count))


def bomb() -> bytes:
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(60)) + deflate.flush()
    covered = b"dfl8" + packed
    return bytes(4) + struct.pack(">I", zlib.crc32(covered)) + covered


NAN = replace(LENS, points=np.where(np.arange(3) == 1, np.nan, LENS.points))
BEYOND = replace(LENS, triangles=np.array([[0, 1, len(LENS.points)]]))
DAMAGED = {
    "its checksum is wrong": mshp([LENS], crc=1),
    "it is cut off": mshp([LENS])[:11],
    "its encoding b'gzip' is not known": mshp([LENS], b"gzip"),
    "it is of version 1": b"\1" + mshp([LENS])[1:],
    "it has 0 meshes": mshp([box(b"mess", b"")]),
    "it has 3 meshes": mshp([LENS, LENS, LENS]),
    "a box in it has an impossible size": mshp([mesh_box(LENS)[:-9]]),
    "a mesh in it is cut off": mshp([box(b"mesh", mesh_box(LENS)[8:-9])]),
    "2147483647 coordinates": mshp([lists_of(1, coordinates=2**31 - 1)]),
    "2147483647 vertices": mshp([lists_of(1, vertices=2**31 - 1)]),
    "2147483647 lists of indices": mshp([lists_of(2**31 - 1)]),
    "2147483647 indices": mshp(
        [box(b"mesh", lists_of(1)[8:] + struct.pack(">BBI", 0, 0, 2**31 - 1))]
    ),
    "refers to what it does not hold": mshp([mesh_box(BEYOND)]),
    "coordinates that are no numbers": mshp([mesh_box(NAN)]),
    "indices of type 7": mshp([box(b"mesh", lists_of(1)[8:] + struct.pack(">BBI", 0, 7, 0))]),
    "has no triangle": mshp([box(b"mesh", lists_of(1)[8:] + struct.pack(">BBI", 0, 0, 0))]),
    "more than 4 MiB": mshp([LENS]) + bytes(4 << 20),
}


@pytest.mark.parametrize("why", DAMAGED)
def test_damage_is_named(why: str) -> None:
    with pytest.raises(MeshError, match=why):
        parse_meshes(DAMAGED[why])


def test_a_bomb_does_not_go_off() -> None:
    content = bomb()
    tracemalloc.start()
    try:
        with pytest.raises(MeshError, match="inflates to more than 8 MiB"):
            parse_meshes(content)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_any_damage_is_a_mesh_error_or_does_no_harm() -> None:
    chance = random.Random(3)
    sound = mesh_box(LENS)
    refused = 0
    for _ in range(400):
        data = bytearray(sound)
        for _ in range(chance.choice((1, 3, 20))):
            data[chance.randrange(8, len(data))] = chance.randrange(256)
        del data[chance.choice((len(data), chance.randrange(8, len(data)))) :]
        data[:4] = len(data).to_bytes(4, "big")
        try:
            [mesh] = parse_meshes(mshp([bytes(data)]))
        except MeshError:
            refused += 1
        else:
            assert mesh.triangles.max() < len(mesh.points)
            assert np.isfinite(mesh.points).all()
    assert 100 < refused < 400
