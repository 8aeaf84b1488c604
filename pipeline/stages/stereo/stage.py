"""The stage `stereo`: makes the mattes of the two eyes agree, by `StereoRefiner`."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch

from pipeline.contract import EyeShape, Finding, StereoSettings, VideoSettings
from pipeline.pixels.layers import Layers
from pipeline.pixels.projection import field_of_view
from pipeline.stages.base import Prepared, Stage
from pipeline.stages.stereo.findings import SOURCE, stereo_findings
from pipeline.stages.stereo.refiner import StereoRefiner

#: Name of the figure that is left to later stages: the share of the subject that only one eye
#: holds after mending, 0..1. Absent where the eyes are not compared.
DISAGREEMENT = "eyes_disagreement"


class Stereo(Stage):
    """What one eye's matte lost is mended from the other's; a single eye passes untouched.

    Its memory of earlier frames settles in the warm-up that the matting model asks for.
    """

    name: ClassVar[str] = SOURCE

    def __init__(self, settings: StereoSettings) -> None:
        self._settings = settings

    def start(self, eye: EyeShape, prepared: Prepared) -> StereoRefiner:
        angle = field_of_view(eye.projection)
        return StereoRefiner(self._settings, eye.eyes, eye.height, eye.width, field_of_view=angle)

    def run(self, layers: Layers, state: StereoRefiner) -> Layers:
        mended = layers.with_matte(state.refine(layers.eyes, layers.matte))
        left = state.disagreement()
        if left is None:
            return mended
        values = tuple(left[frame] for frame in range(layers.start, layers.stop))
        return replace(mended, figures={**layers.figures, DISAGREEMENT: values})

    def findings(self, state: StereoRefiner, first: int, stop: int) -> tuple[Finding, ...]:
        return stereo_findings(state, first, stop)


def make(settings: VideoSettings, device: torch.device) -> Stereo:
    """See `Stereo`."""
    return Stereo(settings.stereo)
