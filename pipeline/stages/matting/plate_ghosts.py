"""Tells whether the median of a video's frames still holds the subject.

Two signs, of which one is enough:

- **Nothing settles.** Where the background is seen for most of the time the median is that, and
  only the passing subject differs from it. A subject that moves on the spot makes a median of its
  own parts, from which it differs in almost every frame.
- **Ghosts.** Where the plate is empty, the outline of what differs is an edge of the frame. Where
  the plate holds the subject and it has gone, it is an edge of the *plate*: a false object
  (Cucchiara, Grana, Piccardi, Prati, "Detecting Moving Objects, Ghosts, and Shadows in Video
  Streams", PAMI 25(10), 2003). A subject that stands and then leaves makes such ones.

Measured on small frames of the whole video. See docs/decisions/021 for what clips of either kind
come to.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.pixels.guided_filter import box_mean
from pipeline.stages.matting.known_background import dilate, erode

_SIDE = 320  # frames are compared at this size
_DIFFERENT = 18 / 255  # mean difference of the channels that is no noise at that size
#: One of frame and plate has the edge if its gradient is so much larger, and by more than this.
_CLEARLY, _LEAST_EDGE = 1.5, 8 / 255
_ALMOST_HALF = 0.4  # of the frames
_FEW_SAMPLES = 5  # with fewer nothing can be said
_LEAST_PASSING = (
    0.03  # share of the picture where something moves: leaves in the wind are no subject
)
_MOST_UNSETTLED, _MOST_GHOSTS = 0.1, 0.4


@dataclass(frozen=True, slots=True)
class Traces:
    """What the subject leaves in the samples, as numbers of pixels.

    Attributes:
        pixels: of all frames.
        passing: of one frame: where something differs from the plate at least once.
        unsettled: of those, where it does in almost half of the frames.
        subject, ghosts: outlines of what differs that are edges of the frame, and of the plate.
    """

    pixels: int
    passing: float
    unsettled: float
    subject: float
    ghosts: float


def reason_against(samples: Tensor, plate: Tensor) -> str | None:
    """Why the median of the samples is not the empty scene, in words, or None if it is.

    Args:
        samples: uint8 ``[N, E, 3, H, W]``.
        plate: uint8 ``[E, 3, H, W]``.
    """
    count = len(samples)
    if count < _FEW_SAMPLES:
        return None
    found = traces(samples, plate)
    if found.passing * count < _LEAST_PASSING * found.pixels:
        return None
    unsettled = found.unsettled / found.passing
    if unsettled > _MOST_UNSETTLED:
        return f"{unsettled:.0%} of where something moves is hardly ever empty"
    ghosts = found.ghosts / max(1.0, found.subject + found.ghosts)
    if ghosts > _MOST_GHOSTS:
        return f"{ghosts:.0%} of the outlines are of what has left its place"
    return None


def traces(samples: Tensor, plate: Tensor) -> Traces:
    """Compare frames with their median."""
    count, eyes = samples.shape[:2]
    subject = ghosts = passing = unsettled = 0.0
    pixels = 0
    for eye in range(eyes):
        back = _small(plate[eye : eye + 1])
        back_edges = _gradient(back)
        times = torch.zeros_like(back[:, :1])
        for at in range(count):
            picture = _small(samples[at, eye : eye + 1])
            # The exposure may sway: the median difference of all pixels is that of the background.
            level = (picture - back).flatten(2).median(dim=2).values[..., None, None]
            distance = (picture - back - level).abs().mean(dim=1, keepdim=True)
            differs = (box_mean(distance, 1) > _DIFFERENT).float()
            differs = dilate(erode(differs, 1), 1)  # without specks and lines
            times += differs
            outline = (dilate(differs, 1) - erode(differs, 1)) > 0
            edges = _gradient(picture)
            subject += float((outline & _clearly(edges, back_edges)).sum())
            ghosts += float((outline & _clearly(back_edges, edges)).sum())
            pixels += distance.numel()
        passing += float((times > 0).sum())
        unsettled += float((times > _ALMOST_HALF * count).sum())
    return Traces(pixels, passing, unsettled, subject, ghosts)


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
