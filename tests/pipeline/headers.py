"""Puts into headers of MP4 and Matroska what ffmpeg's command line cannot write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from tests.pipeline.hostile import box

TO_PICTURES = (b"mdia", b"minf", b"stbl", b"stsd")
_PLACEHOLDER = "room for other elements".ljust(120, ".")


def full_box(kind: bytes, content: bytes) -> bytes:
    return box(kind, bytes(4) + content)


def vexu(eyes: int, packing: bytes | None = None) -> bytes:
    """Apple's box: which eyes a track holds (1 left, 2 right, 3 both), and how they share it."""
    content = box(b"eyes", full_box(b"stri", bytes([eyes])))
    if packing is not None:
        content += box(b"pack", full_box(b"pkin", packing))
    return box(b"vexu", content)


def clap(width: int, height: int, right: int = 0, below: int = 0) -> bytes:
    """A clean aperture, in pixels; its middle lies `right` and `below` of the picture's."""
    numbers = (width, 1, height, 1, right, 1, below, 1)
    return box(b"clap", b"".join(number.to_bytes(4, "big", signed=True) for number in numbers))


def describe(path: Path, *boxes: bytes) -> Path:
    """Put boxes into the descriptions of the pictures of an MP4, one for each track of video.

    The file's `moov` must come last, as ffmpeg leaves it: what is before it does not move.
    """
    given = list(boxes)
    top = [
        (kind, _tracks(content, given) if kind == b"moov" else content)
        for kind, content in _boxes(path.read_bytes())
    ]
    assert top[-1][0] == b"moov"
    assert not given
    path.write_bytes(b"".join(box(*each) for each in top))
    return path


def _tracks(moov: bytes, given: list[bytes]) -> bytes:
    changed = b""
    for kind, content in _boxes(moov):
        if kind == b"trak" and b"vide" in content and given:
            content = _described(content, TO_PICTURES, given.pop(0))
        changed += box(kind, content)
    return changed


def _described(content: bytes, way: Sequence[bytes], more: bytes) -> bytes:
    if not way:
        ((kind, entry),) = _boxes(content[8:])
        return content[:8] + box(kind, entry + more)
    return b"".join(
        box(kind, _described(inside, way[1:], more) if kind == way[0] else inside)
        for kind, inside in _boxes(content)
    )


def _boxes(content: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        found.append((content[at + 4 : at + 8], content[at + 8 : at + size]))
        at += size
    return found


def element(kind: str, content: bytes) -> bytes:
    """Of EBML; `kind` in hexadecimal digits."""
    return bytes.fromhex(kind) + (len(content) | 1 << 56).to_bytes(8, "big") + content


def number(kind: str, value: int) -> bytes:
    return element(kind, value.to_bytes(4, "big"))


def with_room(source: Path, target: Path) -> Path:
    """Copy a video to a Matroska file whose first track has a name that can give way."""
    name = f"title={_PLACEHOLDER}"
    command = ("-i", str(source), "-map", "0", "-c", "copy", "-metadata:s:v:0", name)
    run_ffmpeg(ffmpeg_command(*command, "-write_crc32", "0", str(target)))
    return target


def crop_in_matroska(path: Path, top: int, bottom: int, left: int, right: int) -> Path:
    """Write PixelCrop of the first track, in the room of its name; nothing else moves."""
    sides = (("54BB", top), ("54AA", bottom), ("54CC", left), ("54DD", right))
    crops = b"".join(number(kind, side) for kind, side in sides)
    data = bytearray(path.read_bytes())
    name = data.index(_PLACEHOLDER.encode())
    begin = name - 3  # Name's identifier of two bytes, and its size of one
    room = 3 + len(_PLACEHOLDER)
    video = data.index(b"\xe0", name + len(_PLACEHOLDER))
    length = 9 - data[video + 1].bit_length()
    size = int.from_bytes(data[video + 1 : video + 1 + length], "big") & ((1 << 7 * length) - 1)
    content = bytes(data[video + 1 + length : video + 1 + length + size])
    end = video + 1 + length + size
    between = bytes(data[begin + room : video])
    new = between + element("E0", content + crops)
    space = end - begin - len(new)
    new += b"\xec" + (space - 9 | 1 << 56).to_bytes(8, "big") + bytes(space - 9)
    data[begin:end] = new
    path.write_bytes(bytes(data))
    return path
