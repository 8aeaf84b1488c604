"""`ShapeMeter`: measures what a matte as a whole looks like, for `pipeline/judge/doubt.py`.

Works on the few pixels that `MatteMeter` looks at. Counts stay on the device until they are asked
for; masks are looked at on the CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.contract import ProjectionName
from pipeline.judge.sums import Shape

#: Of 255, between the darkest and the brightest of 3 x 3 pixels: no more is no texture.
_PLAIN = 4
#: Alpha from which on something is there, and that from which on it is opaque.
_SOME, _OPAQUE = 0.1, 0.9
#: Of the longer side of an eye: gaps of up to twice this width are closed.
_CLOSE = 1 / 26
#: So many bytes of masks may wait on a device that is not the CPU.
_MOST_BYTES = 8_000_000


class ShapeMeter:
    """Of one segment; its frames pass by in order. Not thread-safe.

    Args:
        projection: of the eyes: straight up is the upper edge of an equirectangular one alone.
    """

    def __init__(self, projection: ProjectionName) -> None:
        self._up = projection.startswith("equirect")
        self._counts: list[Tensor] = []
        self._masks: list[Tensor] = []
        self._gaps: list[float] = []

    def add(self, rgb: Tensor, alpha: Tensor) -> None:
        """Take the counts of some frames. Waits for the device when many masks have come together.

        Args:
            rgb: int16 ``[T, E, 3, h, w]``, 0..255.
            alpha: ``[T, E, h, w]``, 0..1.
        """
        inside, some = alpha > 0.5, alpha > _SOME
        inner = inside[..., 1:-1, 1:-1]
        plain = inner & (_contrast(rgb.sum(dim=2, dtype=torch.int16)) <= 3 * _PLAIN)
        faint = some & (alpha < _OPAQUE)
        top = inside[..., 0, :]
        counts = [kind.flatten(1).sum(dim=1) for kind in (inner, plain, some, faint, top)]
        sizes = (alpha[0].numel(), top[0].numel())
        counts += [torch.full_like(counts[0], size) for size in sizes]
        self._counts.append(torch.stack(counts, dim=1))
        self._masks.append(inside.to(torch.uint8))
        if alpha.device.type == "cpu" or sum(m.numel() for m in self._masks) > _MOST_BYTES:
            self._look_at_masks()

    def shapes(self) -> list[Shape]:
        """Of all frames so far, in order. Waits for the device, once."""
        self._look_at_masks()
        counts = torch.cat(self._counts).tolist() if self._counts else []
        return [
            Shape(
                plain=_share(plain, inner),
                faint=_share(faint, some),
                opaque=_share(some - faint, pixels),
                gaps=gaps,
                top=_share(top, width),
                zenith=_share(top, width) if self._up else 0.0,
            )
            for (inner, plain, some, faint, top, pixels, width), gaps in zip(
                counts, self._gaps, strict=True
            )
        ]

    def _look_at_masks(self) -> None:
        if self._masks:
            self._gaps += [_gaps(eyes) for eyes in torch.cat(self._masks).cpu()]
            self._masks = []


def _gaps(eyes: Tensor) -> float:
    """How much of the matte is gaps once those between its parts are closed, 0..1.

    Args:
        eyes: uint8 ``[E, h, w]``, 0 or 1, on the CPU.
    """
    import cv2  # slow to load, and not before the first frames are done
    import numpy as np

    reach = max(1, round(_CLOSE * max(eyes.shape[1:])))
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    held = closed = 0
    for mask in eyes.numpy():
        # What lies beyond the border counts as background, so that nothing is closed towards it.
        sides = (reach + 1,) * 4
        padded = cv2.copyMakeBorder(mask, *sides, cv2.BORDER_CONSTANT, value=0)
        held += cv2.countNonZero(mask)
        closed += cv2.countNonZero(cv2.morphologyEx(padded, cv2.MORPH_CLOSE, window))
    return _share(closed - held, closed)


def _contrast(grey: Tensor) -> Tensor:
    """Largest less smallest of 3 x 3 pixels, for all but those at the border.

    By shifted views: a max pool looks for indices as well, and takes ten times as long.
    """
    if min(grey.shape[-2:]) < 3:  # a strip: nothing lies between its borders
        return grey[..., 1:-1, 1:-1]
    most = least = grey
    for dim in (-1, -2):
        length = grey.shape[dim] - 2
        views = [most.narrow(dim, step, length) for step in range(3)]
        most = torch.maximum(torch.maximum(views[0], views[1]), views[2])
        views = [least.narrow(dim, step, length) for step in range(3)]
        least = torch.minimum(torch.minimum(views[0], views[1]), views[2])
    return most - least


def _share(part: int, whole: int) -> float:
    return round(part / whole, 5) if whole else 0.0
