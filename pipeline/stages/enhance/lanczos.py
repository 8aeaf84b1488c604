"""`lanczos`: larger by Lanczos' windowed sinc of three lobes; no network, no weights."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LOBES = 3


class Lanczos(nn.Module):
    """``[N, C, H, W]`` -> ``[N, C, scale * H, scale * W]``; beyond the edge lies the edge."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale, self.radius = scale, _LOBES
        self._taps: Tensor
        self.register_buffer("_taps", _taps(scale), persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        return self._along(self._along(picture, -1), -2)

    def _along(self, picture: Tensor, axis: int) -> Tensor:
        count, channels, height, width = picture.shape
        planes = picture.reshape(count * channels, 1, height, width)
        across = axis == -1
        pad = (_LOBES, _LOBES, 0, 0) if across else (0, 0, _LOBES, _LOBES)
        taps = self._taps[:, None, None, :] if across else self._taps[:, None, :, None]
        phases = F.conv2d(F.pad(planes, pad, mode="replicate"), taps.to(picture.dtype))
        order = (0, 2, 3, 1) if across else (0, 2, 1, 3)
        size = (height, width * self.scale) if across else (height * self.scale, width)
        return phases.permute(*order).reshape(count, channels, *size)


def _taps(scale: int) -> Tensor:
    """``[scale, 7]``: weights of the pixels around for each place between two of them."""

    def weight(at: float) -> float:
        if at == 0:
            return 1.0
        if abs(at) >= _LOBES:
            return 0.0
        x = math.pi * at
        return _LOBES * math.sin(x) * math.sin(x / _LOBES) / (x * x)

    rows = []
    for phase in range(scale):
        offset = (phase + 0.5) / scale - 0.5
        row = [weight(k - offset) for k in range(-_LOBES, _LOBES + 1)]
        rows.append([each / sum(row) for each in row])
    return torch.tensor(rows)
