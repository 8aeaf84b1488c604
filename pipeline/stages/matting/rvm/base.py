"""What all ways of running RVM share: at which sizes it sees eyes, boxes and looks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from pipeline.stages.matting.base import ClipSampler, Prepared
from pipeline.stages.matting.rvm.sizes import look_ratio, whole_ratio


class RvmBase(ABC):
    """See `pipeline.stages.matting.base.BoxModel`.

    Args:
        ratio: network size as a share of a whole eye; None chooses it by the eye's size.
    """

    name: ClassVar[str] = "rvm"
    warmup_frames = 24

    def __init__(self, ratio: float | None) -> None:
        self._ratio = ratio

    @abstractmethod
    def begin(self, eyes: int, height: int, width: int, ratio: float, refine: bool) -> Any:
        """A fresh state for pictures of this size, which the network sees at `ratio` of it.

        Args:
            refine: whether what the network makes is to be fitted to the picture.
        """

    def prepare(self, clip: ClipSampler) -> Prepared:
        return {}

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> Any:
        return self.start_box(eyes, height, width, self.whole_ratio(height, width))

    def whole_ratio(self, height: int, width: int) -> float:
        return whole_ratio(self._ratio, height, width)

    def start_box(self, eyes: int, height: int, width: int, ratio: float) -> Any:
        return self.begin(eyes, height, width, ratio, ratio != 1)

    def start_looking(self, eyes: int, height: int, width: int) -> Any:
        return self.begin(eyes, height, width, look_ratio(height, width), False)
