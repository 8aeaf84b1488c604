"""The stage `stereo`: makes the mattes of the two eyes agree, by `StereoRefiner`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from pipeline.contract import EyeShape, Finding, StereoSettings, VideoSettings
from pipeline.engines.cuda_graph import Capture, cuda_capture
from pipeline.flow.device_copies import HostRing, Transfer
from pipeline.kernels.choice import way_on
from pipeline.kernels.way import TORCH, Way
from pipeline.pixels.layers import Layers
from pipeline.pixels.projection import field_of_view
from pipeline.stages.base import Prepared, Stage
from pipeline.stages.stereo.findings import SOURCE, stereo_findings
from pipeline.stages.stereo.refiner import Observation, StereoRefiner

#: Name of the figure that is left to later stages: the share of the subject that only one eye
#: holds after mending, 0..1. Absent where the eyes are not compared.
DISAGREEMENT = "eyes_disagreement"


@dataclass(slots=True)
class Refining:
    """Of one segment.

    Attributes:
        ahead: frames whose eyes are being compared, and what was asked of the device about them.
    """

    refiner: StereoRefiner
    ahead: tuple[Layers, Observation] | None = None


class Stereo(Stage):
    """What one eye's matte lost is mended from the other's; a single eye passes untouched.

    Its memory of earlier frames settles in the warm-up that the matting model asks for.

    Args:
        waits: it takes time until the host has what it asks for: a batch is held back until the
            next one was asked about, so that the device always has work.
        capture: makes graphs; see `StereoRefiner`.
        transfer: takes figures to the host.
        way: makes full pictures smaller.
    """

    name: ClassVar[str] = SOURCE

    def __init__(
        self,
        settings: StereoSettings,
        *,
        waits: bool = False,
        capture: Capture | None = None,
        transfer: Transfer | None = None,
        way: Way = TORCH,
    ) -> None:
        self._settings = settings
        self._waits = waits
        self._capture = capture
        self._transfer = transfer
        self._way = way

    def start(self, eye: EyeShape, prepared: Prepared) -> Refining:
        return Refining(
            StereoRefiner(
                self._settings,
                eye.eyes,
                eye.height,
                eye.width,
                field_of_view=field_of_view(eye.projection),
                capture=self._capture,
                copies=HostRing(2, self._transfer),
                way=self._way,
            )
        )

    def run(self, layers: Layers, state: Refining) -> Layers | None:
        observation = state.refiner.observe(layers.eyes, layers.matte)
        if not self._waits or observation.figures is None:
            return _mended(layers, observation, state.refiner)
        before, state.ahead = state.ahead, (layers, observation)
        return None if before is None else _mended(*before, state.refiner)

    def flush(self, state: Refining) -> Layers | None:
        before, state.ahead = state.ahead, None
        return None if before is None else _mended(*before, state.refiner)

    def findings(self, state: Refining, first: int, stop: int) -> tuple[Finding, ...]:
        return stereo_findings(state.refiner, first, stop)


def _mended(layers: Layers, observation: Observation, refiner: StereoRefiner) -> Layers:
    mended = layers.with_matte(refiner.mend(observation))
    left = refiner.disagreement()
    if left is None:
        return mended
    values = tuple(left[frame] for frame in range(layers.start, layers.stop))
    return replace(mended, figures={**layers.figures, DISAGREEMENT: values})


def make(settings: VideoSettings, device: torch.device) -> Stereo:
    """See `Stereo`."""
    on_gpu = device.type == "cuda"
    graphs = on_gpu and settings.processing.cuda_graphs == "auto"
    capture = cuda_capture if graphs else None
    way = way_on(device, settings.processing.kernels)
    return Stereo(settings.stereo, waits=on_gpu, capture=capture, way=way)
