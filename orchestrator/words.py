"""Numbers in words, for terminals and reports, and times as people write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

_TIME = re.compile(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d+)?)", re.ASCII)

#: A terminal gets no more lines of one kind.
MOST_LINES = 100

#: A line names no more things than these before it only counts the rest.
MOST_NAMES = 10

#: How times are written, for messages.
TIME_FORMS = "12.5, 1:02 or 1:00:02"


def seconds_of(text: str) -> Fraction:
    """The exact seconds of ``12.5``, ``1:02`` or ``1:00:02``. Raises ValueError: it is no time."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time")
    hours, minutes, seconds = (Fraction(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def precise(seconds: float) -> str:
    """``1:02.35``: two digits tell frames apart."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    rest = min(rest, 59.99)
    return f"{hours}:{minutes:02}:{rest:05.2f}" if hours else f"{minutes}:{rest:05.2f}"


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(count: int, thing: str) -> str:
    """``1 lane``, ``2 lanes``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def listed(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """``a, b and 3 more``: the first `most` of the names, and how many others there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def readable_size(size_bytes: float) -> str:
    """``1.2 MB``; powers of ten, as disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def about(seconds: float) -> str:
    """``about 2 h 10 min``; as coarse as such a guess is, so that it does not flicker."""
    if seconds < 60:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    if seconds < 600:
        minutes, rest = divmod(10 * round(seconds / 10), 60)
        return f"about {minutes} min {rest} s" if rest else f"about {minutes} min"
    minutes = round(seconds / 60) if seconds < 3600 else 5 * round(seconds / 300)
    if minutes < 60:
        return f"about {minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"about {hours} h {minutes} min" if minutes else f"about {hours} h"


def gathered(said: Sequence[tuple[str, str]]) -> list[str]:
    """``NAME: TEXT``, a line for each pair.

    Of more than `MOST_LINES` those with the same text become one line, and what is still too many
    is left out, which the last line says.
    """
    if len(said) <= MOST_LINES:
        return [f"{name}: {text}" for name, text in said]
    names: dict[str, list[str]] = {}
    for name, text in said:
        names.setdefault(text, []).append(name)
    lines = []
    for text, own in names.items():
        lines.append(f"{listed(own, 3)}: {text}")
    left_out = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], *([f"and {left_out} more such lines"] if left_out > 0 else [])]
