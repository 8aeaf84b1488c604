"""Mesh projections as cameras write them: made-up lenses, the boxes, and files that hold them."""

from __future__ import annotations

import math
import struct
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from pipeline.vr_tags.mesh import EyeMesh, Floats
from tests.pipeline.hostile import box

#: Of a made-up lens, from the middle of its picture to the middle of a side; 88 in its corners.
HALF_ANGLE = 55.0

IndexType = Literal["triangles", "strip", "fan"]


def lens_mesh(
    *, cells: int = 24, half_angle: float = HALF_ANGLE, bend: float = 0.15, yaw: float = 0.0
) -> EyeMesh:
    """A square picture of a fisheye whose rays are farther apart at its rim; no known projection.

    Args:
        half_angle: degrees from the middle of the picture to the middle of a side.
        bend: how far the lens is from an equidistant one.
        yaw: degrees by which the lens looks to the right.
    """
    places = grid_places(cells)
    a, b = (2 * places - 1).T
    r = np.hypot(a, b)
    angle = np.radians(half_angle) * (r + bend * r**3) / (1 + bend)
    slope = np.sin(angle) / np.maximum(r, 1e-12)
    x, y, z = slope * a, slope * b, np.cos(angle)
    turn = math.radians(yaw)
    turned = [x * math.cos(turn) + z * math.sin(turn), y, z * math.cos(turn) - x * math.sin(turn)]
    return EyeMesh(np.stack(turned, -1), places, grid_triangles(cells))


def equirect_mesh(degrees: float, *, cells: int = 24) -> EyeMesh:
    places = grid_places(cells)
    longitude = (places[:, 0] - 0.5) * math.radians(degrees)
    latitude = (places[:, 1] - 0.5) * math.pi
    x, z = np.sin(longitude) * np.cos(latitude), np.cos(longitude) * np.cos(latitude)
    return EyeMesh(np.stack([x, np.sin(latitude), z], -1), places, grid_triangles(cells))


def fisheye_mesh(degrees: float, *, rings: int = 16, spokes: int = 40) -> EyeMesh:
    """An equidistant fisheye, round to the rim of its circle."""
    ring, spoke = np.meshgrid(np.arange(1, rings + 1), np.arange(spokes), indexing="ij")
    r, turn = (ring / rings).ravel(), (2 * math.pi * spoke / spokes).ravel()
    a, b = np.append(r * np.cos(turn), 0.0), np.append(r * np.sin(turn), 0.0)
    angle = math.radians(degrees / 2) * np.append(r, 0.0)
    way = np.append(turn, 0.0)
    points = [np.sin(angle) * np.cos(way), np.sin(angle) * np.sin(way), np.cos(angle)]
    inner = np.arange((rings - 1) * spokes)
    right = inner // spokes * spokes + (inner + 1) % spokes
    first, middle = np.arange(spokes), rings * spokes
    triangles = [
        np.stack([inner, inner + spokes, right], -1),
        np.stack([right, inner + spokes, right + spokes], -1),
        np.stack([np.full(spokes, middle), first, (first + 1) % spokes], -1),
    ]
    places = np.stack([a, b], -1) / 2 + 0.5
    return EyeMesh(np.stack(points, -1), places, np.concatenate(triangles))


def grid_places(cells: int) -> Floats:
    v, u = np.meshgrid(*[np.linspace(0, 1, cells + 1)] * 2, indexing="ij")
    return np.stack([u.ravel(), v.ravel()], -1)


def grid_triangles(cells: int) -> NDArray[np.int64]:
    row, column = np.meshgrid(np.arange(cells), np.arange(cells), indexing="ij")
    corner = (row * (cells + 1) + column).ravel()
    below = corner + cells + 1
    upper = np.stack([corner, below, corner + 1], -1)
    return np.concatenate([upper, np.stack([corner + 1, below, below + 1], -1)])


def grid_strip(cells: int) -> list[int]:
    """The same squares as one strip, which turns a corner after every row."""
    strip: list[int] = []
    for row in range(cells):
        line = [k for c in range(cells + 1) for k in (row, row + 1) for k in [k * (cells + 1) + c]]
        strip += [strip[-1], line[0]] if strip else []
        strip += line
    return strip


