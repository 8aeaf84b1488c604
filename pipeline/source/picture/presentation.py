"""How a container has stored pictures shown: cropped, mirrored, turned.

Decoders hand out stored pictures. FFmpeg gives the display matrix on frames; how a container crops
its pictures PyAV does not show, so it is read from the header here.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.contract import Crop
from pipeline.source.container import SMALLEST_SIDE
from pipeline.source.picture.video_tracks import ChosenTrack
from pipeline.source.signature import Container
from pipeline.vr_tags.matroska import stored_crop
from pipeline.vr_tags.mp4_header import stored_aperture

#: Degrees by which a right angle may be missed: nobody sees it, and matrices hold rounded numbers.
_SLACK = 0.5


@dataclass(frozen=True, slots=True)
class Presentation:
    """In this order: `crop` is cut off, then left and right change places, then it is turned.

    Attributes:
        crop: pixels of the stored picture that are not shown.
        mirrored: left and right change places.
        rotation: degrees counter-clockwise: 0, 90, 180 or 270.
        size: (width, height) of what is shown.
        notes: what the person should know, one line each.
    """

    crop: Crop
    mirrored: bool
    rotation: int
    size: tuple[int, int]
    notes: tuple[str, ...]


def find_presentation(path: Path, container: Container, track: ChosenTrack) -> Presentation:
    """How the pictures of a track are shown.

    Raises:
        OSError: the file cannot be read.
    """
    notes = []
    stored = track.frame.width, track.frame.height
    asked = _asked_crop(path, container, track, stored)
    crop, size = asked, (stored[0] - asked.left - asked.right, stored[1] - asked.top - asked.bottom)
    if min(asked) < 0 or min(size) < SMALLEST_SIDE:
        notes.append(
            f"the file crops its pictures of {stored[0]}x{stored[1]} to {size[0]}x{size[1]}, which"
            " cannot be meant: they are shown whole"
        )
        crop, size = Crop(), stored
    elif any(asked):
        notes.append(
            f"pictures of {stored[0]}x{stored[1]} are cropped to {size[0]}x{size[1]}, as the file"
            " says"
        )
    mirrored, degrees = _turned(track.frame.side_data.get("DISPLAYMATRIX"))
    rotation = round(degrees / 90) * 90 % 360
    if abs((degrees - rotation + 180) % 360 - 180) > _SLACK:
        notes.append(
            f"the file turns its pictures by {degrees:.0f} degrees, which is taken for {rotation}"
        )
    if rotation in (90, 270):
        size = size[::-1]
    return Presentation(crop, mirrored, rotation, size, tuple(notes))


def _asked_crop(
    path: Path, container: Container, track: ChosenTrack, stored: tuple[int, int]
) -> Crop:
    """By the container; the sides of a wrong one may be negative, or more than there are."""
    if container == "matroska":
        return Crop(*stored_crop(path, track.place))
    if container != "mov":
        return Crop()
    aperture = stored_aperture(path, track.stream.id)
    if aperture is None:
        return Crop()
    width, height, right, below = aperture
    left = round((stored[0] - width) / 2 + right)
    top = round((stored[1] - height) / 2 + below)
    return Crop(
        top=top,
        bottom=stored[1] - top - round(height),
        left=left,
        right=stored[0] - left - round(width),
    )


def _turned(matrix: Any) -> tuple[bool, float]:
    """(mirrored, degrees counter-clockwise) of a display matrix: nine numbers, row by row.

    The point (x, y) of the stored picture is shown at (a x + c y, b x + d y); y points down, and
    the matrix is ``a b u, c d v, ...``.
    """
    raw = b"" if matrix is None else bytes(matrix)
    if len(raw) < 36:
        return False, 0.0
    a, b, _, c, d, *_ = struct.unpack("=9i", raw[:36])
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return mirrored, -math.degrees(math.atan2(b, a))
