"""`OfObject`: a format's file that shows one object of the subject alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from pipeline.deliverables.base import Deliverable, Joined
from pipeline.deliverables.cut import Run
from pipeline.deliverables.format import of_object
from pipeline.encode.ffmpeg_pipe import Encoder
from pipeline.pixels.labels import layers_of_object
from pipeline.pixels.layers import Layers
from pipeline.verify.selfcheck import Sample


class OfObject:
    """See `pipeline.deliverables.base.Deliverable`.

    Args:
        whole: the same format of the whole matte.
        number: of the object, from 1.
    """

    def __init__(self, whole: Deliverable, number: int) -> None:
        self._whole = whole
        self._number = number

    @property
    def name(self) -> str:
        return of_object(self._whole.name, self._number)

    @property
    def suffix(self) -> str:
        return self._whole.suffix

    @property
    def stays_on_device(self) -> bool:
        """Whether its encoder takes planes where they are."""
        return bool(getattr(self._whole, "stays_on_device", False))

    def planes(self, layers: Layers) -> Tensor:
        return self._whole.planes(layers_of_object(layers, self._number))

    def open_segment(self, path: Path) -> Encoder:
        return self._whole.open_segment(path)

    def check_segment(self, path: Path, num_frames: int, samples: Sequence[Sample]) -> None:
        """`samples` are of the object's own layers."""
        self._whole.check_segment(path, num_frames, samples)

    def join(self, segments: Sequence[Path], frames: Sequence[int], target: Path) -> Joined | None:
        return self._whole.join(segments, frames, target)

    def cut(self, path: Path, runs: Sequence[Run], like: Path) -> str | None:
        return self._whole.cut(path, runs, like)

    def overhead_bytes(self, num_frames: int) -> int:
        return self._whole.overhead_bytes(num_frames)

    def verify(self, path: Path, num_frames: int) -> str | None:
        return self._whole.verify(path, num_frames)
