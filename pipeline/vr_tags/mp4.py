"""Writes `st3d`, `sv3d` and `SA3D` into the header of a finished MP4 or MOV; reads what FFmpeg
does not.

The tags take the place of a placeholder. All of `moov` is written again at the same size: what the
tags leave of the placeholder's room becomes a `free` box at its end, so that the pictures stay
where the tables in it say. Boxes are those of ISO/IEC 14496-12; `st3d` and `sv3d` are of Google's
Spherical Video V2 RFC, `SA3D` is of its Spatial Audio RFC.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from io import FileIO
from pathlib import Path

from pipeline.errors import EncodeError
from pipeline.vr_tags.sa3d import SA3D

#: A day at 60 frames/s has tables of 100 MB.
_MOST_MOOV_BYTES = 256 << 20
_MOST_TOP_BOXES = 1000
#: Of those in one box that are looked at in files of others.
_MOST_BOXES = 10_000
_HEADER_BYTES = 8
#: Of a VisualSampleEntry, behind its header and before the boxes in it.
_ENTRY_BYTES = 78
#: Of an AudioSampleEntry the same, by its version. QuickTime's first version has 16 bytes more than
#: that of MP4.
_SOUND_ENTRY_BYTES = {0: (28,), 1: (44, 28), 2: (64,)}
_STSD_BYTES = 8
_TO_DESCRIPTIONS = (b"mdia", b"minf", b"stbl", b"stsd")
#: How the decoder is set up; the RFC wants its boxes behind these and before all others.
_CONFIGURATIONS = (b"avcC", b"hvcC", b"av1C", b"vpcC")
#: FFmpeg takes `vexu`, which Apple defined, for more than `st3d`.
_TAGS = (b"st3d", b"sv3d", b"vexu")
#: FFmpeg writes a comment to both in MOV.
_COMMENTS = (b"\xa9cmt", b"\xa9des")
_SOURCE = b"vrmatte\0"


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    whole: memoryview

    @property
    def content(self) -> memoryview:
        return self.whole[_HEADER_BYTES:]


def write_boxes(
    file: FileIO,
    placeholder: bytes,
    stereo_mode: int | None,
    equi: bytes | None,
    pose: tuple[float, float, float],
    sounds: Sequence[bytes] = (),
) -> None:
    """Write the tags of the one video track, and of the audio tracks, over the placeholder.

    Args:
        file: open to be read and written, unbuffered.
        placeholder: the text of the file's comment.
        stereo_mode: of `st3d`; None leaves the box out.
        equi: content of the `equi` box in `sv3d`; None leaves `sv3d` out.
        pose: yaw, pitch and roll in degrees, for `prhd`.
        sounds: the `SA3D` box of each audio track; empty: of that none. No items: of no track.

    Raises:
        EncodeError: no placeholder, or no file as ffmpeg builds it.
    """
    begin, moov = _read_moov(file)
    boxes = _boxes(moov)
    if all(box.kind != b"udta" for box in boxes):
        raise EncodeError("it holds no placeholder")
    udta = _the_only(boxes, b"udta")
    left = _without_comment(udta, placeholder)
    track = _video_track(boxes)
    tags = b"" if stereo_mode is None else _full_box(b"st3d", bytes([stereo_mode]))
    tags += b"" if equi is None else _spherical(equi, pose)
    changed = {id(track): _tagged(track, tags), id(udta): left}
    if any(sounds):
        heard = _tracks(boxes, b"soun")
        if len(heard) != len(sounds):
            raise EncodeError(f"it has {len(heard)} audio tracks instead of {len(sounds)}")
        pairs = zip(heard, sounds, strict=True)
        changed |= {id(sound): _with_sound_tag(sound, box) for sound, box in pairs if box}
    new = b"".join(changed.get(id(box), box.whole) for box in boxes)
    room = len(moov) - len(new)
    if room != 0:
        if room < _HEADER_BYTES:
            raise EncodeError(f"its placeholder is {_HEADER_BYTES - room} bytes too short")
        new += _box(b"free", bytes(room - _HEADER_BYTES))
    if os.pwrite(file.fileno(), new, begin) != len(new):
        raise EncodeError("its header was written in part only")


#: The `stereo_mode` of two eyes side by side, the right one first.
RIGHT_LEFT = 4


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


def _described(path: Path, track: int, kind: bytes) -> memoryview | None:
    """The content of the first such box in the description of a track's pictures."""
    with suppress(EncodeError), path.open("rb", buffering=0) as file:
        for box in _boxes(_read_moov(file)[1]):
            if box.kind != b"trak" or _track_id(box) != track:
                continue
            content = box.content
            for step in _TO_DESCRIPTIONS:
                content = _the_only(_boxes(content), step).content
            for found in _boxes(_entry(content).content[_ENTRY_BYTES:], closed=True):
                if found.kind == kind:
                    return found.content
    return None


