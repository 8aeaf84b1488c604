"""The `SA3D` box of MP4 and MOV: says that a track's channels are a sound field.

Format: Google's Spatial Audio RFC. Matroska has no such box; there Opus itself says so.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pipeline.contract import Ambisonics

SA3D = b"SA3D"

#: Version, type with the flag of the stereo sound, order, ordering (ACN), normalization (SN3D), and
#: the number of channels; then a number for each of them.
_HEAD = struct.Struct(">BBIBBI")
_HEAD_LOCKED = 0x80
_MOST_CHANNELS = 255  # of Opus


def sa3d_box(field: Ambisonics) -> bytes:
    """The box that says it."""
    count = len(field.channel_map)
    flags = _HEAD_LOCKED if field.head_locked else 0
    content = _HEAD.pack(0, flags, field.order, 0, 0, count)
    content += struct.pack(f">{count}I", *field.channel_map)
    return (8 + len(content)).to_bytes(4, "big") + SA3D + content


def ambisonics_of(content: bytes) -> Ambisonics | None:
    """What the content of a box says; None where it is damaged, or of a kind not defined."""
    if len(content) < _HEAD.size:
        return None
    version, kind, order, ordering, normalization, count = _HEAD.unpack_from(content)
    if (version, kind & ~_HEAD_LOCKED, ordering, normalization) != (0, 0, 0, 0):
        return None
    if count > _MOST_CHANNELS or len(content) != _HEAD.size + 4 * count:
        return None
    channel_map = struct.unpack_from(f">{count}I", content, _HEAD.size)
    head_locked = bool(kind & _HEAD_LOCKED)
    return ambisonics(order, head_locked, channel_map)


def ambisonics(order: int, head_locked: bool, channel_map: Sequence[int]) -> Ambisonics | None:
    """None where that is not the number of channels of such a sound field, each of them once.

    Order 0 is mono.
    """
    count = (order + 1) ** 2 + 2 * head_locked
    if order < 1 or len(channel_map) != count or sorted(channel_map) != list(range(count)):
        return None
    return Ambisonics(order, head_locked, tuple(channel_map))
