"""Load what makes pictures larger, by its row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.contract import EnhanceSettings
from pipeline.errors import MachineError, SettingsError
from pipeline.stages.enhance.catalogue import FILE, UPSCALERS, upscaler_of
from pipeline.stages.enhance.lanczos import Lanczos
from pipeline.stages.enhance.ncnn import load_ncnn
from pipeline.stages.enhance.weights import fetch

#: (settings, files of weights) -> network.
_Load = Callable[[EnhanceSettings, Sequence[Path]], nn.Module]

#: Of networks of which nobody knows how far they look: a seam is then a matter of taste.
UNKNOWN_RADIUS = 32

#: A network that depends on more is taken for one that looks at everything.
_FARTHEST = 63


def load_network(settings: EnhanceSettings) -> nn.Module:
    """What the settings ask for, on the CPU in 32-bit floats, without gradients.

    Raises:
        MachineError: weights cannot be had, or spandrel is not installed.
        SettingsError: it cannot make pictures so many times larger.
    """
    row = upscaler_of(settings)
    load: _Load = load_file if row is FILE else UPSCALERS.load(row.name, row.load)
    return load(settings, fetch(settings)).requires_grad_(False).eval()


def load_ncnn_files(settings: EnhanceSettings, files: Sequence[Path]) -> nn.Module:
    """See `pipeline.stages.enhance.ncnn`."""
    param, weights = files
    return load_ncnn(param, weights)


def load_lanczos(settings: EnhanceSettings, files: Sequence[Path]) -> nn.Module:
    """See `pipeline.stages.enhance.lanczos`."""
    return Lanczos(settings.scale)


def load_file(settings: EnhanceSettings, files: Sequence[Path]) -> nn.Module:
    """A file of weights, by spandrel, which tells architecture and scale by what is in it."""
    if find_spec("spandrel") is None:
        raise MachineError(
            "enhance.model: a file of weights needs the package spandrel, which is not installed",
            "uv pip install 'vrmatte[enhance]'",
        )
    import spandrel

    [file] = files
    try:
        described = spandrel.ModelLoader(device="cpu").load_from_file(file)
    except Exception as error:  # spandrel's readers raise whatever they meet
        raise SettingsError(
            f"enhance.model: {file} cannot be used: {type(error).__name__}: {error}"[:300],
            "use a single-image network that spandrel lists",
        ) from None
    if not isinstance(described, spandrel.ImageModelDescriptor):
        raise SettingsError(f"enhance.model: {file} makes no picture of a picture")
    channels = described.input_channels, described.output_channels
    if channels != (3, 3):
        raise SettingsError(f"enhance.model: {file} takes {channels[0]} channels instead of 3")
    if described.scale % settings.scale:
        raise SettingsError(
            f"enhance.model: {file} makes pictures {described.scale} times larger,"
            f" not {settings.scale}",
            f"set enhance.scale: {described.scale}",
        )
    return _Described(described, settings.scale)


class _Described(nn.Module):
    """A network of spandrel's, with sides that it takes, and as many times larger as is asked."""

    def __init__(self, described: Any, scale: int) -> None:
        super().__init__()
        self.network = described.model.eval().requires_grad_(False)
        self._call, self._own = described, int(described.scale)
        self.scale = scale
        size = described.size_requirements
        self._multiple: int = max(1, size.multiple_of)
        self._least: int = max(1, size.minimum)
        self.half_ok = bool(described.supports_half)
        self.bfloat16_ok = bool(described.supports_bfloat16)
        # Not of `described`, which lets no slope through.
        self.radius: int = measured_radius(described.model) or UNKNOWN_RADIUS

    def forward(self, picture: Tensor) -> Tensor:
        height, width = picture.shape[2:]
        down, across = (self._more(side) for side in (height, width))
        if down or across:
            picture = F.pad(picture, (0, across, 0, down), mode="replicate")
        made: Tensor = self._call(picture)[..., : height * self._own, : width * self._own]
        by = self._own // self.scale
        return F.avg_pool2d(made, by) if by > 1 else made

    def _more(self, side: int) -> int:
        wanted = max(side, self._least)
        return -(-wanted // self._multiple) * self._multiple - side


def measured_radius(network: Callable[[Tensor], Tensor]) -> int | None:
    """How far around a pixel its result looks; None: farther than can be seen, or all over.

    By the slope of the middle of the result by each pixel of a random picture.
    """
    side = 2 * _FARTHEST + 3
    middle = side // 2
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, side, side, generator=generator)
    with torch.enable_grad():
        asked = picture.requires_grad_(True)
        made = network(asked)
        scale = made.shape[-1] // side
        centre = slice(middle * scale, (middle + 1) * scale)
        made[..., centre, centre].sum().backward()  # type: ignore[no-untyped-call]
    slope = asked.grad
    if slope is None:
        return None
    rows, columns = torch.nonzero(slope[0].abs().sum(0), as_tuple=True)
    if not len(rows):
        return None
    reach = max(int((rows - middle).abs().max()), int((columns - middle).abs().max()))
    return None if reach > _FARTHEST else reach + 1
