"""The stage `super_resolution`: pictures of all eyes larger, twice or four times; alpha with them.

Both eyes go through the network alike, each in the same tiles, so that no tile crosses from one eye
to the other. The matte was made of the source; it is enlarged with the large picture as its guide,
and the colours of the foreground keep what was taken out of them (`matte.py`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.contract import EnhanceSettings, EyeShape, VideoSettings
from pipeline.pixels.fine import split_levels, with_fine
from pipeline.pixels.layers import Layers
from pipeline.stages.base import Prepared, Stage
from pipeline.stages.enhance import finish, matte
from pipeline.stages.enhance.networks import load_network
from pipeline.stages.enhance.steady import strength
from pipeline.stages.enhance.tiles import through
from pipeline.structlog_import import structlog

_log = structlog.get_logger()

#: Side of a tile in pixels of the source: features of 256 pixels stay in a core's cache, and a GPU
#: is slowed by many small steps. A tile of 1024 takes 0.9 GB of a GPU in 16 bits (48 channels).
CPU_TILE, GPU_TILE = 256, 1024
_LEAST_TILE = 64

_KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class SuperResolution(Stage):
    """See the module."""

    name: ClassVar[str] = "super_resolution"

    def __init__(self, enhance: EnhanceSettings, network: nn.Module, device: torch.device) -> None:
        self._enhance = enhance
        self._kind = _KINDS[enhance.precision]  # "auto" was settled when the run was planned
        self._device = device
        self._network = network.to(device, self._kind).to(memory_format=torch.channels_last)
        #: Of what the network adds to plain interpolation: less where the source is not trusted.
        self._share = 1 - strength(enhance)
        self._radius = max(3, int(network.radius))  # type: ignore[arg-type]
        self._tile = enhance.tile or (CPU_TILE if device.type == "cpu" else GPU_TILE)

    def shape(self, eye: EyeShape) -> EyeShape:
        return enlarged(eye, self._enhance.scale)

    def start(self, eye: EyeShape, prepared: Prepared) -> EyeShape:
        return eye

    @torch.inference_mode()
    def run(self, layers: Layers, state: EyeShape) -> Layers:
        count, eyes, _, height, width = layers.rgb.shape
        scale = self._enhance.scale
        size = (count, eyes, 3, height * scale, width * scale)
        rgb = torch.empty(size, dtype=torch.uint8, device=layers.rgb.device)
        fine = None if layers.fine is None else torch.empty_like(rgb, dtype=torch.int8)
        wraps = state.projection == "equirect360"
        for t in range(count):
            for eye in range(eyes):
                own = None if fine is None else fine[t, eye]
                given = None if layers.fine is None else layers.fine[t, eye]
                self._enlarge(layers.rgb[t, eye], given, rgb[t, eye], own, wraps)
            finish.finished(
                rgb[t], None if fine is None else fine[t], self._enhance, layers.start + t
            )
        alpha, foreground = matte.enlarged(layers, rgb, scale)
        return replace(layers, rgb=rgb, fine=fine, alpha=alpha, foreground=foreground)

    def _enlarge(
        self, picture: Tensor, given: Tensor | None, out: Tensor, fine: Tensor | None, wraps: bool
    ) -> None:
        """One eye ``[3, H, W]`` -> `out`, and what 8 bits leave out of it -> `fine`."""
        unit = picture.float().div_(255) if picture.dtype == torch.uint8 else picture.float()
        unit = with_fine(unit, given)[None]

        def put(made: Tensor, rows: slice, columns: slice) -> None:
            levels = made[0].float().clamp_(0, 1).mul_(255).add_(0.5)
            part = None if fine is None else fine[:, rows, columns]
            split_levels(levels, out[:, rows, columns], part)

        while True:
            try:
                through(
                    unit,
                    self._run,
                    put,
                    scale=self._enhance.scale,
                    radius=self._radius,
                    side=self._tile,
                    wraps=wraps,
                )
                return
            except torch.OutOfMemoryError:
                if self._tile <= _LEAST_TILE:
                    raise
            self._tile = max(_LEAST_TILE, self._tile // 2)  # for good: all lanes have the same card
            torch.cuda.empty_cache()
            _log.warning("smaller_tiles", side=self._tile)

    def _run(self, part: Tensor) -> Tensor:
        made: Tensor = self._network(part.to(self._kind, memory_format=torch.channels_last))
        if self._share == 1:
            return made
        plain = F.interpolate(
            part, scale_factor=self._enhance.scale, mode="bicubic", align_corners=False
        )
        return torch.lerp(plain, made.float(), self._share)


def enlarged(eye: EyeShape, scale: int) -> EyeShape:
    """So many times as wide and high."""
    return replace(eye, height=eye.height * scale, width=eye.width * scale)


def make(settings: VideoSettings, device: torch.device) -> SuperResolution:
    """See `SuperResolution`. Raises MachineError, SettingsError: see `load_network`."""
    return SuperResolution(settings.enhance, load_network(settings.enhance), device)
