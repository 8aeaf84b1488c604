"""`MatteMeter`: measures a few numbers of each frame's matte, on the device.

Only every so many-th pixel is looked at, 128 to 255 along the longer side of an eye (fewer of a
smaller one), and the numbers come to the host at the segment's end. What they mean is
`pipeline/judge/flags.py`'s. Whether the matte is of use at all is measured by
`pipeline/judge/shape.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pipeline.contract import ProjectionName
from pipeline.judge.findings import Side
from pipeline.judge.flags import LEAST_AREA, FrameMeasures
from pipeline.judge.shape import ShapeMeter
from pipeline.judge.sums import Shape
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.stereo.disparity import dilate

#: Pixels looked at along the longer side of an eye, at the least.
_SIDE = 128

#: Of 255, in any channel: what noise and a codec do to a picture that stays as it is.
_STILL = 12
#: What changed is looked at with so many pixels around it: an edge that moves takes along alpha
#: where both its sides look alike.
_AROUND = 2
#: Alpha that comes or goes by less is not seen.
_UNSEEN = 0.1

#: An eye with a shorter side is no footage: of its matte as a whole nothing is said.
LEAST_EYE = 128

#: Of half the picture: where a fisheye's circle is taken to end.
_CIRCLE = 0.96


class MatteMeter:
    """Of one segment; its frames, those of the warm-up first, pass by in order. Not thread-safe.

    Args:
        height, width: of an eye, in pixels.

    Attributes:
        shapes: measures the mattes as a whole; None where the picture is too small for that.
    """

    def __init__(self, height: int, width: int, projection: ProjectionName) -> None:
        self._step = max(1, max(height, width) // _SIDE)
        self._first = self._step // 2
        size = [len(range(self._first, side, self._step)) for side in (height, width)]
        sides = cut_sides(size[0], size[1], projection)
        self._names = tuple(sides)
        self._sides = [torch.tensor(places) for places in sides.values()]
        self.shapes = ShapeMeter(projection) if min(height, width) >= LEAST_EYE else None
        self._before: tuple[Tensor, Tensor] | None = None
        self._numbers: list[int] = []
        self._measured: list[Tensor] = []

    def add(self, eyes: EyeBatch, matte: MatteBatch) -> None:
        """Take the numbers of some frames; nobody waits.

        Args:
            eyes: the pictures that `matte` was made of.
        """
        pick = slice(self._first, None, self._step)
        alpha = torch.nan_to_num(matte.alpha[:, :, 0, pick, pick].float())
        rgb = eyes.rgb[..., pick, pick].to(torch.int16)
        if self.shapes is not None:
            self.shapes.add(rgb, alpha)
        if self._before is None:
            self._before = alpha[:1], rgb[:1]
        # [T + 1, E, h, w] and [T + 1, E, 3, h, w]: each frame has the one before it.
        alphas, pictures = torch.cat([self._before[0], alpha]), torch.cat([self._before[1], rgb])
        self._before = alphas[-1:], pictures[-1:]
        areas = alphas.mean(dim=(2, 3))
        area = areas[1:]
        change = (pictures[1:] - pictures[:-1]).abs_().amax(dim=2)
        moved = (change > _STILL).float()
        coming = (alphas[1:] - alphas[:-1]).abs_()
        coming = coming * ((coming > _UNSEEN) & (dilate(moved, _AROUND) == 0))
        edge, side = self._edge(alpha)
        subject = torch.maximum(area, areas[:-1]).clamp(min=LEAST_AREA)
        self._measured.append(
            torch.stack(
                [
                    area,
                    coming.mean(dim=(2, 3)) / subject,
                    edge,
                    moved.mean(dim=(2, 3)),
                    side,
                ],
                dim=-1,
            )
        )
        self._numbers.extend(range(matte.start, matte.stop))

    def _edge(self, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Share of the side at which most is cut off, and its number: both float ``[T, E]``."""
        held = (alpha > 0.5).flatten(2)
        self._sides = [side.to(held.device) for side in self._sides]
        shares = [held[..., side].float().mean(dim=-1) for side in self._sides]
        if not shares:
            none = held.new_zeros(held.shape[:2]).float()
            return none, none
        most, side = torch.stack(shares).max(dim=0)
        return most, side.float()

    def measures(
        self, disagreement: Mapping[int, float] | None, first: int = 0, stop: int | None = None
    ) -> list[FrameMeasures]:
        """What was measured of the frames ``first..stop``. Waits for the device, once.

        Args:
            disagreement: of the eyes, by frame; None where they were not compared.
            stop: None: to the last frame.
        """
        rows = torch.cat(self._measured).tolist()
        shapes = [None] * len(rows) if self.shapes is None else self.shapes.shapes()
        return [
            _frame(
                number,
                row,
                self._names,
                None if disagreement is None else disagreement[number],
                shape,
            )
            for number, row, shape in zip(self._numbers, rows, shapes, strict=True)
            if number >= first and (stop is None or number < stop)
        ]


def _frame(
    number: int,
    eyes: list[list[float]],
    names: Sequence[Side],
    disagreement: float | None,
    shape: Shape | None,
) -> FrameMeasures:
    """Rounded: the numbers are written down, and must be the same when they are read again."""
    area, restless, edge, moved = (
        tuple(round(eye[place], 5) for eye in eyes) for place in range(4)
    )
    if disagreement is None:
        disagreement = 1 - min(area) / max(area) if max(area) >= LEAST_AREA else 0.0
    sides = tuple(names[int(eye[4])] if names and eye[2] > 0 else None for eye in eyes)
    disagreement = round(disagreement, 4)
    return FrameMeasures(number, area, restless, edge, min(moved), disagreement, sides, shape)


def cut_sides(height: int, width: int, projection: ProjectionName) -> dict[Side, list[int]]:
    """Pixels, counted by rows, along each side of a picture at which its subject would be cut off.

    In a flat picture people are cut off by its lower side all the time, and nobody minds. What an
    equirectangular one has there, and at the top, is one place, straight down or up, not a side; of
    360 degrees it has no sides at all. A fisheye ends at its circle: its left, right and upper
    quarters count.
    """
    if projection == "equirect360":
        return {}
    if projection.startswith("fisheye"):
        turns: dict[Side, int] = {"left": -90, "top": 0, "right": 90}
        return {side: _arc(height, width, turn) for side, turn in turns.items()}
    sides: dict[Side, list[int]] = {
        "left": [row * width for row in range(height)],
        "right": [row * width + width - 1 for row in range(height)],
    }
    return sides if projection == "equirect180" else {**sides, "top": list(range(width))}


def _arc(height: int, width: int, turn: int) -> list[int]:
    """A quarter of the circle, its middle so many degrees to the right of straight up."""
    places = []
    for degrees in range(turn - 45, turn + 45):
        angle = math.radians(degrees)
        x = width / 2 * (1 + _CIRCLE * math.sin(angle))
        y = height / 2 * (1 - _CIRCLE * math.cos(angle))
        places.append(min(height - 1, int(y)) * width + min(width - 1, int(x)))
    return places
