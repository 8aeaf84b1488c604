"""Pictures made smaller: each pixel of the small one is the mean over a cell of the large one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def shrink(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Uint8 or floating ``[E, C, H, W]`` -> float32 ``[E, C, h, w]``, in the same range.

    Cells whose sides are no whole numbers of pixels overlap: a pixel counts in each that it is in.

    Args:
        size: h and w.
    """
    height, width = size
    if planes.device.type != "cpu" or planes.dtype == torch.float32:
        return F.interpolate(planes.float(), size=(height, width), mode="area")
    small = torch.empty(*planes.shape[:2], height, width)
    for picture, out in zip(planes, small, strict=True):
        for plane, target in zip(picture, out, strict=True):  # two eyes in floats: 400 MB at 8K
            shrunk = F.interpolate(plane[None, None].float(), size=(height, width), mode="area")
            target.copy_(shrunk[0, 0])
    return small
