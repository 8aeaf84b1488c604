"""Writes `Projection` into the header of a finished WebM, and reads how pictures are cropped.

The projection takes the place of a placeholder. Only the video track's entry is written again, at
the same size: what the tags leave of the placeholder's room becomes a `Void` element at its end.
Elements are those of RFC 9559 (Matroska), their coding that of RFC 8794 (EBML).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pipeline.errors import EncodeError

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_CLUSTER = b"\x1f\x43\xb6\x75"
_TRACKS = b"\x16\x54\xae\x6b"
_TRACK_ENTRY = b"\xae"
_TRACK_TYPE = b"\x83"
_CODEC = b"\x86"
_NAME = b"\x53\x6e"
_VIDEO = b"\xe0"
_STEREO_MODE = b"\x53\xb8"
_PROJECTION = b"\x76\x70"
_PROJECTION_TYPE = b"\x76\x71"
_PROJECTION_PRIVATE = b"\x76\x72"
_POSE = (b"\x76\x73", b"\x76\x74", b"\x76\x75")  # yaw, pitch, roll
#: At the top, the bottom, the left and the right.
_CROPS = (b"\x54\xbb", b"\x54\xaa", b"\x54\xcc", b"\x54\xdd")
_VOID = b"\xec"
_CRC32 = b"\xbf"

_TYPE_VIDEO = 1
_EQUIRECTANGULAR = 1
_LONGEST_HEAD = 12  # an identifier of 4 bytes, a size of 8
_MOST_TRACKS_BYTES = 16 << 20
_MOST_TOP_ELEMENTS = 1000
_MOST_ELEMENTS = 10_000


@dataclass(frozen=True, slots=True)
class _Head:
    """Of an element: its identifier, and the bytes of the head itself and of the content."""

    kind: bytes
    length: int
    content: int


@dataclass(frozen=True, slots=True)
class _Element:
    """An element at a position in what was parsed; `content` is a part of `whole`."""

    kind: bytes
    begin: int
    whole: memoryview
    content: memoryview


def write_projection(
    file: FileIO,
    placeholder: bytes,
    stereo_mode: int,
    equi: bytes | None,
    pose: tuple[float, float, float],
) -> None:
    """Write the projection of the one video track over the placeholder.

    Args:
        file: open to be read and written, unbuffered.
        placeholder: the text of the video track's name.
        stereo_mode: the StereoMode that ffmpeg was asked to write.
        equi: content of ProjectionPrivate; None writes no projection.
        pose: yaw, pitch and roll in degrees.

    Raises:
        EncodeError: no placeholder, another stereo mode, or no file as ffmpeg builds it.
    """
    begin, tracks = _read_tracks(file)
    video = [
        e
        for e in _without_checksum(tracks)
        if e.kind == _TRACK_ENTRY and _number(_elements(e.content), _TRACK_TYPE) == _TYPE_VIDEO
    ]
    if len(video) != 1:
        raise EncodeError(f"it has {len(video)} video tracks instead of one")
    (entry,) = video
    new = _tagged(_without_checksum(entry.content), placeholder, stereo_mode, equi, pose)
    new += _void(len(entry.content) - len(new))
    begin += entry.begin + len(entry.whole) - len(entry.content)
    if os.pwrite(file.fileno(), new, begin) != len(new):
        raise EncodeError("its header was written in part only")


@dataclass(frozen=True, slots=True)
class Projection:
    """The Projection element of a file that others made.

    Attributes:
        kind: ProjectionType.
        private: content of ProjectionPrivate.
        pose: yaw, pitch and roll in degrees.
    """

    kind: int
    private: bytes
    pose: tuple[float, float, float]


def read_projection(path: Path, place: int) -> Projection | None:
    """The projection of a video track; None where it has none.

    Args:
        place: of the track among the video tracks, from 0; FFmpeg does not tell its number.

    Raises:
        EncodeError: no sound Matroska file, or its tracks do not stand before its pictures.
        OSError: the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        _, tracks = _read_tracks(file, to_read=True)
    entries = [
        _elements(entry.content) for entry in _elements(tracks) if entry.kind == _TRACK_ENTRY
    ]
    video = [entry for entry in entries if _number(entry, _TRACK_TYPE) == _TYPE_VIDEO]
    if place >= len(video):
        return None
    inside = video[place]
    for kind in (_VIDEO, _PROJECTION):
        content = next((e.content for e in inside if e.kind == kind), None)
        if content is None:
            return None
        inside = _elements(content)
    private = next((bytes(e.content) for e in inside if e.kind == _PROJECTION_PRIVATE), b"")
    yaw, pitch, roll = (_float(inside, kind) for kind in _POSE)
    return Projection(_number(inside, _PROJECTION_TYPE), private, (yaw, pitch, roll))


