"""Two stages of another package: one holds frames back, one doubles the size of the picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from pipeline.contract import EyeShape, Finding, VideoSettings
from pipeline.pixels.layers import Layers
from pipeline.stages.base import Prepared, Stage
from pipeline.stages.catalogue import StageRow

#: Frames on each side that a frame of `Lagging` depends on.
BEFORE, AFTER = 3, 2


@dataclass(slots=True)
class _Held:
    """The frames that are still needed, and how many of the last of them have not come out."""

    layers: list[Layers] = field(default_factory=list)
    waiting: int = 0


class Lagging(Stage):
    """Each picture becomes the brightest of itself, three frames before it and two after it.

    Where the video begins or ends there are fewer.
    """

    name: ClassVar[str] = "lagging"
    warmup_frames = BEFORE
    lookahead_frames = AFTER

    def start(self, eye: EyeShape, prepared: Prepared) -> _Held:
        return _Held()

    def run(self, layers: Layers, state: _Held) -> Layers | None:
        frames = [layers.part(at, at + 1) for at in range(layers.start, layers.stop)]
        state.layers += [frame for frame in frames if frame is not None]
        state.waiting += len(layers)
        return self._give(state, state.waiting - AFTER)

    def flush(self, state: _Held) -> Layers | None:
        return self._give(state, state.waiting)

    def _give(self, state: _Held, count: int) -> Layers | None:
        if count <= 0:
            return None
        frames = state.layers
        first = len(frames) - state.waiting
        rgb = []
        for at in range(first, first + count):
            around = frames[max(0, at - BEFORE) : at + AFTER + 1]
            rgb.append(torch.stack([frame.rgb[0] for frame in around]).amax(dim=0))
        given = frames[first : first + count]
        state.waiting -= count
        del frames[: max(0, len(frames) - state.waiting - BEFORE)]
        return Layers(given[0].start, torch.stack(rgb), *_stacked(given))

    def findings(self, state: _Held, first: int, stop: int) -> tuple[Finding, ...]:
        return (Finding(self.name, "brightened", first, stop - 1),)


def _stacked(frames: list[Layers]) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    def layer(name: str) -> Tensor | None:
        found = [getattr(frame, name) for frame in frames]
        return None if found[0] is None else torch.cat(found)

    return layer("alpha"), layer("foreground"), layer("objects")


class Doubled(Stage):
    """Every pixel becomes four."""

    name: ClassVar[str] = "doubled"

    def shape(self, eye: EyeShape) -> EyeShape:
        return doubled(eye)

    def run(self, layers: Layers, state: None) -> Layers:
        def large(layer: Tensor | None) -> Tensor | None:
            if layer is None:
                return None
            return layer.repeat_interleave(2, 3).repeat_interleave(2, 4)

        rgb = large(layers.rgb)
        assert rgb is not None
        return replace(
            layers, rgb=rgb, alpha=large(layers.alpha), foreground=large(layers.foreground)
        )


def doubled(eye: EyeShape, settings: VideoSettings | None = None) -> EyeShape:
    """The shape of the eyes that `Doubled` gives."""
    return replace(eye, height=2 * eye.height, width=2 * eye.width)


def make_lagging(settings: VideoSettings, device: torch.device) -> Lagging:
    return Lagging()


def make_doubled(settings: VideoSettings, device: torch.device) -> Doubled:
    return Doubled()


LAGGING = StageRow("lagging", f"{__name__}:make_lagging")
DOUBLED = StageRow("doubled", f"{__name__}:make_doubled", shape=doubled)
