"""The last touches of an enlarged picture: sharper edges and film grain, where they are asked for.

Grain is the same in both eyes, and the same whenever a frame is made: its seed is the frame's
number. Different grain in each eye would flicker between them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import EnhanceSettings
from pipeline.pixels.fine import split_levels, with_fine

#: Of the blur whose difference to the picture is added: 5 pixels wide.
_KERNEL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)

#: At a setting of 1: what of that difference is added, and the grain's deviation in 255ths.
_MOST_SHARPENED, _MOST_GRAIN = 1.5, 8.0

#: Side of the piece of grain that is laid out over a picture, from another place in each frame.
_GRAIN_SIDE = 512


def finished(rgb: Tensor, fine: Tensor | None, enhance: EnhanceSettings, frame: int) -> None:
    """Change a frame in its place.

    Args:
        rgb: uint8 ``[E, 3, H, W]``.
        fine: int8 of its shape, what it leaves out, or None.
        frame: its number.
    """
    if enhance.sharpen == 0 and enhance.grain == 0:
        return
    height, width = rgb.shape[2:]
    grain = None
    if enhance.grain > 0:
        grain = _grain(frame, height, width).to(rgb.device) * (_MOST_GRAIN / 255 * enhance.grain)
    for eye in range(len(rgb)):
        own = None if fine is None else fine[eye]
        unit = with_fine(rgb[eye].float().div_(255), own)
        if enhance.sharpen > 0:
            unit = unit + (unit - _blurred(unit)) * (_MOST_SHARPENED * enhance.sharpen)
        if grain is not None:
            light = unit.mean(0, keepdim=True).clamp(0, 1)
            unit = unit + grain * (4 * light * (1 - light))  # none in black and white
        split_levels(unit.clamp_(0, 1).mul_(255).add_(0.5), rgb[eye], own)


def _blurred(picture: Tensor) -> Tensor:
    taps = torch.tensor(_KERNEL, device=picture.device)
    planes = F.pad(picture[:, None], (2, 2, 2, 2), mode="replicate")
    planes = F.conv2d(planes, taps.view(1, 1, 1, 5))
    return F.conv2d(planes, taps.view(1, 1, 5, 1))[:, 0]


def _grain(frame: int, height: int, width: int) -> Tensor:
    """float32 ``[1, height, width]`` of deviation 1, by the CPU wherever it is used."""
    seeded = torch.Generator().manual_seed(frame)
    piece = torch.randn(1, _GRAIN_SIDE, _GRAIN_SIDE, generator=seeded)
    down, across = -(-height // _GRAIN_SIDE), -(-width // _GRAIN_SIDE)
    return piece.repeat(1, down, across)[:, :height, :width]
