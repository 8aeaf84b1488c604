"""Writes `st3d`, `sv3d` and `SA3D` into the header of a finished MP4 or MOV.

The tags take the place of a placeholder. All of `moov` is written again at the same size: what the
tags leave of the placeholder's room becomes a `free` box at its end, so that the pictures stay
where the tables in it say. `st3d` and `sv3d` are of Google's Spherical Video V2 RFC, `SA3D` is of
its Spatial Audio RFC.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from io import FileIO

from pipeline.errors import EncodeError
from pipeline.vr_tags.boxes import (
    ENTRY_BYTES,
    HEADER_BYTES,
    STSD_BYTES,
    TO_DESCRIPTIONS,
    Box,
    boxes_of,
    make_box,
    read_moov,
    sound_entry,
    the_only,
    tracks_of,
)
from pipeline.vr_tags.sa3d import SA3D

#: How the decoder is set up; the RFC wants its boxes behind these and before all others.
_CONFIGURATIONS = (b"avcC", b"hvcC", b"av1C", b"vpcC")
#: FFmpeg takes `vexu`, which Apple defined, for more than `st3d`.
_TAGS = (b"st3d", b"sv3d", b"vexu")
#: FFmpeg writes a comment to both in MOV.
_COMMENTS = (b"\xa9cmt", b"\xa9des")
_SOURCE = b"vrmatte\0"


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
    begin, moov = read_moov(file)
    boxes = boxes_of(moov)
    if all(box.kind != b"udta" for box in boxes):
        raise EncodeError("it holds no placeholder")
    udta = the_only(boxes, b"udta")
    left = _without_comment(udta, placeholder)
    track = _video_track(boxes)
    tags = b"" if stereo_mode is None else _full_box(b"st3d", bytes([stereo_mode]))
    tags += b"" if equi is None else _spherical(equi, pose)
    changed = {id(track): _tagged(track, tags), id(udta): left}
    if any(sounds):
        heard = tracks_of(boxes, b"soun")
        if len(heard) != len(sounds):
            raise EncodeError(f"it has {len(heard)} audio tracks instead of {len(sounds)}")
        pairs = zip(heard, sounds, strict=True)
        changed |= {id(sound): _with_sound_tag(sound, box) for sound, box in pairs if box}
    new = b"".join(changed.get(id(box), box.whole) for box in boxes)
    room = len(moov) - len(new)
    if room != 0:
        if room < HEADER_BYTES:
            raise EncodeError(f"its placeholder is {HEADER_BYTES - room} bytes too short")
        new += make_box(b"free", bytes(room - HEADER_BYTES))
    if os.pwrite(file.fileno(), new, begin) != len(new):
        raise EncodeError("its header was written in part only")


def _with_sound_tag(track: Box, tag: bytes) -> bytes:
    """The track with `tag` in the description of its sound."""

    def change(stsd: memoryview) -> bytes:
        entry, head, boxes = sound_entry(stsd)
        if any(box.kind == SA3D for box in boxes):
            raise EncodeError("its sound has tags of its own already")
        content = b"".join([head, *(box.whole for box in boxes), tag])
        return bytes(stsd[:STSD_BYTES]) + make_box(entry.kind, content)

    return make_box(track.kind, _changed(track.content, TO_DESCRIPTIONS, change))


def _tagged(track: Box, tags: bytes) -> bytes:
    """The track with `tags` in the description of its pictures."""

    def change(stsd: memoryview) -> bytes:
        entry = _entry(stsd)
        boxes = boxes_of(entry.content[ENTRY_BYTES:])
        if any(box.kind in _TAGS for box in boxes):
            raise EncodeError("it has tags of its own already")
        wholes: list[bytes | memoryview] = [box.whole for box in boxes]
        behind = [k + 1 for k, box in enumerate(boxes) if box.kind in _CONFIGURATIONS]
        wholes.insert(max(behind, default=0), tags)
        content = b"".join([entry.content[:ENTRY_BYTES], *wholes])
        return bytes(stsd[:STSD_BYTES]) + make_box(entry.kind, content)

    return make_box(track.kind, _changed(track.content, TO_DESCRIPTIONS, change))


def _changed(
    content: memoryview, kinds: Sequence[bytes], change: Callable[[memoryview], bytes]
) -> bytes:
    """`content` with that of the one box that the path `kinds` leads to changed."""
    if not kinds:
        return change(content)
    boxes = boxes_of(content)
    old = the_only(boxes, kinds[0])
    new = make_box(old.kind, _changed(old.content, kinds[1:], change))
    return b"".join(new if box is old else box.whole for box in boxes)


def _without_comment(udta: Box, placeholder: bytes) -> bytes:
    """The file's own tags without the placeholder; nothing where they were nothing else."""
    left = b""
    for box in boxes_of(udta.content):
        if box.kind == b"meta":
            left += _list_without_comment(box, placeholder)
        elif not _is_comment(box, placeholder):  # QuickTime's form
            left += box.whole
    if len(left) == len(udta.content):
        raise EncodeError("it holds no placeholder")
    return make_box(udta.kind, left) if left else b""


def _list_without_comment(meta: Box, placeholder: bytes) -> bytes:
    version, parts = meta.content[:4], boxes_of(meta.content[4:])
    items = the_only(parts, b"ilst")
    tags = [tag for tag in boxes_of(items.content) if not _is_comment(tag, placeholder)]
    if not tags:
        return b""
    new = make_box(items.kind, b"".join(tag.whole for tag in tags))
    return make_box(
        meta.kind, b"".join([version, *(new if p is items else p.whole for p in parts)])
    )


def _is_comment(box: Box, placeholder: bytes) -> bool:
    return box.kind in _COMMENTS and box.content[-len(placeholder) :] == placeholder


def _video_track(moov: Sequence[Box]) -> Box:
    tracks = tracks_of(moov, b"vide")
    if len(tracks) != 1:
        raise EncodeError(f"it has {len(tracks)} video tracks instead of one")
    return tracks[0]


def _entry(stsd: memoryview) -> Box:
    entries = boxes_of(stsd[STSD_BYTES:])
    if len(entries) != 1 or len(entries[0].content) < ENTRY_BYTES:
        raise EncodeError(f"its pictures are of {len(entries)} kinds instead of one")
    return entries[0]


def _spherical(equi: bytes, pose: tuple[float, float, float]) -> bytes:
    header = _full_box(b"prhd", struct.pack(">3i", *(round(angle * 65536) for angle in pose)))
    projection = make_box(b"proj", header + make_box(b"equi", equi))
    return make_box(b"sv3d", _full_box(b"svhd", _SOURCE) + projection)


def _full_box(kind: bytes, content: bytes) -> bytes:
    return make_box(kind, bytes(4) + content)  # version and flags
