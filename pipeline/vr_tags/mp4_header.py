"""Reads what FFmpeg does not from the header of an MP4 or MOV of anybody's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from pipeline.errors import EncodeError
from pipeline.vr_tags.boxes import (
    ENTRY_BYTES,
    STSD_BYTES,
    TO_DESCRIPTIONS,
    Box,
    boxes_at_hand,
    boxes_of,
    read_moov,
    sound_entry,
    the_only,
    top_boxes,
    tracks_of,
)
from pipeline.vr_tags.sa3d import SA3D

#: The `stereo_mode` of two eyes side by side, the right one first.
RIGHT_LEFT = 4

#: Where the boxes of a sphere are, below the description of the pictures.
_SPHERE = (b"sv3d", b"proj")
_CAMM = b"camm"
_SPHERICAL_XML = bytes.fromhex("ffcc8263f8554a938814587a02521fdd")


def stored_stereo_mode(path: Path, track: int) -> int | None:
    """The `stereo_mode` of a video track's `st3d`, of which FFmpeg reads 0 to 2 only.

    Args:
        track: its `track_ID`.

    Returns:
        None where there is none, or no sound MP4.

    Raises:
        OSError: the file cannot be read.
    """
    content = _described(path, track, b"st3d")
    return content[4] if content is not None and len(content) >= 5 else None


def stored_aperture(path: Path, track: int) -> tuple[Fraction, Fraction, Fraction, Fraction] | None:
    """The clean aperture of a video track: what of its pictures players are to show.

    Args:
        track: its `track_ID`.

    Returns:
        width, height, and how far its middle lies to the right of and below the picture's, in
        pixels; None where the file does not say, or is no sound MP4.

    Raises:
        OSError: the file cannot be read.
    """
    content = _described(path, track, b"clap")
    if content is None or len(content) < 32:
        return None
    tops = [int.from_bytes(content[at : at + 4], "big", signed=True) for at in range(0, 32, 8)]
    bottoms = [int.from_bytes(content[at : at + 4], "big") for at in range(4, 32, 8)]
    if 0 in bottoms:
        return None
    width, height, right, below = (Fraction(*pair) for pair in zip(tops, bottoms, strict=True))
    return width, height, right, below


def stored_films(path: Path) -> int:
    """How many `moov` boxes the file holds; as many as were seen before a box of no sound size.

    Raises:
        OSError: the file cannot be read.
    """
    found = 0
    with suppress(EncodeError), path.open("rb", buffering=0) as file:
        for kind, _, _ in top_boxes(file):
            found += kind == b"moov"
    return found


def read_picture_boxes(path: Path, track_id: int) -> dict[bytes, bytes]:
    """Contents of the boxes that describe the sphere of a track of a file that others made.

    Returns:
        by name: `st3d`, `sv3d` and what is in it, `prhd`, `mshp` and others; the first of each.
        `uuid`: the XML of the first scheme, without its identifier. `camm`, empty: another track
        says how the camera moved.

    Raises:
        EncodeError: no sound MP4, or no such track.
        OSError: the file cannot be read.
    """
    tracks = _read_tracks(path)
    track = _of_number(tracks, track_id)
    boxes = _picture_boxes(track)
    for kind in _SPHERE:
        for box in [box for box in boxes if box.kind == kind][:1]:
            boxes += boxes_at_hand(box.content)
    boxes += [
        Box(box.kind, box.whole[16:])
        for box in track
        if box.kind == b"uuid" and box.content[:16] == _SPHERICAL_XML
    ]
    kinds = [box.kind for other in tracks for box in _descriptions(other)[:1]]
    camera = {_CAMM: b""} if _CAMM in kinds else {}
    return camera | {box.kind: bytes(box.content) for box in reversed(boxes)}


def stored_sound_fields(path: Path) -> list[bytes]:
    """The content of the `SA3D` box of each audio track; empty where there is none.

    Returns:
        Nothing where it is no MP4, or a damaged one.

    Raises:
        OSError: the file cannot be read.
    """
    with suppress(EncodeError), path.open("rb", buffering=0) as file:
        return [_sound_field(track) for track in tracks_of(boxes_of(read_moov(file)[1]), b"soun")]
    return []


def _described(path: Path, track_id: int, kind: bytes) -> memoryview | None:
    """The content of the first such box in the description of a track's pictures."""
    with suppress(EncodeError):
        for box in _picture_boxes(_of_number(_read_tracks(path), track_id)):
            if box.kind == kind:
                return box.content
    return None


def _read_tracks(path: Path) -> list[list[Box]]:
    """What is in each track of a file."""
    with path.open("rb", buffering=0) as file:
        moov = boxes_at_hand(read_moov(file)[1])
    return [boxes_at_hand(box.content) for box in moov if box.kind == b"trak"]


def _of_number(tracks: Iterable[list[Box]], track_id: int) -> list[Box]:
    for track in tracks:
        header = b"".join(bytes(box.content) for box in track if box.kind == b"tkhd")
        # Behind the times of making and of change, whose length the version decides.
        at = 20 if header[:1] == b"\1" else 12
        if int.from_bytes(header[at : at + 4], "big") == track_id:
            return track
    raise EncodeError(f"it has no track {track_id}")


def _picture_boxes(track: Sequence[Box]) -> list[Box]:
    """The boxes in the first description of a track's pictures."""
    entries = _descriptions(track)
    return boxes_at_hand(entries[0].content[ENTRY_BYTES:]) if entries else []


def _descriptions(track: Sequence[Box]) -> list[Box]:
    """The sample entries of a track; none where the way to them is broken."""
    boxes = list(track)
    for kind in TO_DESCRIPTIONS[:-1]:
        boxes = [inside for b in boxes if b.kind == kind for inside in boxes_at_hand(b.content)]
    content = b"".join(bytes(box.content[STSD_BYTES:]) for box in boxes if box.kind == b"stsd")
    return boxes_at_hand(memoryview(content))


def _sound_field(track: Box) -> bytes:
    with suppress(EncodeError):
        content = track.content
        for kind in TO_DESCRIPTIONS:
            content = the_only(boxes_of(content), kind).content
        for box in sound_entry(content)[2]:
            if box.kind == SA3D:
                return bytes(box.content)
    return b""
