"""Words that others wrote (names, titles, messages of libraries), fit to be shown and logged."""

from __future__ import annotations


def one_line(text: str, longest: int = 1000) -> str:
    """`text` without control characters and undecodable bytes, cut to `longest` characters."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
