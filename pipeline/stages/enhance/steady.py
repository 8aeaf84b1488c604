"""The stages `denoise`, `stabilise` and `steady_matte`: the same average over time.

`denoise` calms the source, whose noise and flicker a network would take for detail; `stabilise`
takes out what flickers in what the network made; `steady_matte` does so with alpha, by what the
source shows. See `window.py`.
"""

from __future__ import annotations

import torch

from pipeline.contract import EnhanceSettings, EyeShape, VideoSettings
from pipeline.pixels.layers import Layers
from pipeline.stages.base import Prepared, Stage
from pipeline.stages.enhance.window import Eye, Window, start, steadied

#: Frames before one that calm it, how different a pixel may be, and the variance that is smoothed
#: within a frame at full strength.
DENOISE_FRAMES, _DENOISE_TOLERANCE, _DEBLOCK = 2, 9.0, 1e-3
_STEADY_TOLERANCE = 12.0


class Steady(Stage):
    """See the module."""

    def __init__(self, name: str, window: Window) -> None:
        self.name = name  # type: ignore[misc]
        self._window = window
        self.warmup_frames = window.frames

    def start(self, eye: EyeShape, prepared: Prepared) -> list[Eye]:
        return start(self._window, eye.eyes)

    @torch.inference_mode()
    def run(self, layers: Layers, state: list[Eye]) -> Layers:
        return steadied(layers, self._window, state)


def strength(enhance: EnhanceSettings) -> float:
    """Of `denoise`. Raises ValueError: nobody settled it."""
    if enhance.calms == "auto":
        raise ValueError("enhance.denoise was not settled")
    return enhance.calms


def make_denoise(settings: VideoSettings, device: torch.device) -> Steady:
    """See the module."""
    share = strength(settings.enhance)
    window = Window(DENOISE_FRAMES, share, _DENOISE_TOLERANCE, deblock=_DEBLOCK * share)
    return Steady("denoise", window)


def make_steady_matte(settings: VideoSettings, device: torch.device) -> Steady:
    """See the module."""
    window = Window(settings.enhance.steady_matte, 1.0, _STEADY_TOLERANCE, of="alpha")
    return Steady("steady_matte", window)


def make_stabilise(settings: VideoSettings, device: torch.device) -> Steady:
    """See the module."""
    enhance = settings.enhance
    window = Window(enhance.history, 1.0, _STEADY_TOLERANCE, reduce=enhance.scale)
    return Steady("stabilise", window)
