"""A person's pictures of a video's whole frame, or of one eye: read, and matched with its size.

Loads no torch: planning asks it, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Layout
from pipeline.errors import SettingsError
from pipeline.foreign.files import read_bytes
from pipeline.foreign.pictures import decode_rgb


@dataclass(frozen=True, slots=True)
class EyeSize:
    """The eyes of a video on their way through the stages, in pixels."""

    eyes: int
    height: int
    width: int

    def wholes(self) -> dict[Layout, tuple[int, int]]:
        """(height, width) of its whole frame, as that may lie in a picture."""
        if self.eyes == 1:
            return {"mono": (self.height, self.width)}
        return {"sbs": (self.height, 2 * self.width), "tb": (2 * self.height, self.width)}


def read_picture(
    path: Path, longest_bytes: int, sha256: str | None, what: str
) -> NDArray[np.uint8]:
    """RGB uint8 ``[H, W, 3]``.

    Args:
        sha256: that the file must have, if it is known.
        what: how the picture is called in an error.

    Raises:
        Unreadable: it is no picture.
        SettingsError: it is another one than that of the plan.
    """
    content = read_bytes(path, longest_bytes)
    picture = decode_rgb(content)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256.lower():
        raise SettingsError(f"{what} has changed since the run was planned", "start the run again")
    return picture


def layout_of(
    picture: tuple[int, int], sizes: Mapping[Layout, tuple[int, int]]
) -> tuple[Layout, tuple[int, int]] | None:
    """Which of the sizes a picture has, and how many lines and columns it lacks; None: none.

    Frames of odd size are padded by a line on their way through the stages; the picture may be as
    in the file.

    Args:
        picture, sizes: (height, width) each.
    """
    for layout, (height, width) in sizes.items():
        lacks = height - picture[0], width - picture[1]
        if set(lacks) <= {0, 1}:
            return layout, lacks
    return None
