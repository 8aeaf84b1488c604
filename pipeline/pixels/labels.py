"""Tells the objects of a matte apart: labels, and the part of one object alone.

Pure tensors, any device. Knows nothing of models and files.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.pixels.batches import MatteBatch
from pipeline.pixels.layers import Layers

#: Alpha from which on a pixel is the subject's.
INSIDE = 0.5


def object_labels(matte: MatteBatch, t: int) -> Tensor:
    """Of frame `t` of a batch: uint8 ``[E, 1, H, W]``, 0 where nobody is, n where object n is.

    Where alpha is one half or more somebody is: the object that is surest there, of equal ones the
    first. The edge of all objects together is the matte's, between them it is the coarse one of
    `MatteBatch.objects`.
    """
    return _owners(matte, t) * (matte.alpha[t] >= INSIDE)


def layers_of_object(layers: Layers, number: int) -> Layers:
    """The same frames with the alpha of object `number` alone, as it is where that is the surest.

    So the parts of all objects add up to the matte, its soft edge among them. An object that the
    matte does not know of is nowhere.
    """
    matte = layers.matte
    alpha = torch.empty_like(matte.alpha)
    for t in range(len(layers)):
        torch.mul(matte.alpha[t], _owners(matte, t) == number, out=alpha[t])
    return replace(layers, alpha=alpha, objects=None)


def _owners(matte: MatteBatch, t: int) -> Tensor:
    """uint8 ``[E, 1, H, W]``: the number of the object that is surest at each pixel, from 1."""
    owners = torch.ones_like(matte.alpha[t], dtype=torch.uint8)
    if matte.objects is None:
        return owners
    for owner, planes in zip(owners, matte.objects[t], strict=True):
        surest: Tensor | None = None
        for number, plane in enumerate(planes, 1):  # one at a time: at 8K each is 67 MB
            sure = F.interpolate(plane[None, None].float(), size=owner.shape[1:], mode="bilinear")
            if surest is None:
                surest = sure[0]
                continue
            owner[sure[0] > surest] = number
            torch.maximum(surest, sure[0], out=surest)
    return owners
