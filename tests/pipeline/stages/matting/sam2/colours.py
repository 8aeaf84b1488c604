"""A predictor for tests that knows objects by their colour: it sees what it is shown, exactly.

Each object is found by a prompt of the same tracking, at the place that the prompt names. So a
prompt in a wrong place, a forgotten object and a wrong picture all show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.stages.matting.sam2.predictor import Frames, TrackedFrame

#: Of colours that are alike, in normalised values.
_ALIKE = 0.4


@dataclass
class Colours:
    """What is known in one tracking.

    Attributes:
        told: frame and object of each prompt.
    """

    images: Frames
    cells: int
    of: dict[int, Tensor] = field(default_factory=dict)
    told: list[tuple[int, int]] = field(default_factory=list)


class ColourPredictor:
    """See `pipeline.stages.matting.sam2.predictor.BoundedPredictor`.

    Attributes:
        begun: each tracking.
        tracked: how often a frame was tracked.
    """

    def __init__(self) -> None:
        self.begun: list[Colours] = []
        self.tracked = 0

    def start(self, images: Frames, height: int, width: int) -> Colours:
        assert height == width
        self.begun.append(Colours(images, height))
        return self.begun[-1]

    def add_points(
        self,
        tracking: Colours,
        frame: int,
        object_id: int,
        points: Sequence[tuple[float, float]],
        labels: Sequence[int],
        box: tuple[float, float, float, float] | None,
    ) -> None:
        picture = tracking.images[frame]
        places = [place for place, inside in zip(points, labels, strict=True) if inside]
        if box is not None:
            places.append(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
        scale = picture.shape[-1] / tracking.cells
        x, y = (int(value * scale) for value in places[-1])
        self._know(tracking, frame, object_id, picture[:, y, x])

    def add_mask(self, tracking: Colours, frame: int, object_id: int, mask: Tensor) -> None:
        picture = tracking.images[frame]
        where = F.interpolate(mask[None, None].float(), size=picture.shape[1:])[0, 0] > 0
        assert where.any(), "nothing is pointed out"
        self._know(tracking, frame, object_id, picture[:, where].median(dim=1).values)

    def propagate(self, tracking: Colours, first: int, count: int) -> Iterator[TrackedFrame]:
        assert count == 1
        self.tracked += 1
        picture = tracking.images[first]
        alike = [
            ((picture - colour[:, None, None]).abs().amax(dim=0) < _ALIKE).float()
            for colour in tracking.of.values()
        ]
        size = tracking.cells, tracking.cells
        logits = [(F.adaptive_avg_pool2d(each[None, None], size) - 0.5) * 20 for each in alike]
        yield TrackedFrame(first, tuple(tracking.of), torch.cat(logits))

    def _know(self, tracking: Colours, frame: int, object_id: int, colour: Tensor) -> None:
        tracking.of[object_id] = colour
        tracking.told.append((frame, object_id))
