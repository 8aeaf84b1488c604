"""Checks a file's first bytes before any FFmpeg sees it; rejects what is no container.

FFmpeg goes by content, not by name, and takes playlists and scripts that make it open other
files. TorchCodec's FFmpeg knows no list of allowed formats: it is given only files of which this
module knows the container, and of which nothing else can be made.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal, get_args

from pipeline.errors import InputError
from pipeline.text import printable

#: The containers that are taken, by the names of FFmpeg's demuxers.
Container = Literal["mov", "matroska", "avi", "mpegts"]
CONTAINERS: Final[tuple[Container, ...]] = get_args(Container)

#: What FFmpeg looks at, at most, to tell what a file is (PROBE_BUF_MAX).
_HEAD_BYTES = 1 << 20

_TAKEN = "MP4, MOV, MKV, WebM, AVI and MPEG-TS files are taken"

_MOV_SMALL_BOXES = frozenset(b"ftyp styp pnot wide pdin prfl pict sidx udta".split())
_MOV_BOXES = frozenset(b"moov moof mdat free skip junk uuid".split())
_DOC_TYPES = (b"matroska", b"webm")

# Of MPEG-TS: packets of 188 bytes, with 4 bytes before (M2TS) or 16 after them.
_TS_STRIDES = (188, 192, 204)
_TS_SYNC = 0x47
_TS_PACKETS = 5  # so many in a row; fewer only where the file ends
_TS_LATEST_START = 1024  # a recording may begin in the middle of a packet

# FFmpeg takes these for scripts wherever they stand in the text before the first zero byte ...
_XML_SCRIPTS = {
    b"<mpd": "a DASH playlist",
    b"<compositionplaylist": "an IMF playlist",
    b"<smoothstreamingmedia": "a Smooth Streaming playlist",
}
# ... and this one at the beginning of any line.
_SDP_LINE = re.compile(rb"(?:\A|\n\r?)c=IN IP")

_STARTS = (
    (b"#extm3u", "an HLS playlist"),
    (b"ffconcat", "an FFmpeg concat script"),
    (b"v=0", "an SDP session description"),
    (b"<?xml", "an XML text"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"[playlist]", "a playlist"),
    (b"[internetshortcut]", "a link to a web address"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89png", "a PNG picture"),
    (b"gif8", "a GIF picture"),
    (b"%pdf", "a PDF document"),
    (b"pk\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"id3", "an MP3 file"),
    (b"flac", "a FLAC file"),
    (b"oggs", "an Ogg file"),
    (b"flv\x01", "an FLV file"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file"),
    (b"\x00\x00\x01\xba", "an MPEG program stream"),
    (b"\x00\x00\x01\xb3", "a bare MPEG video stream"),
    (b"\x7felf", "a program"),
    (b"#!", "a script"),
)


def find_container(path: Path) -> Container:
    """The container of a regular file.

    Raises:
        InputError: it is none that is taken; the message says what it looks like.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    container = container_of(head)
    if container is None:
        raise InputError(f"{printable(str(path))} is not a video but {looks_like(head)}", _TAKEN)
    return container


def container_of(head: bytes) -> Container | None:
    """The container that begins with `head`, or None if that is anything else."""
    if _script(head) or head.startswith(b"#"):
        return None
    if _is_mov(head):
        return "mov"
    if _is_matroska(head):
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"AVIX", b"AVI\x19"):
        return "avi"
    if _is_mpegts(head):
        return "mpegts"
    return None


def looks_like(head: bytes) -> str:
    """What a file that is no container seems to be, in words."""
    if script := _script(head):
        return script
    start = _without_mark(head[:64]).lower()
    for magic, words in _STARTS:
        if start.startswith(magic) or start.lstrip().startswith(magic):
            return words
    if head[:4] == b"RIFF" and head[8:12] in (b"WAVE", b"WEBP"):
        return {b"WAVE": "a WAV file", b"WEBP": "a WebP picture"}[head[8:12]]
    if not head.strip(b"\0"):
        return "zeros, as a broken-off download or copy leaves them"
    if all(32 <= byte < 127 or byte in b"\t\r\n\f" or byte >= 128 for byte in head[:4096]):
        return "text"
    return "of a kind that is not known (it may be damaged, or encrypted)"


def _script(head: bytes) -> str | None:
    """Which of the scripts that FFmpeg obeys this would be, if any."""
    if _SDP_LINE.search(head):
        return "an SDP session description"
    text = head[: head.find(b"\0")] if b"\0" in head else head
    low = text.lower()
    for mark, words in _XML_SCRIPTS.items():
        if mark in low:
            return words
    start = _without_mark(low).lstrip()
    if start.startswith((b"#extm3u", b"ffconcat")):
        return "an HLS playlist" if start.startswith(b"#") else "an FFmpeg concat script"
    return None


def _without_mark(head: bytes) -> bytes:
    return head.removeprefix(b"\xef\xbb\xbf")


def _is_mov(head: bytes) -> bool:
    size, kind = int.from_bytes(head[:4], "big"), head[4:8]
    if kind in _MOV_SMALL_BOXES:
        return 8 <= size < 1 << 24
    # 0: to the end of the file; 1: the size is a longer number that follows.
    return kind in _MOV_BOXES and (size in (0, 1) or size >= 8)


def _is_matroska(head: bytes) -> bool:
    if head[:4] != b"\x1a\x45\xdf\xa3":
        return False
    at = head.find(b"\x42\x82", 4, 4096)  # DocType, then its length
    return at >= 0 and head[at + 3 :].startswith(_DOC_TYPES)


def _is_mpegts(head: bytes) -> bool:
    if b"\0" not in head[:4096] and b"\xff" not in head[:4096]:
        return False  # text: every letter G would be a sync byte
    for start in range(min(_TS_LATEST_START, len(head))):
        if head[start] != _TS_SYNC:
            continue
        for stride in _TS_STRIDES:
            places = range(start, min(len(head), start + _TS_PACKETS * stride), stride)
            if len(places) >= 2 and all(head[place] == _TS_SYNC for place in places):
                return True
    return False
