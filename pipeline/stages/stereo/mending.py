"""Mends one eye's matte from the other's where they disagree.

Pure tensors of one frame, any device. Regions are found on small mattes; only `mend` works at full
size, and only it changes anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.stages.stereo.disparity import carry, dilate, enlarge_field, erode, seen_by_other

#: In pixels of the compared mattes: how far apart edges may be, how thick a disagreement must be,
#: and how far beyond it mending reaches, to take in its edge.
_EDGE, _THICK, _REACH = 2, 1, 3
#: Alphas that differ by less than the first are alike; by the sum of both, altogether unlike.
_ALIKE, _RAMP = 0.2, 0.6
#: Scores from which on a claim is believed (or not) at all, and altogether.
_DOUBT, _SURE = 0.25, 0.5

_NOTHING = slice(0, 0)


def claims(own: Tensor, carried: Tensor, disparity: Tensor, eye: int) -> Tensor:
    """What this eye holds and the other does not, farther from its edges than they are sure.

    Args:
        own: alpha ``[1, H, W]``.
        carried: the other's alpha as this eye would see it, of the same shape.
        disparity: ``[H, W]``; what lies beyond the other's border is no claim.

    Returns:
        ``[1, H, W]``, 0..1.
    """
    only = ((own - dilate(carried, _EDGE) - _ALIKE) / _RAMP).clamp(0, 1)
    only = only * seen_by_other(disparity, eye)
    return torch.minimum(only, dilate(erode(only, _THICK), _THICK))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of the claims of one eye: weights ``[1, H, W]``, 0..1, with soft borders.

    Attributes:
        true: is subject, and the other eye lacks it.
        ghost: is none, and this eye should not hold it.
    """

    true: Tensor
    ghost: Tensor

    @classmethod
    def of(cls, claimed: Tensor, score: Tensor) -> Verdict:
        """By a score ``[1, h, w]`` at half the size or at 1 x 1: above 0 true, below a ghost."""
        core = (claimed > 0.5).float()
        region = F.avg_pool2d(dilate(core, _EDGE + _REACH), 3, stride=1, padding=1)
        height, width = claimed.shape[-2:]
        small = F.avg_pool2d(core, 2).ceil()
        weights = []
        for judged in (score * small, -score * small):
            # A claim's score counts as far as its region reaches.
            spread = dilate(judged, (_EDGE + _REACH + 2) // 2)
            sure = ((spread - _DOUBT) / (_SURE - _DOUBT)).clamp(0, 1)
            fine = F.interpolate(sure[None], size=(height, width), mode="bilinear")[0]
            weights.append(region * fine)
        return cls(*weights)


@dataclass(frozen=True, slots=True)
class Mended:
    """A part of one eye of one frame, at full size; the rest stays as it is.

    Attributes:
        part: rows and columns.
        alpha: ``[1, h, w]``.
        foreground: ``[3, h, w]`` or None.
    """

    part: tuple[slice, slice]
    alpha: Tensor
    foreground: Tensor | None


def mend(
    eye: int,
    verdicts: list[Verdict],
    field: Tensor,
    rgb: Tensor,
    alpha: Tensor,
    foreground: Tensor | None,
) -> Mended:
    """What one eye's matte becomes by what was found of both.

    Only ever adds what the other eye holds and takes away what it does not: an edge on which both
    agree stays where it is, also inside a region. What is added has the colours of the eye's own
    picture, and towards its edge, where the background shines through, those of the other eye's
    foreground.

    Args:
        eye: which one is mended.
        verdicts: of both eyes.
        field: disparities ``[h, w]`` at the pixels of this eye, in pixels of the field.
        rgb: the picture of this eye, ``[3, H, W]``, 0..255.
        alpha: of both eyes, floating ``[2, 1, H, W]``.
        foreground: of both eyes, floating ``[2, 3, H, W]``, or None.
    """
    height, width = alpha.shape[-2:]
    true, ghost = verdicts[1 - eye].true, verdicts[eye].ghost
    added = carry(true, enlarge_field(field, true.shape[-2:]), eye)
    add, remove = (
        F.interpolate(weight[None], size=(height, width), mode="bilinear")[0]
        for weight in (added, ghost)
    )
    part = _bounds(torch.maximum(add, remove)[0])
    if part[0] == _NOTHING:  # what is to be added lies beyond the border
        return Mended(part, alpha[eye, :, *part], None)
    at = part[0].start, part[1].start
    add, remove = add[:, *part], remove[:, *part]
    disparity = enlarge_field(field, (height, width))[part]
    other, own = carry(alpha[1 - eye].float(), disparity, eye, at), alpha[eye, :, *part].float()
    mended = torch.minimum(torch.maximum(own, add * other), 1 - remove * (1 - other))
    if foreground is None:
        return Mended(part, mended.to(alpha.dtype), None)
    colours = carry(foreground[1 - eye].float(), disparity, eye, at)
    inside = (mended * 2 - 1).clamp(min=0)
    colours = torch.lerp(colours, rgb[:, *part].float() / 255, inside)
    gained = (mended - own).clamp(min=0) / mended.clamp(min=1e-3)
    colours = torch.lerp(foreground[eye, :, *part].float(), colours, gained)
    return Mended(part, mended.to(alpha.dtype), colours.to(foreground.dtype))


def _bounds(weight: Tensor) -> tuple[slice, slice]:
    """Rows and columns of ``[H, W]`` that hold everything above 0."""
    sides = []
    for dim in (1, 0):
        used = (weight.amax(dim) > 0).nonzero()
        sides.append(slice(int(used[0]), int(used[-1]) + 1) if len(used) else _NOTHING)
    return sides[0], sides[1]