def _float(elements: Sequence[_Element], kind: bytes) -> float:
    for element in elements:
        form = {4: ">f", 8: ">d"}.get(len(element.content))
        if element.kind == kind and form is not None:
            value = float(struct.unpack(form, element.content)[0])
            return value if abs(value) <= 360 else 0.0
    return 0.0


def stored_crop(path: Path, place: int) -> tuple[int, int, int, int]:
    """What of its pictures a track has players not show, in pixels (top, bottom, left, right).

    Args:
        place: the number of the track among those of video whose codec is named.

    Returns:
        zeros where the file does not say, or is no sound Matroska.

    Raises:
        OSError: the file cannot be read.
    """
    with suppress(EncodeError), path.open("rb", buffering=0) as file:
        entries = [
            _elements(e.content)
            for e in _elements(_read_tracks(file, to_read=True)[1])
            if e.kind == _TRACK_ENTRY
        ]
        video = [
            entry
            for entry in entries
            if _number(entry, _TRACK_TYPE) == _TYPE_VIDEO and any(e.kind == _CODEC for e in entry)
        ]
        if place < len(video):
            for element in video[place]:
                if element.kind == _VIDEO:
                    inside = _elements(element.content)
                    top, bottom, left, right = (_number(inside, kind) for kind in _CROPS)
                    return top, bottom, left, right
    return 0, 0, 0, 0


def _tagged(
    entry: Sequence[_Element],
    placeholder: bytes,
    stereo_mode: int,
    equi: bytes | None,
    pose: tuple[float, float, float],
) -> bytes:
    """The content of a TrackEntry with the projection instead of the placeholder."""
    name = [e for e in entry if e.kind == _NAME and e.content == placeholder]
    if len(name) != 1:
        raise EncodeError("it holds no placeholder")
    video = [e for e in entry if e.kind == _VIDEO]
    if len(video) != 1:
        raise EncodeError(f"its video track has {len(video)} Video elements instead of one")
    inside = _without_checksum(video[0].content)
    if any(e.kind == _PROJECTION for e in inside):
        raise EncodeError("it has a projection of its own already")
    if (found := _number(inside, _STEREO_MODE)) != stereo_mode:
        raise EncodeError(f"its stereo mode is {found} instead of {stereo_mode}")
    content = bytes(video[0].content) + (b"" if equi is None else _projection(equi, pose))
    parts = {name[0].begin: b"", video[0].begin: _element(_VIDEO, content)}
    return b"".join(parts.get(e.begin, e.whole) for e in entry)


def _projection(equi: bytes, pose: tuple[float, float, float]) -> bytes:
    content = _element(_PROJECTION_TYPE, bytes([_EQUIRECTANGULAR]))
    content += _element(_PROJECTION_PRIVATE, equi)
    for kind, angle in zip(_POSE, pose, strict=True):
        if angle:
            content += _element(kind, struct.pack(">d", angle))
    return _element(_PROJECTION, content)


