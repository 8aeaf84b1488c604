"""The stage `judge`: measures every matte and finds the frames that deserve a look.

It changes no frame. What is measured is in `pipeline/judge/meter.py`, what makes a finding in
`pipeline/judge/flags.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from pipeline.contract import EyeShape, Finding, VideoSettings
from pipeline.judge.findings import SOURCE
from pipeline.judge.meter import MatteMeter
from pipeline.judge.summary import matte_findings
from pipeline.pixels.layers import Layers
from pipeline.stages.base import Prepared, Stage
from pipeline.stages.stereo.stage import DISAGREEMENT


@dataclass(slots=True)
class _Measured:
    """Of one segment.

    Attributes:
        disagreement: of the eyes, by frame, where the stage `stereo` compared them.
    """

    meter: MatteMeter
    frame_rate: float
    disagreement: dict[int, float] = field(default_factory=dict)


class Judge(Stage):
    """A few numbers of each matte, and what they say at the end of the segment."""

    name: ClassVar[str] = SOURCE

    def start(self, eye: EyeShape, prepared: Prepared) -> _Measured:
        meter = MatteMeter(eye.height, eye.width, eye.projection)
        return _Measured(meter, float(eye.frame_rate))

    def run(self, layers: Layers, state: _Measured) -> Layers:
        state.meter.add(layers.eyes, layers.matte)
        frames = range(layers.start, layers.stop)
        values = layers.figures.get(DISAGREEMENT, ())
        state.disagreement.update(zip(frames, values, strict=False))
        return layers

    def findings(self, state: _Measured, first: int, stop: int) -> tuple[Finding, ...]:
        measures = state.meter.measures(state.disagreement or None, first, stop)
        return matte_findings(measures, state.frame_rate)


def make(settings: VideoSettings, device: torch.device) -> Judge:
    """See `Judge`."""
    return Judge()