def mesh_box(mesh: EyeMesh, kind: IndexType = "triangles") -> bytes:
    """A `mesh` box; of a strip or a fan `triangles` is ``[N, 1]``, its indices."""
    number = {"triangles": 0, "strip": 1, "fan": 2}[kind]
    x, y, z = mesh.points.T
    u, v = mesh.places.T
    stored = np.stack([x, -y, -z, u, 1 - v], -1).astype(np.float32)
    coordinates, indices = np.unique(stored, return_inverse=True)
    indices = indices.reshape(stored.shape)
    content = struct.pack(">I", len(coordinates)) + coordinates.astype(">f4").tobytes()
    content += struct.pack(">I", len(stored))
    deltas = np.diff(indices, axis=0, prepend=np.zeros((1, 5), np.int64))
    content += _bits(deltas.ravel(), math.ceil(math.log2(len(coordinates) * 2)))
    corners = mesh.triangles.ravel()
    content += struct.pack(">IBBI", 1, 0, number, len(corners))
    content += _bits(np.diff(corners, prepend=0), math.ceil(math.log2(len(stored) * 2)))
    return box(b"mesh", content)


def _bits(deltas: NDArray[np.int64], width: int) -> bytes:
    zigzag = [int(n) * 2 if n >= 0 else -int(n) * 2 - 1 for n in deltas]
    text = "".join(f"{n:0{width}b}" for n in zigzag)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def mshp(
    meshes: Sequence[EyeMesh | bytes], encoding: bytes = b"raw ", crc: int | None = None
) -> bytes:
    """Content of an `mshp` box; of its meshes, those that are bytes are boxes."""
    plain = b"".join(m if isinstance(m, bytes) else mesh_box(m) for m in meshes)
    if encoding == b"dfl8":
        deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        plain = deflate.compress(plain) + deflate.flush()
    covered = encoding + plain
    return bytes(4) + struct.pack(">I", zlib.crc32(covered) if crc is None else crc) + covered


def sphere_boxes(
    content: bytes,
    *,
    kind: bytes = b"mshp",
    stereo_mode: int | None = None,
    pose: tuple[float, float, float] = (0, 0, 0),
) -> bytes:
    """`st3d` and `sv3d`, with a box of a projection in it."""
    st3d = b"" if stereo_mode is None else box(b"st3d", bytes(4) + bytes([stereo_mode]))
    header = box(b"prhd", bytes(4) + struct.pack(">3i", *(round(a * 65536) for a in pose)))
    proj = box(b"proj", header + box(kind, content))
    return st3d + box(b"sv3d", box(b"svhd", bytes(4) + b"tests\0") + proj)


def xml_box(**fields: object) -> bytes:
    """The first scheme's `uuid` box."""
    lines = "".join(f"<GSpherical:{k}> {v} </GSpherical:{k}>\n" for k, v in fields.items())
    text = f'<?xml version="1.0"?><rdf:SphericalVideo>\n{lines}</rdf:SphericalVideo>'
    return box(b"uuid", bytes.fromhex("ffcc8263f8554a938814587a02521fdd") + text.encode())


def with_boxes(mp4: bytes, *, in_entry: bytes = b"", in_track: bytes = b"") -> bytes:
    """Boxes put into the first track, and into the description of its pictures.

    The header must stand behind the pictures, or these would move.
    """
    assert mp4.index(b"mdat") < mp4.index(b"moov")
    grown = bytearray(mp4)
    way: list[int] = []
    begin = 0
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        at = begin
        while mp4[at + 4 : at + 8] != name:
            at += int.from_bytes(mp4[at : at + 4], "big")
        way.append(at)
        begin = at + (16 if name == b"stsd" else 8)
    end = way[-1] + int.from_bytes(mp4[way[-1] : way[-1] + 4], "big")
    track_end = way[1] + int.from_bytes(mp4[way[1] : way[1] + 4], "big")
    for place, at in enumerate(way):
        more = len(in_entry) + (len(in_track) if place < 2 else 0)
        grown[at : at + 4] = (int.from_bytes(mp4[at : at + 4], "big") + more).to_bytes(4, "big")
    parts = (grown[:end], in_entry, grown[end:track_end], in_track, grown[track_end:])
    return b"".join(parts)


def encode(path: Path, pictures: NDArray[np.uint8], *, fine: bool = False) -> Path:
    """An H.264 MP4 of ``[T, H, W, 3]``, its header behind its pictures."""
    height, width = pictures.shape[1:3]
    form = ("yuv444p", "1") if fine else ("yuv420p", "12")
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-f", "rawvideo"),
        *("-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "30", "-i", "-"),
        *("-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd"),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", form[1], "-pix_fmt", form[0]),
        *("-colorspace", "bt709", "-color_range", "tv", "-threads", "1", str(path)),
    ]
    subprocess.run(command, input=pictures.tobytes(), check=True)
    return path


def sphere_file(
    path: Path,
    pictures: NDArray[np.uint8],
    *,
    in_entry: bytes = b"",
    in_track: bytes = b"",
    fine: bool = False,
) -> Path:
    """An MP4 of these pictures with these boxes."""
    encode(path, pictures, fine=fine)
    path.write_bytes(with_boxes(path.read_bytes(), in_entry=in_entry, in_track=in_track))
    return path


