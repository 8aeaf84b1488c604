"""The boxes of an MP4 or MOV header, read strictly and as other writers leave them.

Boxes are those of ISO/IEC 14496-12. Errors are EncodeErrors: most of these files are ours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO

from pipeline.errors import EncodeError

#: A day at 60 frames/s has tables of 100 MB.
_MOST_MOOV_BYTES = 256 << 20
_MOST_TOP_BOXES = 1000
#: Of those in one box that are looked at in files of others.
_MOST_BOXES = 10_000
HEADER_BYTES = 8
#: Of a VisualSampleEntry, behind its header and before the boxes in it.
ENTRY_BYTES = 78
#: Of an AudioSampleEntry the same, by its version. QuickTime's first version has 16 bytes more than
#: that of MP4.
_SOUND_ENTRY_BYTES = {0: (28,), 1: (44, 28), 2: (64,)}
STSD_BYTES = 8
TO_DESCRIPTIONS = (b"mdia", b"minf", b"stbl", b"stsd")


@dataclass(frozen=True, slots=True)
class Box:
    """One box of a header that is at hand; `whole` begins with its size."""

    kind: bytes
    whole: memoryview

    @property
    def content(self) -> memoryview:
        return self.whole[HEADER_BYTES:]


def top_boxes(file: FileIO) -> Iterator[tuple[bytes, int, int]]:
    """(kind, position of the content, its bytes) of each box of a file.

    Raises:
        EncodeError: where something else begins.
    """
    end = os.fstat(file.fileno()).st_size
    at = 0
    for _ in range(_MOST_TOP_BOXES):
        if at == end:
            return
        head = os.pread(file.fileno(), 16, at)
        size, header = int.from_bytes(head[:4], "big"), HEADER_BYTES
        if size == 1:
            size, header = int.from_bytes(head[8:16], "big"), 16
        elif size == 0:
            size = end - at
        if len(head) < header or not header <= size <= end - at:
            raise EncodeError("a box in it has an impossible size")
        yield head[4:8], at + header, size - header
        at += size
    raise EncodeError(f"it has more than {_MOST_TOP_BOXES} boxes")


def read_moov(file: FileIO) -> tuple[int, memoryview]:
    """(position, content) of the `moov` box of a whole file."""
    found = [(at, size) for kind, at, size in top_boxes(file) if kind == b"moov"]
    if not found:
        raise EncodeError("it has no moov box")
    if len(found) > 1:
        raise EncodeError("it has two moov boxes")
    at, size = found[0]
    if size > _MOST_MOOV_BYTES:
        raise EncodeError("its moov box is larger than any table")
    moov = os.pread(file.fileno(), size, at)
    if len(moov) != size:
        raise EncodeError("it ends within its moov box")
    return at, memoryview(moov)


def boxes_of(content: memoryview) -> list[Box]:
    """The boxes in `content`, which holds nothing else."""
    found = []
    at = 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        if not HEADER_BYTES <= size <= len(content) - at:
            raise EncodeError("a box in its header has an impossible size")
        found.append(Box(bytes(content[at + 4 : at + 8]), content[at : at + size]))
        at += size
    return found


def boxes_at_hand(content: memoryview) -> list[Box]:
    """The boxes up to what is no box: other writers end a list with zeros."""
    found: list[Box] = []
    at = 0
    while len(content) - at >= HEADER_BYTES and len(found) < _MOST_BOXES:
        size = int.from_bytes(content[at : at + 4], "big")
        if not HEADER_BYTES <= size <= len(content) - at:
            break
        found.append(Box(bytes(content[at + 4 : at + 8]), content[at : at + size]))
        at += size
    return found


def the_only(boxes: Sequence[Box], kind: bytes) -> Box:
    found = [box for box in boxes if box.kind == kind]
    if len(found) != 1:
        raise EncodeError(f"it has {len(found)} {kind.decode()} boxes instead of one")
    return found[0]


def tracks_of(moov: Sequence[Box], handler: bytes) -> list[Box]:
    """The tracks of that kind, in order."""
    found = []
    for box in moov:
        if box.kind == b"trak":
            media = boxes_of(the_only(boxes_of(box.content), b"mdia").content)
            if bytes(the_only(media, b"hdlr").content[8:12]) == handler:
                found.append(box)
    return found


def sound_entry(stsd: memoryview) -> tuple[Box, memoryview, list[Box]]:
    """The one description of a track's sound: itself, what comes before the boxes in it, those."""
    entries = boxes_of(stsd[STSD_BYTES:])
    if len(entries) != 1:
        raise EncodeError(f"its sound is of {len(entries)} kinds instead of one")
    content = entries[0].content
    for size in _SOUND_ENTRY_BYTES.get(int.from_bytes(content[8:10], "big"), ()):
        if size <= len(content):
            with suppress(EncodeError):
                return entries[0], content[:size], boxes_of(content[size:])
    raise EncodeError("its sound is described in a way that is not known")


def make_box(kind: bytes, content: bytes) -> bytes:
    return (HEADER_BYTES + len(content)).to_bytes(4, "big") + kind + content
