"""Where each pixel of a frame was in a frame before, by dense optical flow.

OpenCV's DIS flow (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016), on
grey pictures that are small on purpose: what is wanted is motion, not detail. A pixel counts as
followed where the way there and back ends where it began (Sundaram, Brox, Keutzer, "Dense Point
Trajectories by GPU-Accelerated Large Displacement Optical Flow", ECCV 2010).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

#: The larger side of the pictures in which motion is looked for, in pixels, at the most.
LARGEST = 1024

#: Of the squared lengths of both ways, and in squared pixels.
_OFF_SHARE, _OFF_PIXELS = 0.01, 0.5

#: Where so few pixels can be followed it is another scene.
_LEAST_FOLLOWED = 0.3

#: DIS needs some pixels to look at.
_LEAST_SIDE = 32


class Motion(NamedTuple):
    """Of one picture.

    Attributes:
        grid: ``[1, H, W, 2]``, where `torch.nn.functional.grid_sample` finds each pixel in the
            picture before.
        followed: ``[1, 1, H, W]``, 1 where it can be told, else 0.
    """

    grid: Tensor
    followed: Tensor


def grey(picture: Tensor, reduce: int = 1) -> NDArray[np.uint8]:
    """What motion is looked for in, of uint8 ``[3, H, W]``.

    Args:
        reduce: how much smaller the picture is taken to be; it becomes smaller still where it is
            larger than `LARGEST`.
    """
    height, width = picture.shape[1] // reduce, picture.shape[2] // reduce
    by = max(1.0, max(height, width) / LARGEST)
    size = max(_LEAST_SIDE, round(height / by)), max(_LEAST_SIDE, round(width / by))
    weights = torch.tensor([0.299, 0.587, 0.114], device=picture.device).view(1, 3, 1, 1)
    luma = (picture[None].float() * weights).sum(1, keepdim=True)
    if size != tuple(luma.shape[2:]):
        luma = F.interpolate(luma, size=size, mode="area")
    found: NDArray[np.uint8] = luma[0, 0].round_().clamp_(0, 255).to(torch.uint8).cpu().numpy()
    return found


class Follower:
    """Finds motion. Not thread-safe."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def motion(
        self,
        now: NDArray[np.uint8],
        before: NDArray[np.uint8],
        size: tuple[int, int],
        device: torch.device,
    ) -> Motion | None:
        """From a picture to one before, for pictures of a size; None: it is another scene.

        Args:
            now, before: of `grey`.
            size: height and width of the pictures that are to be moved.
        """
        back, forth = self.between(now, before), self.between(before, now)
        height, width = now.shape
        rows = torch.arange(height, dtype=torch.float32).view(1, height, 1)
        columns = torch.arange(width, dtype=torch.float32).view(1, 1, width)
        there = _grid(columns + back[:, 0], rows + back[:, 1])
        again = F.grid_sample(forth, there, padding_mode="border", align_corners=False)
        off = (back + again).square().sum(1, keepdim=True)
        length = (back.square() + again.square()).sum(1, keepdim=True)
        inside = (there.abs() <= 1).all(-1).unsqueeze(1)
        followed = ((off < _OFF_SHARE * length + _OFF_PIXELS) & inside).float()
        if float(followed.mean()) < _LEAST_FOLLOWED:
            return None
        if size != (height, width):
            share = F.interpolate(followed.to(device), size=size, mode="bilinear")
            moves = F.interpolate(back.to(device), size=size, mode="bilinear")
            moves *= torch.tensor([size[1] / width, size[0] / height], device=device).view(
                1, 2, 1, 1
            )
        else:
            share, moves = followed.to(device), back.to(device)
        rows = torch.arange(size[0], dtype=torch.float32, device=device).view(1, size[0], 1)
        columns = torch.arange(size[1], dtype=torch.float32, device=device).view(1, 1, size[1])
        return Motion(_grid(columns + moves[:, 0], rows + moves[:, 1]), share)

    def between(self, now: NDArray[np.uint8], before: NDArray[np.uint8]) -> Tensor:
        """``[1, 2, H, W]``, pixels to the right and down."""
        flow = self._flow.calc(now, before, None)
        return torch.from_numpy(np.ascontiguousarray(flow)).permute(2, 0, 1)[None]


def _grid(columns: Tensor, rows: Tensor) -> Tensor:
    """Places in pixels as `grid_sample` takes them (align_corners=False)."""
    height, width = columns.shape[-2:]
    across = (2 * columns + 1) / width - 1
    down = (2 * rows + 1) / height - 1
    shape = (*columns.shape[:-2], height, width)
    return torch.stack([across.expand(shape), down.expand(shape)], -1)
