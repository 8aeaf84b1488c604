"""Numbers in words, for terminals and reports."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(count: int, thing: str) -> str:
    """``1 lane``, ``2 lanes``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


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
