"""Labels: the number of the object that each pixel of a matte belongs to.

Pure tensors, any device. Knows nothing of models and files.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.pixels.batches import MatteBatch

#: Alpha from which on a pixel is the subject's.
INSIDE = 0.5


def object_labels(matte: MatteBatch, t: int) -> Tensor:
    """Of frame `t` of a batch: uint8 ``[E, 1, H, W]``, 0 where nobody is, n where object n is.

    Where alpha is one half or more somebody is: the object that is surest there, of equal ones the
    first. The edge of all objects together is the matte's, between them it is the coarse one of
    `MatteBatch.objects`.
    """
    alpha = matte.alpha[t]
    labels = (alpha >= INSIDE).to(torch.uint8)
    if matte.objects is None:
        return labels
    for label, planes in zip(labels, matte.objects[t], strict=True):
        surest: Tensor | None = None
        for number, plane in enumerate(planes, 1):  # one at a time: at 8K each is 67 MB
            sure = F.interpolate(plane[None, None].float(), size=label.shape[1:], mode="bilinear")
            if surest is None:
                surest = sure[0]
                continue
            label[(sure[0] > surest) & (label > 0)] = number
            torch.maximum(surest, sure[0], out=surest)
    return labels
