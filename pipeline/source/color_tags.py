"""Reads the colour tags of a decoded picture, in FFmpeg's names. Loads no torch."""

from __future__ import annotations

from typing import Any

from pipeline.contract import ColorTags

# By the numbers of Rec. ITU-T H.273, as FFmpeg uses them.
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco"}
_MATRICES |= {0: "gbr", 9: "bt2020nc", 10: "bt2020c"}
_PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film"}
_PRIMARIES |= {9: "bt2020", 11: "smpte431", 12: "smpte432"}
_TRANSFERS = {1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear"}
_TRANSFERS |= {13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084"}
_TRANSFERS |= {18: "arib-std-b67"}
_FULL_RANGE = 2


def color_tags(frame: Any) -> ColorTags:
    """The colour tags of a frame that PyAV decoded."""
    full = int(frame.color_range) == _FULL_RANGE or frame.format.name.startswith("yuvj")
    rgb = bool(frame.format.is_rgb)
    return ColorTags(
        matrix="gbr" if rgb else _MATRICES.get(_number(frame.colorspace), "unspecified"),
        primaries=_PRIMARIES.get(_number(frame.color_primaries), "unspecified"),
        transfer=_TRANSFERS.get(_number(frame.color_trc), "unspecified"),
        full_range=full or rgb,
    )


def _number(value: Any) -> int:
    return -1 if value is None else int(value)
