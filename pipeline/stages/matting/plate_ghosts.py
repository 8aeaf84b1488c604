"""Tells whether the median of a video's frames still holds the subject.

Where the plate is empty, what differs from it is the subject, and the outline of the difference is
an edge of the frame. Where the plate holds the subject, the difference is also there when the
subject has moved away and the frame shows the background: then its outline is an edge of the
*plate*. Such a false object is called a ghost (Cucchiara, Grana, Piccardi, Prati, "Detecting Moving
Objects, Ghosts, and Shadows in Video Streams", PAMI 25(10), 2003). A subject that moves on the spot
leaves its place about as often as it comes to another, so that nearly half of all outlines are
ghosts'; one that walks away leaves next to none.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from pipeline.pixels.guided_filter import box_mean
from pipeline.stages.matting.known_background import dilate, erode

_SIDE = 320  # frames are compared at this size
_DIFFERENT = 18 / 255  # mean difference of the channels that is no noise at that size
#: One of frame and plate has the edge if its gradient is so much larger, and by more than this.
_CLEARLY, _LEAST_EDGE = 1.5, 8 / 255
_FEW_SAMPLES = 5  # with fewer nothing can be said


@dataclass(frozen=True, slots=True)
class Outlines:
    """Whose edges the outlines of all differences are, in pixels.

    Attributes:
        subject: of the frames.
        ghosts: of the plate.
        pixels: of all frames.
    """

    subject: float
    ghosts: float
    pixels: int


def outlines(samples: Tensor, plate: Tensor) -> Outlines | None:
    """Compare frames with their median.

    Args:
        samples: uint8 ``[N, E, 3, H, W]``.
        plate: uint8 ``[E, 3, H, W]``.

    Returns:
        None for so few samples that nothing can be said.
    """
    count, eyes = samples.shape[:2]
    if count < _FEW_SAMPLES:
        return None
    subject = ghosts = 0.0
    pixels = 0
    for eye in range(eyes):
        back = _small(plate[eye : eye + 1])
        back_edges = _gradient(back)
        for at in range(count):
            picture = _small(samples[at, eye : eye + 1])
            # The exposure may sway: the median difference of all pixels is that of the background.
            level = (picture - back).flatten(2).median(dim=2).values[..., None, None]
            distance = (picture - back - level).abs().mean(dim=1, keepdim=True)
            differs = (box_mean(distance, 1) > _DIFFERENT).float()
            differs = dilate(erode(differs, 1), 1)  # without specks and lines
            outline = (dilate(differs, 1) - erode(differs, 1)) > 0
            edges = _gradient(picture)
            subject += float((outline & _clearly(edges, back_edges)).sum())
            ghosts += float((outline & _clearly(back_edges, edges)).sum())
            pixels += distance.numel()
    return Outlines(subject, ghosts, pixels)


def _small(picture: Tensor) -> Tensor:
    """float32 ``[1, 3, h, w]``, 0..1."""
    height, width = picture.shape[2:]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return F.interpolate(picture.float() / 255, size=size, mode="area")


def _gradient(picture: Tensor) -> Tensor:
    """The largest change of a channel from a pixel to those around it, ``[1, 1, h, w]``."""
    channels = picture[0].unsqueeze(1)
    return (dilate(channels, 1) - erode(channels, 1)).amax(dim=0, keepdim=True)


def _clearly(edges: Tensor, others: Tensor) -> Tensor:
    return (edges > _CLEARLY * others) & (edges - others > _LEAST_EDGE)