def stored_films(path: Path) -> int:
    """How many `moov` boxes the file holds; as many as were seen before a box of no sound size.

    Raises:
        OSError: the file cannot be read.
    """
    found = at = 0
    with path.open("rb", buffering=0) as file:
        end = os.fstat(file.fileno()).st_size
        for _ in range(_MOST_TOP_BOXES):
            head = os.pread(file.fileno(), 16, at)
            size = int.from_bytes(head[:4], "big")
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            if len(head) < _HEADER_BYTES or not _HEADER_BYTES <= size <= end - at:
                break
            found += head[4:8] == b"moov"
            at += size
    return found


#: Where the boxes of a sphere are, below the description of the pictures.
_SPHERE = (b"sv3d", b"proj")
_SPHERICAL_XML = bytes.fromhex("ffcc8263f8554a938814587a02521fdd")


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
    with path.open("rb", buffering=0) as file:
        moov = _boxes_at_hand(_read_moov(file)[1])
    tracks = [_boxes_at_hand(box.content) for box in moov if box.kind == b"trak"]
    found = {b"camm": b""} if any(_kinds(track)[:1] == [b"camm"] for track in tracks) else {}
    for track in tracks:
        header = b"".join(bytes(box.content) for box in track if box.kind == b"tkhd")
        at = 20 if header[:1] == b"\1" else 12
        if int.from_bytes(header[at : at + 4], "big") != track_id:
            continue
        entries = _descriptions(track)
        boxes = _boxes_at_hand(entries[0].content[_ENTRY_BYTES:]) if entries else []
        for kind in _SPHERE:
            for box in [box for box in boxes if box.kind == kind][:1]:
                boxes += _boxes_at_hand(box.content)
        boxes += [
            _Box(box.kind, box.whole[16:])
            for box in track
            if box.kind == b"uuid" and box.content[:16] == _SPHERICAL_XML
        ]
        return found | {box.kind: bytes(box.content) for box in reversed(boxes)}
    raise EncodeError(f"it has no track {track_id}")


def _kinds(track: Sequence[_Box]) -> list[bytes]:
    return [entry.kind for entry in _descriptions(track)]


def _descriptions(track: Sequence[_Box]) -> list[_Box]:
    """The sample entries of a track; none where the way to them is broken."""
    boxes = list(track)
    for kind in _TO_DESCRIPTIONS[:-1]:
        boxes = [inside for b in boxes if b.kind == kind for inside in _boxes_at_hand(b.content)]
    content = b"".join(bytes(box.content[_STSD_BYTES:]) for box in boxes if box.kind == b"stsd")
    return _boxes_at_hand(memoryview(content))


def _boxes_at_hand(content: memoryview) -> list[_Box]:
    """The boxes up to what is no box: other writers end a list with zeros."""
    found: list[_Box] = []
    at = 0
    while len(content) - at >= _HEADER_BYTES and len(found) < _MOST_BOXES:
        size = int.from_bytes(content[at : at + 4], "big")
        if not _HEADER_BYTES <= size <= len(content) - at:
            break
        found.append(_Box(bytes(content[at + 4 : at + 8]), content[at : at + size]))
        at += size
    return found


def _track_id(track: _Box) -> int:
    """Behind the times of making and of change, whose length the version decides."""
    header = _the_only(_boxes(track.content), b"tkhd").content
    begin = 20 if bytes(header[:1]) == b"\x01" else 12
    return int.from_bytes(header[begin : begin + 4], "big")


