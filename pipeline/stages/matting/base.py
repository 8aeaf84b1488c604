"""The interface of matting models, and loading one by its name.

A model is loaded once per worker; everything it remembers between frames lives in a state that is
made anew for each segment. Lanes call `matte` of one model from several threads, each with a state
of its own, so a model must not change itself after it is made.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.base import ClipSampler as ClipSampler
from pipeline.stages.base import Prepared as Prepared
from pipeline.stages.matting.catalogue import facts_of, function_of


class MattingModel(Protocol):
    """The stage `matting` wraps it: one instance a worker, one state a segment."""

    name: ClassVar[str]
    warmup_frames: int

    def prepare(self, clip: ClipSampler) -> Prepared:
        """Look at the whole video once, before its first segment. Must be deterministic."""
        ...

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> Any:
        """A fresh state for one segment of eyes of this size."""
        ...

    def matte(self, eyes: EyeBatch, state: Any) -> MatteBatch:
        """Matte consecutive frames; changes `state`."""
        ...


class BoxModel(MattingModel, Protocol):
    """A model that can be given parts of an eye, and says roughly where it would see something."""

    def whole_ratio(self, height: int, width: int) -> float:
        """The network's input as a share of a whole eye."""
        ...

    def start_looking(self, eyes: int, height: int, width: int) -> Any:
        """What `look` needs for eyes of this size."""
        ...

    def look(self, picture: Tensor, looking: Any) -> Tensor:
        """Alpha ``[E, h, w]`` of any size, of the eyes ``[E, 3, H, W]`` uint8, seen for once."""
        ...

    def start_box(self, eyes: int, height: int, width: int, ratio: float) -> Any:
        """A fresh state for boxes of this size, which the network sees at `ratio` of it."""
        ...

    def memory(self, state: Any) -> tuple[Tensor, ...]:
        """What it remembers of the frames before (`regions.memory.Memory`), not a copy."""
        ...

    def remember(self, state: Any, memory: tuple[Tensor, ...]) -> None:
        """Take over what was remembered, of the sizes that this state has."""
        ...


def load_model(
    matting: MattingSettings, processing: ProcessingSettings, device: torch.device
) -> MattingModel:
    """Load `matting.model` onto `device`.

    Raises:
        SettingsError: there is no model of that name, or one of its options is wrong.
        MachineError: its weights or its device are not to be had.
    """
    row = facts_of(matting)
    return function_of(row, row.load)(matting, processing, device)
