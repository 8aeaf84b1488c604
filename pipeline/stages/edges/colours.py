"""The subject's colours at an edge that was changed: carried outwards, and without spill.

Pure tensors, any device. As in `shape.py`, a part of a picture with `margin` pixels around it, cut
at multiples of `CELL`, gives what the whole picture does.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.pixels.guided_filter import box_mean
from pipeline.stages.matting.known_background import erode, nearby_subject, project_alpha

#: Colours are carried on planes this much smaller (`known_background`).
CELL = 4


def margin(reach: int) -> int:
    """Pixels to either side on which a colour depends that is looked for so far, in whole cells."""
    return -(-reach // CELL) * CELL + 4 * CELL


def at_edge(
    picture: Tensor,
    foreground: Tensor,
    before: Tensor,
    after: Tensor,
    reach: int,
    rim: int,
    *,
    grown: bool,
    despill: float,
) -> Tensor:
    """The foreground to go with another alpha.

    Where alpha has become more, the model may have given the background's colour: the colour of the
    opaque subject nearby takes its place, by the share of alpha that is new. For `despill` a colour
    on the rim counts as a mix of two: that of the subject farther inside, and that of the
    background nearby, of which that much is taken out.

    Args:
        picture, foreground: float32 ``[1, 3, H, W]``, 0..1.
        before, after: the model's alpha and the corrected one, float32 ``[1, 1, H, W]``.
        reach: how far to look for opaque subject and for background, in pixels.
        rim: so many pixels inside of what is not opaque there may be light of the background.
        grown: whether `after` may be more than `before`.

    Returns:
        ``[1, 3, H, W]``, 0..1; where neither applies the foreground's, bit for bit.
    """
    if grown:
        subject, _ = _nearby(foreground, (before * 4 - 3).clamp_(min=0), reach)
        new = (after - before).mul_(2).div_(after.clamp(min=1e-6)).clamp_(0, 1)
        foreground = torch.lerp(foreground, subject, new)
    if despill:
        subject, support = _nearby(foreground, erode((before >= 1).float(), rim), reach)
        behind, there = _nearby(picture, (before <= 0).float(), reach)
        share, _ = project_alpha(foreground, subject, behind)
        near = (1 - box_mean(after, rim)).mul_(4).clamp_(0, 1)
        taken = share.mul_(near).mul_(support).mul_(there).mul_(despill)
        foreground = (foreground - taken * (behind - subject)).clamp_(0, 1)
    return foreground


def _nearby(picture: Tensor, sure: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """`nearby_subject` with whole cells up to the picture's end, wherever it was cut before."""
    height, width = sure.shape[2:]
    missing = (0, -width % CELL, 0, -height % CELL)
    if any(missing):
        picture, sure = F.pad(picture, missing, mode="replicate"), F.pad(sure, missing)
    found = nearby_subject(picture, sure, reach)
    return found[0][..., :height, :width], found[1][..., :height, :width]