def stored_sound_fields(path: Path) -> list[bytes]:
    """The content of the `SA3D` box of each audio track; empty where there is none.

    Returns:
        Nothing where it is no MP4, or a damaged one.

    Raises:
        OSError: the file cannot be read.
    """
    with suppress(EncodeError), path.open("rb", buffering=0) as file:
        return [_sound_field(track) for track in _tracks(_boxes(_read_moov(file)[1]), b"soun")]
    return []


def _sound_field(track: _Box) -> bytes:
    with suppress(EncodeError):
        content = track.content
        for kind in _TO_DESCRIPTIONS:
            content = _the_only(_boxes(content), kind).content
        for box in _sound_entry(content)[2]:
            if box.kind == SA3D:
                return bytes(box.content)
    return b""


def _with_sound_tag(track: _Box, tag: bytes) -> bytes:
    """The track with `tag` in the description of its sound."""

    def change(stsd: memoryview) -> bytes:
        entry, head, boxes = _sound_entry(stsd)
        if any(box.kind == SA3D for box in boxes):
            raise EncodeError("its sound has tags of its own already")
        content = b"".join([head, *(box.whole for box in boxes), tag])
        return bytes(stsd[:_STSD_BYTES]) + _box(entry.kind, content)

    return _box(track.kind, _changed(track.content, _TO_DESCRIPTIONS, change))


def _sound_entry(stsd: memoryview) -> tuple[_Box, memoryview, list[_Box]]:
    """The one description of a track's sound: itself, what comes before the boxes in it, those."""
    entries = _boxes(stsd[_STSD_BYTES:])
    if len(entries) != 1:
        raise EncodeError(f"its sound is of {len(entries)} kinds instead of one")
    content = entries[0].content
    for size in _SOUND_ENTRY_BYTES.get(int.from_bytes(content[8:10], "big"), ()):
        if size <= len(content):
            with suppress(EncodeError):
                return entries[0], content[:size], _boxes(content[size:])
    raise EncodeError("its sound is described in a way that is not known")


def _read_moov(file: FileIO) -> tuple[int, memoryview]:
    """(position, content) of the `moov` box of a whole file."""
    end = os.fstat(file.fileno()).st_size
    found: tuple[int, int] | None = None
    at = 0
    for _ in range(_MOST_TOP_BOXES):
        if at == end:
            break
        head = os.pread(file.fileno(), 16, at)
        size, least = int.from_bytes(head[:4], "big"), _HEADER_BYTES
        if head[4:8] == b"moov":
            if found:
                raise EncodeError("it has two moov boxes")
            if size > _MOST_MOOV_BYTES:
                raise EncodeError("its moov box is larger than any table")
            found = at + _HEADER_BYTES, size - _HEADER_BYTES
        elif size == 1:
            size, least = int.from_bytes(head[8:16], "big"), 16
        elif size == 0:
            size = end - at
        if len(head) < least or not least <= size <= end - at:
            raise EncodeError("a box in it has an impossible size")
        at += size
    else:
        raise EncodeError(f"it has more than {_MOST_TOP_BOXES} boxes")
    if found is None:
        raise EncodeError("it has no moov box")
    moov = os.pread(file.fileno(), found[1], found[0])
    if len(moov) != found[1]:
        raise EncodeError("it ends within its moov box")
    return found[0], memoryview(moov)


def _boxes(content: memoryview, *, closed: bool = False) -> list[_Box]:
    """The boxes in `content`; where it is `closed`, as QuickTime does, by a number 0 at the end."""
    found = []
    at = 0
    while at < len(content):
        if closed and content[at:] == bytes(4):
            break
        size = int.from_bytes(content[at : at + 4], "big")
        if not _HEADER_BYTES <= size <= len(content) - at:
            raise EncodeError("a box in its header has an impossible size")
        found.append(_Box(bytes(content[at + 4 : at + 8]), content[at : at + size]))
        at += size
    return found


