"""At which sizes RVM's network sees eyes. Loads no torch."""

from __future__ import annotations

#: The network wants 256 to 512 pixels on its longest side (RVM's documentation, inference.md).
NETWORK_SIDE = 512

#: The same where it only looks at where somebody is.
LOOK_SIDE = 384


def whole_ratio(asked: float | None, height: int, width: int) -> float:
    """The network's size as a share of a whole eye's."""
    return asked or min(NETWORK_SIDE / max(height, width), 1.0)


def look_ratio(height: int, width: int) -> float:
    """The same where it only looks."""
    return min(LOOK_SIDE / max(height, width), 1.0)


def network_size(height: int, width: int, ratio: float) -> tuple[int, int]:
    """Rows and columns of the network's input."""
    return int(height * ratio), int(width * ratio)
