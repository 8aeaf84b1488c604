"""Reads the colour tags of a decoded picture, in FFmpeg's names. Loads no torch."""

from __future__ import annotations

import re
from typing import Any

from pipeline.contract import ColorTags
from pipeline.errors import InputError

# By the numbers of Rec. ITU-T H.273, as FFmpeg uses them.
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco"}
_MATRICES |= {9: "bt2020nc"}
_PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film"}
_PRIMARIES |= {9: "bt2020", 11: "smpte431", 12: "smpte432"}
_TRANSFERS = {1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear"}
_TRANSFERS |= {13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084"}
_TRANSFERS |= {18: "arib-std-b67"}
_FULL_RANGE = 2

_IDENTITY, _UNSPECIFIED, _DERIVED = 0, 2, 12
#: The matrix that follows from the primaries, where a file leaves it to them.
_BY_PRIMARIES = {1: "bt709", 9: "bt2020nc"}
#: Matrices that cannot be undone here, and whether FFmpeg's filter zscale can.
_REFUSED = {
    10: ("BT.2020 with constant luminance", True),
    11: ("Y'D'zD'x (SMPTE ST 2085)", False),
    12: ("a matrix of its primaries", True),
    13: ("a matrix of its primaries with constant luminance", True),
    14: ("ICtCp", True),
    15: ("IPT-PQ-C2", False),
    16: ("YCgCo-Re", False),
    17: ("YCgCo-Ro", False),
}
#: Formats that are converted here, and not by a library that does not know YCgCo.
_OWN_FORMATS = re.compile(r"yuv.*(?<!be)|uyvy422|yuyv422|nv12")


def color_tags(frame: Any) -> ColorTags:
    """The colour tags of a frame that PyAV decoded.

    A matrix that means nothing, or not of such a picture, is left "unspecified".
    """
    full = int(frame.color_range) == _FULL_RANGE or frame.format.name.startswith("yuvj")
    rgb = bool(frame.format.is_rgb)
    matrix = _MATRICES.get(_number(frame.colorspace), "unspecified")
    if _number(frame.colorspace) == _DERIVED:
        matrix = _BY_PRIMARIES.get(_number(frame.color_primaries), "unspecified")
    return ColorTags(
        matrix="gbr" if rgb else matrix,
        primaries=_PRIMARIES.get(_number(frame.color_primaries), "unspecified"),
        transfer=_TRANSFERS.get(_number(frame.color_trc), "unspecified"),
        full_range=full or rgb,
    )


def require_known_colors(frame: Any, shown: str) -> tuple[str, ...]:
    """Refuse a picture whose colours cannot be told; return notes on tags that mean nothing.

    Raises:
        InputError: its matrix is none that can be undone here.
    """
    kind = frame.format.name
    if kind.startswith("xyz"):
        raise InputError(
            f"{shown} has pictures in XYZ, as films for cinemas do, which cannot be shown here",
            "convert it first, with ffmpeg's option -pix_fmt yuv444p10le",
        )
    if frame.format.is_rgb or kind.startswith(("gray", "ya", "mono")):
        return ()
    number = _number(frame.colorspace)
    if number == _DERIVED and _number(frame.color_primaries) in _BY_PRIMARIES:
        return ()
    if number in _REFUSED or (number == 8 and not _OWN_FORMATS.fullmatch(kind)):
        name, filtered = _REFUSED.get(number, (f"YCgCo in pictures of {kind}", True))
        way = "ffmpeg's option -vf zscale=matrix=709" if filtered else "the program that made it"
        raise InputError(
            f"{shown} has its colours in {name}, which cannot be undone here",
            f"convert it first, with {way}",
        )
    if number in (*_MATRICES, _UNSPECIFIED, -1):
        return ()
    said = (
        "RGB, which its pictures are not" if number == _IDENTITY else f"number {number}, reserved"
    )
    return (
        f"the file says that its colour matrix is {said}: taken for BT.709, or below 720 lines for"
        " BT.601, as where nothing is said",
    )


def _number(value: Any) -> int:
    return -1 if value is None else int(value)