def directions_in_picture(mesh: EyeMesh, height: int, width: int) -> Floats:
    """The direction that each pixel of an eye shows, ``[H, W, 3]``; zero beside the mesh.

    A triangle at a time in the picture, so as to have nothing in common with what is tested.
    """
    shown = np.zeros((height, width, 3))
    corners = mesh.places[mesh.triangles] * (width, height) - 0.5
    for places, points in zip(corners, mesh.points[mesh.triangles], strict=True):
        left, top = np.maximum(np.ceil(places.min(0) - 1e-9).astype(int), 0)
        right, bottom = np.floor(places.max(0) + 1e-9).astype(int)
        right, bottom = min(right, width - 1), min(bottom, height - 1)
        if right < left or bottom < top:
            continue
        y, x = np.mgrid[top : bottom + 1, left : right + 1]
        (a, b), (c, d) = places[1:] - places[0]
        size = a * d - b * c
        if abs(size) < 1e-9:
            continue
        dx, dy = x - places[0, 0], y - places[0, 1]
        second, third = (dx * d - dy * c) / size, (a * dy - b * dx) / size
        first = 1 - second - third
        inside = (np.minimum(np.minimum(first, second), third) >= -1e-6)[..., None]
        point = np.stack([first, second, third], -1) @ points
        place = shown[top : bottom + 1, left : right + 1]
        place[:] = np.where(inside, point, place)
    lengths = np.linalg.norm(shown, axis=-1, keepdims=True)
    shown /= np.maximum(lengths, 1e-12)
    return shown


def waves(directions: Floats, fineness: float) -> NDArray[np.uint8]:
    """Colours of directions, ``[..., 3]`` each: longitude in red, latitude in green; blue is 128.

    Args:
        fineness: radians of phase a radian of angle.
    """
    x, y, z = np.moveaxis(directions, -1, 0)
    longitude, latitude = np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))
    colours = [0.5 + 0.5 * np.cos(fineness * angle) for angle in (longitude, latitude)]
    return np.round(255 * np.stack([*colours, 0 * x + 0.5], -1)).astype(np.uint8)


def matroska(
    source: Path,
    kind: int,
    private: bytes,
    *,
    stereo: str,
    pose: tuple[float, float, float] = (0, 0, 0),
) -> Path:
    """The pictures of an MP4 beside it in Matroska, with a Projection element in its header."""
    path = source.with_suffix(".mkv")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(source)]
    command += ["-c", "copy", "-metadata:s:v:0", f"stereo_mode={stereo}", str(path)]
    subprocess.run(command, check=True)
    content = path.read_bytes()
    poses = b"".join(
        _element(b"\x76" + bytes([0x73 + axis]), struct.pack(">d", angle))
        for axis, angle in enumerate(pose)
    )
    kinds = _element(b"\x76\x71", bytes([kind])) + _element(b"\x76\x72", private)
    projection = _element(b"\x76\x70", kinds + poses)
    # The list of places before them has the same identifiers.
    first = content.index(b"\x1f\x43\xb6\x75")
    tracks = content.rindex(b"\x16\x54\xae\x6b", 0, first)
    size, begin = _size_at(content, tracks + 4)
    entries, at = b"", begin
    while at < begin + size:  # one entry of the picture; checksums go
        length, inside = _size_at(content, at + 1)
        if content[at : at + 1] == b"\xae":
            entry = content[inside : inside + length]
            video = entry.index(b"\xe0", entry.index(b"\x86"))
            video_size, video_begin = _size_at(entry, video + 1)
            end = video_begin + video_size
            new = _element(b"\xe0", entry[video_begin:end] + projection)
            entries += _element(b"\xae", entry[:video] + new + entry[end:])
        at = inside + length
    new = _element(b"\x16\x54\xae\x6b", entries)
    head = content[: content.index(b"\x18\x53\x80\x67")]
    info = content.rindex(b"\x15\x49\xa9\x66", 0, first)
    length, inside = _size_at(content, info + 4)
    body = content[info : inside + length] + new + content[first:]
    path.write_bytes(head + _element(b"\x18\x53\x80\x67", body))
    return path


def _element(kind: bytes, content: bytes) -> bytes:
    return kind + (len(content) | 1 << 56).to_bytes(8, "big") + content


def _size_at(content: bytes, at: int) -> tuple[int, int]:
    """(size, where the content begins) by the number at `at`."""
    length = 9 - content[at].bit_length()
    number = int.from_bytes(content[at : at + length], "big")
    return number & ((1 << 7 * length) - 1), at + length
