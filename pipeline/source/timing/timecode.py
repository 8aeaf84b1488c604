"""Time codes: read from a file, and counted on. Loads no torch.

A time code names frames, and counts as many in a second as its base, a whole number. With drop
frames the first numbers of most minutes are left out, so that 29.97 frames a second keep up with
the clock: 2 numbers for a base of 30, except in every tenth minute (SMPTE ST 12-1).
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

_TEXT = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d\d?)")


def timecode_of(container: Any, stream: Any, rate: Fraction) -> str:
    """The time code of the first picture, counted in frames of `rate`; empty: there is none."""
    track = next((s for s in container.streams.data if _said(s)), None)
    text = _said(stream) or (_said(track) if track is not None else "") or _said(container)
    found = _TEXT.fullmatch(text)
    if found is None:
        return ""
    # A camera of 60 frames a second may count 30.
    counted = rate if track is None else (getattr(track, "average_rate", None) or rate)
    if not 0 < round(counted) <= round(rate) or int(found[5]) >= round(counted):
        counted = rate
    return _text(*_fields(found), found[4] != ":", round(counted), round(rate))


def counted_on(text: str, rate: Fraction, frames: int, every: int) -> str:
    """The time code of another frame of the same video, counted in frames of ``rate / every``.

    Args:
        text: of frame 0, counted in frames of `rate`.
        frames: number of the frame, at `rate`.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time code")
    base, drop = round(rate), found[4] != ":"
    left_out = base // 15 if drop else 0  # numbers, at the beginning of a minute
    hours, minutes, seconds, number = _fields(found)
    minutes += 60 * hours
    at = (minutes * 60 + seconds) * base + number - left_out * (minutes - minutes // 10) + frames
    ten_minutes = 600 * base - 9 * left_out
    tens, at = divmod(at % (144 * ten_minutes), ten_minutes)
    # In the first of ten minutes no number is left out.
    after = 0 if at < 60 * base else (at - 60 * base) // (60 * base - left_out) + 1
    at += left_out * after
    seconds, number = divmod(at, base)
    minutes = 10 * tens + seconds // 60
    return _text(
        minutes // 60, minutes % 60, seconds % 60, number, drop, base, round(rate / every) or 1
    )


def _fields(found: re.Match[str]) -> tuple[int, int, int, int]:
    return int(found[1]), int(found[2]), int(found[3]), int(found[5])


def _text(
    hours: int, minutes: int, seconds: int, number: int, drop: bool, base: int, shown: int
) -> str:
    """Frame `number` of a second that has `base`, in a second that has `shown`."""
    number = number * shown // base
    drop = drop and shown % 30 == 0  # no other is defined
    return f"{hours:02}:{minutes:02}:{seconds:02}{';' if drop else ':'}{number:02}"


def _said(holder: Any) -> str:
    tags = {key.lower(): value for key, value in holder.metadata.items()}
    return str(tags.get("timecode", "")).strip()
