"""Text that others wrote (file names, titles, messages of libraries), made fit to show and log."""

from __future__ import annotations

#: Python calls them unprintable, but names hold them: the joiners of letters in Persian, Hindi and
#: many emoji, and spaces of Japanese, of French and of the names that macOS gives recordings.
_IN_NAMES = frozenset(
    "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"
    "\N{IDEOGRAPHIC SPACE}"
)


def printable(text: str, longest: int | None = None) -> str:
    """`text` as one line that can be shown.

    Control characters, line ends and undecodable bytes (surrogates) become U+FFFD.

    Args:
        longest: characters; a longer text is cut and ends in an ellipsis. None: any length.
    """
    shown = "".join(
        c if c.isprintable() or c in _IN_NAMES else "\N{REPLACEMENT CHARACTER}" for c in text
    )
    if longest is None or len(shown) <= longest:
        return shown
    return shown[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