def _tagged(track: _Box, tags: bytes) -> bytes:
    """The track with `tags` in the description of its pictures."""

    def change(stsd: memoryview) -> bytes:
        entry = _entry(stsd)
        boxes = _boxes(entry.content[_ENTRY_BYTES:])
        if any(box.kind in _TAGS for box in boxes):
            raise EncodeError("it has tags of its own already")
        wholes: list[bytes | memoryview] = [box.whole for box in boxes]
        behind = [k + 1 for k, box in enumerate(boxes) if box.kind in _CONFIGURATIONS]
        wholes.insert(max(behind, default=0), tags)
        content = b"".join([entry.content[:_ENTRY_BYTES], *wholes])
        return bytes(stsd[:_STSD_BYTES]) + _box(entry.kind, content)

    return _box(track.kind, _changed(track.content, _TO_DESCRIPTIONS, change))


def _changed(
    content: memoryview, kinds: Sequence[bytes], change: Callable[[memoryview], bytes]
) -> bytes:
    """`content` with that of the one box that the path `kinds` leads to changed."""
    if not kinds:
        return change(content)
    boxes = _boxes(content)
    old = _the_only(boxes, kinds[0])
    new = _box(old.kind, _changed(old.content, kinds[1:], change))
    return b"".join(new if box is old else box.whole for box in boxes)


def _without_comment(udta: _Box, placeholder: bytes) -> bytes:
    """The file's own tags without the placeholder; nothing where they were nothing else."""
    left = b""
    for box in _boxes(udta.content):
        if box.kind == b"meta":
            left += _list_without_comment(box, placeholder)
        elif not _is_comment(box, placeholder):  # QuickTime's form
            left += box.whole
    if len(left) == len(udta.content):
        raise EncodeError("it holds no placeholder")
    return _box(udta.kind, left) if left else b""


def _list_without_comment(meta: _Box, placeholder: bytes) -> bytes:
    version, parts = meta.content[:4], _boxes(meta.content[4:])
    items = _the_only(parts, b"ilst")
    tags = [tag for tag in _boxes(items.content) if not _is_comment(tag, placeholder)]
    if not tags:
        return b""
    new = _box(items.kind, b"".join(tag.whole for tag in tags))
    return _box(meta.kind, b"".join([version, *(new if p is items else p.whole for p in parts)]))


def _is_comment(box: _Box, placeholder: bytes) -> bool:
    return box.kind in _COMMENTS and box.content[-len(placeholder) :] == placeholder


def _video_track(moov: Sequence[_Box]) -> _Box:
    tracks = _tracks(moov, b"vide")
    if len(tracks) != 1:
        raise EncodeError(f"it has {len(tracks)} video tracks instead of one")
    return tracks[0]


def _tracks(moov: Sequence[_Box], handler: bytes) -> list[_Box]:
    """The tracks of that kind, in order."""
    found = []
    for box in moov:
        if box.kind == b"trak":
            media = _boxes(_the_only(_boxes(box.content), b"mdia").content)
            if bytes(_the_only(media, b"hdlr").content[8:12]) == handler:
                found.append(box)
    return found


def _entry(stsd: memoryview) -> _Box:
    entries = _boxes(stsd[_STSD_BYTES:])
    if len(entries) != 1 or len(entries[0].content) < _ENTRY_BYTES:
        raise EncodeError(f"its pictures are of {len(entries)} kinds instead of one")
    return entries[0]


def _the_only(boxes: Sequence[_Box], kind: bytes) -> _Box:
    found = [box for box in boxes if box.kind == kind]
    if len(found) != 1:
        raise EncodeError(f"it has {len(found)} {kind.decode()} boxes instead of one")
    return found[0]


def _spherical(equi: bytes, pose: tuple[float, float, float]) -> bytes:
    header = _full_box(b"prhd", struct.pack(">3i", *(round(angle * 65536) for angle in pose)))
    projection = _box(b"proj", header + _box(b"equi", equi))
    return _box(b"sv3d", _full_box(b"svhd", _SOURCE) + projection)


def _full_box(kind: bytes, content: bytes) -> bytes:
    return _box(kind, bytes(4) + content)  # version and flags


def _box(kind: bytes, content: bytes) -> bytes:
    return (_HEADER_BYTES + len(content)).to_bytes(4, "big") + kind + content
