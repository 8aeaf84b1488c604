"""Reads what a decoded picture says of its mastering display and its light. Loads no torch."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from pipeline.contract import MasteringData

#: AVMasteringDisplayMetadata of FFmpeg (mastering_display_metadata.h): x and y of red, green, blue
#: and white, the least and the most light, as fractions; whether there are colours, and light.
_DISPLAY = struct.Struct("=22i")
#: AVContentLightMetadata: MaxCLL and MaxFALL in cd/m2.
_LIGHT = struct.Struct("=2I")

#: Units of H.265, D.3.28.
_PER_COLOUR, _PER_LIGHT = 50_000, 10_000

#: Changing from picture to picture, which no encoder here writes.
_DYNAMIC = {
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DOVI_METADATA": "Dolby Vision",
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "DYNAMIC_HDR_SMPTE_2094_APP5": "SMPTE 2094-50",
}


def mastering_data(frame: Any) -> MasteringData | None:
    """What of HDR10's static data is there; None where nothing is."""
    display, light = None, (0, 0)
    for data in frame.side_data:
        held = bytes(data)
        if data.type.name == "MASTERING_DISPLAY_METADATA" and len(held) >= _DISPLAY.size:
            display = _display(_DISPLAY.unpack_from(held))
        elif data.type.name == "CONTENT_LIGHT_LEVEL" and len(held) >= _LIGHT.size:
            most, average = _LIGHT.unpack_from(held)
            light = (min(most, 65535), min(average, 65535))
    if display is None and not any(light):
        return None
    return MasteringData(display, *light)


def dynamic_notes(frame: Any) -> Iterator[str]:
    """What is said of each picture anew, and is in no output."""
    found = [_DYNAMIC[data.type.name] for data in frame.side_data if data.type.name in _DYNAMIC]
    for name in dict.fromkeys(found):
        yield f"the {name} data of each picture are not kept"


def _display(values: tuple[int, ...]) -> tuple[int, ...] | None:
    pairs = list(zip(values[:20:2], values[1:20:2], strict=True))
    if not (values[20] and values[21]) or any(below <= 0 for _, below in pairs):
        return None  # half of it cannot be written
    parts = [Fraction(above, below) for above, below in pairs]
    red, green, blue, white = (parts[k : k + 2] for k in (0, 2, 4, 6))
    least, most = parts[8:]
    colours = [round(part * _PER_COLOUR) for part in (*green, *blue, *red, *white)]
    return (*colours, round(most * _PER_LIGHT), round(least * _PER_LIGHT))
