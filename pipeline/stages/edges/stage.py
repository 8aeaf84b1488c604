"""The stage `edges`: corrects the edge of a matte as a person asks, and keeps regions out of it.

Gamma, choke and feather change alpha (`shape.py`), the colours follow (`colours.py`), and what lies
in a region of `keep_out` becomes 0 at the end (`keep_out.py`). It takes part only where a setting
differs from its default. Each frame and eye is computed by itself, by tiles, so that memory is
bounded; each tile comes with as many pixels around it as it depends on, so that none can be seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from pipeline.contract import EdgeSettings, EyeShape, VideoSettings
from pipeline.pixels.layers import Layers
from pipeline.stages.base import ClipSampler, Prepared, Stage
from pipeline.stages.edges import colours, shape
from pipeline.stages.edges.keep_out import kept_map

#: Side of a tile, in whole cells; a GPU is slowed by many small steps.
_TILE, _GPU_TILE = 512, 2048

#: Colours of an eye with more pixels are kept in 16 bits, off by 2^-12 at the most.
_LARGE_PIXELS = 2880 * 2880

_KEPT = "kept"


class Edges(Stage):
    """See the module."""

    name: ClassVar[str] = "edges"

    def __init__(self, edges: EdgeSettings, device: torch.device) -> None:
        self._edges = edges
        self._device = device
        self._tile = _TILE if device.type == "cpu" else _GPU_TILE
        self._grown = shape.grows(edges)
        #: Whether colours may change, and whether anything but what is kept out.
        self._coloured = self._grown or edges.despill > 0
        self._corrects = self._coloured or edges.choke > 0 or edges.gamma < 1

    def prepare(self, clip: ClipSampler) -> Prepared:
        """``kept``: see `keep_out.kept_map`, which says what it raises."""
        kept = kept_map(self._edges, clip)
        return {} if kept is None else {_KEPT: kept}

    def start(self, eye: EyeShape, prepared: Prepared) -> Tensor | None:
        if _KEPT not in prepared:
            return None
        kept = prepared[_KEPT].to(self._device)
        if tuple(kept.shape) != (eye.eyes, 1, eye.height, eye.width):
            raise ValueError(f"{list(kept.shape)} kept of {eye}")
        return kept

    def run(self, layers: Layers, state: Tensor | None) -> Layers:
        matte = layers.matte
        alpha, foreground = matte.alpha.clone(), matte.foreground
        colour = _own_copy(layers) if self._coloured else None
        for t in range(len(layers)):
            for eye in range(alpha.shape[1]):
                if self._corrects:
                    picture = layers.rgb[t, eye]
                    given = picture if foreground is None else foreground[t, eye]
                    to = None if colour is None else colour[t, eye]
                    self._correct(picture, given, matte.alpha[t, eye], alpha[t, eye], to)
                if state is not None:
                    alpha[t, eye].mul_(state[eye].to(alpha.dtype).div_(255))
        return replace(layers, alpha=alpha, foreground=foreground if colour is None else colour)

    def _correct(
        self, picture: Tensor, given: Tensor, before: Tensor, alpha: Tensor, colour: Tensor | None
    ) -> None:
        """Correct one eye.

        Args:
            picture, given: the source and the foreground, ``[3, H, W]``.
            before: the model's alpha, ``[1, H, W]``.
            alpha, colour: of the same shapes, written to near edges; None: no colour changes.
        """
        height, width = before.shape[1:]
        reach = shape.reach(self._edges)
        side = max(height, width)
        look, rim = max(16, side // 48) + reach, max(2, side // 200)
        around = colours.margin(reach if colour is None else look + rim)
        for rows, columns in _tiles(height, width, self._tile):
            wide = _widened(rows, height, around), _widened(columns, width, around)
            own = before[None, :, wide[0], wide[1]].float().clamp(0, 1)
            low, high = own.aminmax()
            if bool(low == high) and float(low) in (0, 1):
                continue  # far from every edge
            inner = (
                slice(rows.start - wide[0].start, rows.stop - wide[0].start),
                slice(columns.start - wide[1].start, columns.stop - wide[1].start),
            )
            made = shape.corrected(own, self._edges)
            alpha[:, rows, columns] = made[0, :, inner[0], inner[1]].to(alpha.dtype)
            if colour is None:
                continue
            edge = colours.at_edge(
                _floats(picture[None, :, wide[0], wide[1]]),
                _floats(given[None, :, wide[0], wide[1]]),
                own,
                made,
                look,
                rim,
                grown=self._grown,
                despill=self._edges.despill,
            )
            colour[:, rows, columns] = edge[0, :, inner[0], inner[1]].to(colour.dtype)


def _own_copy(layers: Layers) -> Tensor:
    """The foreground to be written to, ``[T, E, 3, H, W]``."""
    if layers.foreground is not None:
        return layers.foreground.clone()
    rgb = layers.rgb
    large = rgb.shape[3] * rgb.shape[4] > _LARGE_PIXELS
    copy = torch.empty(
        rgb.shape, dtype=torch.float16 if large else torch.float32, device=rgb.device
    )
    for t in range(len(rgb)):
        for eye in range(rgb.shape[1]):
            copy[t, eye] = _floats(rgb[t, eye])
    return copy


def _floats(picture: Tensor) -> Tensor:
    """float32, 0..1, of uint8 or floating."""
    return picture.float().div(255) if picture.dtype == torch.uint8 else picture.float()


def _tiles(height: int, width: int, side: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield (
                slice(top, min(height, top + side)),
                slice(left, min(width, left + side)),
            )


def _widened(part: slice, length: int, by: int) -> slice:
    return slice(max(0, part.start - by), min(length, part.stop + by))


def make(settings: VideoSettings, device: torch.device) -> Edges:
    """See `Edges`."""
    return Edges(settings.matting.edges, device)
