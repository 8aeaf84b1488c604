"""Finds the edge of a subject where the background behind it is known.

Shared by the models that know it (a screen, a plate). The compositing equation is
``C = alpha F + (1 - alpha) B`` (Porter and Duff 1984; Smith and Blinn, "Blue Screen Matting", 1996)
with C the picture and B the background. F is taken from the nearest pixels that are surely subject.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.pixels.guided_filter import box_mean

#: Colours are carried outwards on planes this much smaller.
_SHRINK = 4

#: An alpha below the first says nothing about F; above the second, F is what C says.
_DOUBT, _TRUST = 0.05, 0.5


def dilate(mask: Tensor, radius: int) -> Tensor:
    """Largest value in the square window around each pixel, cut off at the border.

    Maxima of 2, 4, ... neighbours are built from each other: a max pool costs as many comparisons
    as its window is wide.

    Args:
        mask: floating ``[N, 1, H, W]``.
        radius: at least 0; the window is ``2 * radius + 1`` wide.
    """
    return _largest_along(_largest_along(mask, radius, -1), radius, -2)


def erode(mask: Tensor, radius: int) -> Tensor:
    """Smallest value in the square window; what lies outside the picture does not count."""
    return dilate(mask.neg(), radius).neg_()


def window_of(mask: Tensor, margin: int) -> tuple[slice, slice]:
    """Rows and columns that hold all of `mask` above 0, and `margin` pixels around it.

    Most of a picture is background: what comes after is only computed in this window.

    Args:
        mask: floating ``[N, 1, H, W]``.
    """
    slices = []
    for dim in (3, 2):  # what is left are the rows, then the columns
        lines = (mask.amax(dim=dim) > 0).any(dim=1).any(dim=0).nonzero().flatten()
        first, last = (int(lines[0]), int(lines[-1])) if len(lines) else (0, -1)
        slices.append(slice(max(0, first - margin), last + 1 + margin if len(lines) else 0))
    return slices[0], slices[1]


def spread(colour: Tensor, weight: Tensor, radii: tuple[int, ...], otherwise: Tensor) -> Tensor:
    """Fill the places without weight from those around that have some, nearest first.

    Args:
        colour: floating ``[N, C, H, W]``.
        weight: floating ``[N, 1, H, W]``, 0..1.
        radii: half widths of the windows, ascending, each tried where the one before found little.
        otherwise: broadcastable to `colour`: taken where none found any.

    Returns:
        ``[N, C, H, W]``: weighted means of `colour`.
    """
    weighted = colour * weight
    filled = otherwise.expand_as(colour)
    for radius in reversed(radii):
        support = box_mean(weight, radius)
        mean = box_mean(weighted, radius) / support.clamp(min=1e-6)
        # Full belief from a fiftieth of the window on, so that nothing jumps.
        filled = torch.lerp(filled, mean, (support * 50).clamp_(max=1))
    return filled


def nearby_subject(picture: Tensor, sure: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Colour of the surest subject nearby, and how much there is of it.

    Args:
        picture: floating ``[N, 3, H, W]``, 0..1.
        sure: floating ``[N, 1, H, W]``, 1 where the picture shows the subject alone.
        radius: how far to look, in pixels.

    Returns:
        Colour ``[N, 3, H, W]`` 0..1 (the picture's own where nothing is near), and support
        ``[N, 1, H, W]`` 0..1, 0 where nothing sure is within about `radius`.
    """
    height, width = picture.shape[2:]
    size = (-(-height // _SHRINK), -(-width // _SHRINK))
    weight = F.interpolate(sure, size=size, mode="area")
    weighted = F.interpolate(picture * sure, size=size, mode="area") / weight.clamp(min=1e-6)
    reach = max(1, round(radius / _SHRINK))
    plain = F.interpolate(picture, size=size, mode="area")
    colour = spread(weighted, weight, (max(1, reach // 3), reach), plain)
    support = (box_mean(weight, reach) * 50).clamp_(max=1)
    return _enlarge(colour, height, width), _enlarge(support, height, width)


def project_alpha(picture: Tensor, background: Tensor, subject: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha at which the mix of `background` and `subject` comes nearest to `picture`.

    Args:
        picture, background, subject: floating ``[N, 3, H, W]``, 0..1.

    Returns:
        Alpha ``[N, 1, H, W]`` 0..1, and the squared contrast ``|F - B|^2`` of the same shape, on
        which the noise of alpha depends.
    """
    line = subject - background
    contrast = (line * line).sum(dim=1, keepdim=True)
    along = ((picture - background) * line).sum(dim=1, keepdim=True)
    return (along / contrast.clamp(min=1e-6)).clamp_(0, 1), contrast


def unmix(picture: Tensor, alpha: Tensor, background: Tensor, radius: int) -> Tensor:
    """The subject's own colours: those of `picture` without what shines through of `background`.

    Where alpha is small the division is mostly noise, so the colour of the opaque subject nearby
    is taken instead, more and more; it also continues outside the edge, so that an encoder which
    halves the colour planes does not mix the background in again. Where alpha is 1 the picture is
    returned bit for bit.

    Args:
        picture, background: floating ``[N, 3, H, W]``, 0..1.
        alpha: floating ``[N, 1, H, W]``, 0..1.
        radius: how far to look for opaque subject, in pixels.

    Returns:
        ``[N, 3, H, W]``, 0..1.
    """
    nearby, _ = nearby_subject(picture, (alpha * 4 - 3).clamp_(min=0), radius)
    own = (picture - (1 - alpha) * background) / alpha.clamp(min=_DOUBT)
    trust = ((alpha - _DOUBT) / (_TRUST - _DOUBT)).clamp_(0, 1)
    return torch.lerp(nearby, own.clamp_(0, 1), trust)


def _largest_along(mask: Tensor, radius: int, axis: int) -> Tensor:
    padding = (radius, radius) if axis == -1 else (0, 0, radius, radius)
    run = F.pad(mask, padding, value=-torch.inf)  # run[i] = largest of `size` from i on
    window, size = 2 * radius + 1, 1
    while size < window:
        step = min(size, window - size)  # windows may overlap: a maximum counts nothing twice
        length = run.shape[axis] - step
        run = torch.maximum(run.narrow(axis, 0, length), run.narrow(axis, step, length))
        size += step
    return run


def _enlarge(planes: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(planes, size=(height, width), mode="bilinear", align_corners=False)
