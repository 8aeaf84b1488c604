"""Splits whole pictures into eyes and joins them, by layout. Views where possible."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.contract import Layout, eye_size
from pipeline.pixels.batches import EyeBatch, FrameBatch


def eye_corner(
    layout: Layout, right_first: bool, eye: int, height: int, width: int
) -> tuple[int, int]:
    """(x, y) at which an eye begins in a picture of that size; eye 0 is the left one."""
    second = layout != "mono" and (eye == 1) != right_first
    eye_height, eye_width = eye_size(layout, height, width)
    return (eye_width * (second and layout == "sbs"), eye_height * (second and layout == "tb"))


def split_eyes(frames: FrameBatch, layout: Layout, right_first: bool = False) -> EyeBatch:
    """The eyes of each frame, the left one first; see `split`."""
    fine = None if frames.fine is None else split(frames.fine, layout, right_first)
    rgb = split(frames.rgb, layout, right_first)
    return EyeBatch(rgb, frames.start, frames.seen, fine)


def split(pictures: Tensor, layout: Layout, right_first: bool = False) -> Tensor:
    """``[T, C, H, W]`` of whole pictures -> ``[T, E, C, H', W']``, the left eye first.

    A view of the same pixels, unless the right eye comes first.

    Args:
        right_first: the left (or upper) half of a picture is the right eye.
    """
    count, channels, height, width = pictures.shape
    if layout == "mono":
        return pictures.unsqueeze(1)
    if layout == "sbs":
        halves = pictures.view(count, channels, height, 2, width // 2).permute(0, 3, 1, 2, 4)
    else:
        halves = pictures.view(count, channels, 2, height // 2, width).permute(0, 2, 1, 3, 4)
    return halves.flip(1) if right_first else halves


class JoinedEyes:
    """Whole pictures of single eyes, put together a few rows at a time: no copy of a picture.

    Args:
        eyes: ``[T, E, C, H, W]``, the left eye first.

    Attributes:
        eyes: as they were given.
        order: numbers of the eyes as they lie in a whole picture, from its upper left corner.
        across: they lie side by side.
        shape: of the whole pictures, ``(T, C, H', W')``.
    """

    def __init__(self, eyes: Tensor, layout: Layout, right_first: bool = False) -> None:
        count, num_eyes, channels, height, width = eyes.shape
        rows, columns = {"mono": (1, 1), "sbs": (1, 2), "tb": (2, 1)}[layout]
        self.eyes = eyes
        self.order = [1, 0] if right_first and num_eyes == 2 else list(range(num_eyes))
        self.across = layout == "sbs"
        self._layout: Layout = layout
        self.shape = (count, channels, height * rows, width * columns)

    @property
    def device(self) -> torch.device:
        return self.eyes.device

    @property
    def dtype(self) -> torch.dtype:
        return self.eyes.dtype

    def whole(self) -> Tensor:
        """All of them, put together: ``[T, C, H', W']``."""
        return join_eyes(self.eyes, self._layout, self.order == [1, 0])

    def rows(self, number: int, top: int, bottom: int) -> Tensor:
        """Rows of one picture, ``[C, bottom - top, W']``; fewer where it ends before."""
        eyes = [self.eyes[number, eye] for eye in self.order]
        if self.across:
            return torch.cat([eye[:, top:bottom] for eye in eyes], dim=2)
        height = self.eyes.shape[3]
        parts = [
            eye[:, max(0, top - begin) : max(0, bottom - begin)]
            for eye, begin in zip(eyes, range(0, 2 * height, height), strict=False)
        ]
        parts = [part for part in parts if part.shape[1]]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def join_eyes(eyes: Tensor, layout: Layout, right_first: bool = False) -> Tensor:
    """``[T, E, C, H, W]`` of single eyes -> ``[T, C, H', W']`` of whole pictures."""
    if layout == "mono":
        return eyes.squeeze(1)
    if right_first:
        eyes = eyes.flip(1)
    if layout == "sbs":
        return eyes.permute(0, 2, 3, 1, 4).flatten(3, 4)
    return eyes.permute(0, 2, 1, 3, 4).flatten(2, 3)
