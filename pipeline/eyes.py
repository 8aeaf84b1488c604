"""Whole pictures <-> single eyes, by layout. Views where possible; no pixel is changed."""

from __future__ import annotations

from torch import Tensor

from pipeline.frames import EyeBatch, FrameBatch
from pipeline.spec import Layout


def eye_size(layout: Layout, height: int, width: int) -> tuple[int, int]:
    """(height, width) of one eye in a picture of that size, both even."""
    return {"mono": (height, width), "sbs": (height, width // 2), "tb": (height // 2, width)}[
        layout
    ]


def split_eyes(frames: FrameBatch, layout: Layout) -> EyeBatch:
    """A view of the same pixels; the left (or upper) half is the left eye."""
    rgb = frames.rgb
    count, channels, height, width = rgb.shape
    if layout == "sbs":
        rgb = rgb.view(count, channels, height, 2, width // 2).permute(0, 3, 1, 2, 4)
    elif layout == "tb":
        rgb = rgb.view(count, channels, 2, height // 2, width).permute(0, 2, 1, 3, 4)
    else:
        rgb = rgb.unsqueeze(1)
    return EyeBatch(rgb, frames.start)


def join_eyes(eyes: Tensor, layout: Layout) -> Tensor:
    """``[T, E, C, H, W]`` of single eyes -> ``[T, C, H', W']`` of whole pictures."""
    if layout == "mono":
        return eyes.squeeze(1)
    if layout == "sbs":
        return eyes.permute(0, 2, 3, 1, 4).flatten(3, 4)
    return eyes.permute(0, 2, 1, 3, 4).flatten(2, 3)