def _read_tracks(file: FileIO, *, to_read: bool = False) -> tuple[int, memoryview]:
    """(position, content) of the Tracks element, which stands before all pictures.

    Args:
        to_read: nothing is to be written: the file need not be whole.
    """
    end = os.fstat(file.fileno()).st_size
    at = 0
    for kind in (_EBML, _SEGMENT):
        head = _read_head(file, at, end, open_ended=to_read and kind == _SEGMENT)
        if head.kind != kind:
            raise EncodeError("it is no WebM file")
        at += head.length + (head.content if kind == _EBML else 0)
    for _ in range(_MOST_TOP_ELEMENTS):
        head = _read_head(file, at, end)
        if head.kind == _CLUSTER:
            break
        if head.kind == _TRACKS:
            if head.content > _MOST_TRACKS_BYTES:
                raise EncodeError("its list of tracks is larger than any")
            begin = at + head.length
            return begin, memoryview(os.pread(file.fileno(), head.content, begin))
        at += head.length + head.content
    raise EncodeError("it has no list of tracks before its pictures")


def _read_head(file: FileIO, at: int, end: int, *, open_ended: bool = False) -> _Head:
    data = memoryview(os.pread(file.fileno(), _LONGEST_HEAD, at))
    return _head(data, end - at, open_ended=open_ended)


def _elements(content: memoryview) -> list[_Element]:
    found: list[_Element] = []
    at = 0
    while at < len(content):
        head = _head(content[at : at + _LONGEST_HEAD], len(content) - at)
        if len(found) == _MOST_ELEMENTS:
            raise EncodeError(f"an element in it has more than {_MOST_ELEMENTS} others")
        whole = content[at : at + head.length + head.content]
        found.append(_Element(head.kind, at, whole, whole[head.length :]))
        at += len(whole)
    return found


def _without_checksum(content: memoryview) -> list[_Element]:
    """The elements of what is to be written again."""
    found = _elements(content)
    if any(element.kind == _CRC32 for element in found):  # which would have to be counted again
        raise EncodeError("its header has a checksum")
    return found


def _head(data: memoryview, room: int, *, open_ended: bool = False) -> _Head:
    """Parse an element's head; the element must not take more than `room` bytes.

    Args:
        open_ended: its size need not be known, as that of a file that was written live; nor does
            one that is wrong, as a file that was cut off has, matter then.
    """
    kind_bytes = 9 - data[0].bit_length() if len(data) else 9
    if kind_bytes <= 4 and len(data) > kind_bytes:
        size_bytes = 9 - data[kind_bytes].bit_length()
        length = kind_bytes + size_bytes
        if size_bytes <= 8 and len(data) >= length:
            most = (1 << 7 * size_bytes) - 1
            size = int.from_bytes(data[kind_bytes:length], "big") & most
            if open_ended:
                size = min(size, room - length)
            if size != most and size <= room - length:  # all ones is for a size not known
                return _Head(bytes(data[:kind_bytes]), length, size)
    raise EncodeError("an element in it has an impossible size")


def _number(elements: Sequence[_Element], kind: bytes) -> int:
    """An unsigned integer among `elements`; 0, its default here, where it is left out."""
    for element in elements:
        if element.kind == kind and len(element.content) <= 8:
            return int.from_bytes(element.content, "big")
    return 0


def _element(kind: bytes, content: bytes) -> bytes:
    size = 1
    while len(content) >= (1 << 7 * size) - 1:
        size += 1
    return kind + (len(content) | 1 << 7 * size).to_bytes(size, "big") + content


def _void(room: int) -> bytes:
    """A Void element of `room` bytes altogether."""
    if room == 0:
        return b""
    size = 1 if room < 2 + 127 else 8
    content = room - 1 - size
    if content < 0:
        raise EncodeError("its placeholder is too short")
    return _VOID + (content | 1 << 7 * size).to_bytes(size, "big") + bytes(content)
