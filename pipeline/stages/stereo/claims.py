"""Judges which of two eyes is right about a region that only one of them holds.

Pure tensors of one frame at the size of the disparity field, any device. Three witnesses, added up
as logarithms of likelihood ratios; what none of them decides stays as it is:

- **parallax**: a part of the subject matches the other eye's picture as near as the subject is, a
  ghost (background that was taken for subject) as far as the background is;
- **colour**: a ghost often looks like the background right beside it and unlike the subject;
- **time**: what both eyes held a moment ago is still there, what neither held was not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.pixels.guided_filter import box_mean
from pipeline.stages.stereo.disparity import Search, best_disparity, cell_cost, cell_mean, dilate

_REGION = 4  # radius of the windows in which a region is matched
_COHERENT = 6  # radius over which a region decides as one
_MARGIN = 2  # pixels around both mattes that are not surely background

#: Costs and colour differences that noise explains. Tuned on the demo's rooms.
_COST_NOISE, _COLOUR_NOISE = 0.08, 0.03
#: How much farther than the subject the background must be for parallax to tell: pixels from which
#: it begins to count, and to count in full.
_GAP_FROM, _GAP_FULL = 0.5, 1.5
_COLOUR_WEIGHT = 0.4
#: Unlike the background and like the subject are many things: that alone proves no subject.
_MOST_COLOUR = 0.5
#: Of having been held by both a moment ago, and by neither: limbs move, so the latter says little.
_LASTING_WEIGHT, _NEW_WEIGHT = 0.7, 0.15
#: Added to the cost of the largest disparity, and less to all others: a background without texture
#: counts as far.
_FAR_PRIOR = 0.15


@dataclass(frozen=True, slots=True)
class View:
    """One eye at the size of the field.

    Attributes:
        picture: float32 ``[3, h, w]``, 0..1.
        own: its alpha, ``[1, h, w]``.
        carried: the other eye's alpha as this one would see it.
        claimed: what only this eye holds, 0..1.
        recent: how lately its matte had subject there, 1 (just now) to 0.
        carried_recent: the other's, as this one would see it.
        colour_cost: of matching, ``[D, h, w]``, by the pixels of this eye.
    """

    picture: Tensor
    own: Tensor
    carried: Tensor
    claimed: Tensor
    recent: Tensor
    carried_recent: Tensor
    colour_cost: Tensor


def truth_of_claims(view: View, subject: Tensor, search: Search) -> Tensor:
    """How much speaks for what only this eye holds: above 0 it is subject, below a ghost.

    Args:
        subject: disparity of what both eyes hold, a number, in pixels of the field.

    Returns:
        ``[1, h, w]``, the same throughout a small region; 0 where nothing is known.
    """
    background = 1 - dilate(torch.maximum(view.own, view.carried), _MARGIN)
    score = _parallax(view, background, subject, search)
    score = score + _COLOUR_WEIGHT * _colour(view, background).clamp(max=_MOST_COLOUR)
    past = view.recent + view.carried_recent - 1
    score = score + _LASTING_WEIGHT * past.clamp(min=0) + _NEW_WEIGHT * past.clamp(max=0)
    for _ in range(2):
        score = _within(score, view.claimed, _COHERENT)
    return score


def _parallax(view: View, background: Tensor, subject: Tensor, search: Search) -> Tensor:
    """Log ratio of the costs of matching at the background's distance and at the subject's."""
    disparities = torch.arange(search.count, device=subject.device) + search.least
    slope = torch.linspace(0, _FAR_PRIOR, search.count, device=subject.device)[:, None, None]
    behind_cost = cell_cost(view.colour_cost * background, background.expand_as(view.colour_cost))
    behind = best_disparity(behind_cost + slope, search)
    height, width = view.own.shape[-2:]
    behind = F.interpolate(behind[None, None], size=(height, width), mode="bilinear")[0]
    trust = ((subject - behind - _GAP_FROM) / (_GAP_FULL - _GAP_FROM)).clamp(0, 1)

    cost = _within(view.colour_cost, view.claimed, _REGION)
    near = disparities[:, None, None] >= (subject + behind) / 2
    near_cost = cost.masked_fill(~near, torch.inf).amin(dim=0, keepdim=True).clamp(max=1)
    far_cost = cost.masked_fill(near, torch.inf).amin(dim=0, keepdim=True).clamp(max=1)
    return trust * ((far_cost + _COST_NOISE) / (near_cost + _COST_NOISE)).log()


def _colour(view: View, background: Tensor) -> Tensor:
    """Log ratio of how unlike the background and the subject nearby the picture is."""
    agreed = torch.minimum(view.own, view.carried)
    unlike = []
    support = torch.ones_like(view.own[:, :1, :1])
    for weight in (background, agreed):
        mean = cell_mean(view.picture * weight, weight, view.picture)
        unlike.append((view.picture - mean).abs().mean(dim=0, keepdim=True) + _COLOUR_NOISE)
        support = support * (weight.mean(dim=(1, 2), keepdim=True) * 100).clamp(max=1)
    return support * (unlike[0] / unlike[1]).log()


def _within(planes: Tensor, weight: Tensor, radius: int) -> Tensor:
    """Weighted means around each pixel; towards 0 where there is no weight."""
    return box_mean(planes * weight, radius) / (box_mean(weight, radius) + 1e-4)
