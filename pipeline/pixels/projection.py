"""Projects between equirectangular and equidistant fisheye, as sampling grids on the device.

Knows nothing of mattes, of frames that hold two eyes, and of files.

Directions are unit vectors with x to the right, y down and z forward. A place in a picture is
``(u, v)`` in 0..1, v down; the centre of pixel ``(column, row)`` is ``((column + 1/2) / width,
(row + 1/2) / height)``, so that pictures of different sizes lie on each other exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import ProjectionName

_STRIPS = 64  # a picture is worked on in; so many that rows far from a pole need not pay for it
_LEAST_ROWS = 32  # of a strip
_MAX_SAMPLES = 8  # along each axis of a pixel; only the last rows before a pole would need more
_MARGIN = 1  # pixels of the target around what the source shows: what interpolation may touch
_INNER = slice(_MARGIN, -_MARGIN)
_ROUNDING = 1e-9  # of a direction on the very edge of what a picture shows


class Projection(Protocol):
    """How the directions around an eye lie in its picture; hashable, so that grids are cached."""

    def __hash__(self) -> int: ...

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        ...

    @property
    def wraps(self) -> bool:
        """Whether the left edge goes on at the right one."""
        ...

    def directions(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors ``[..., 3]`` seen at (u, v), and whether anything is shown there."""
        ...

    def positions(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v) ``[..., 2]`` of unit vectors, and whether the picture shows them."""
        ...

    def keep_inside(self, position: Tensor, reach: Tensor) -> Tensor:
        """Move (u, v) ``[..., 2]`` so that `reach` pixels around it are picture."""
        ...


@dataclass(frozen=True, slots=True)
class Equirectangular:
    """Columns are longitudes, rows are latitudes, both at equal distances (plate carree).

    With longitude ``a = (u - 1/2) degrees`` and latitude ``b = (v - 1/2) 180``, down, the direction
    is ``(sin a cos b, sin b, cos a cos b)``: spherical coordinates. Snyder, "Map Projections: A
    Working Manual", USGS Professional Paper 1395, 1987, section 12, on the unit sphere.

    Attributes:
        degrees: of longitude from the left edge to the right one: 180 (VR180) or 360. The
            latitudes always span 180.
    """

    height: int
    width: int
    degrees: float = 180.0

    def __post_init__(self) -> None:
        _check_size(self.height, self.width)
        if not 0 < self.degrees <= 360:
            raise ValueError(f"degrees must be over 0 and at most 360, got {self.degrees}")

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def wraps(self) -> bool:
        return self.degrees == 360

    def directions(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        longitude = (u - 0.5) * math.radians(self.degrees)
        latitude = (v - 0.5) * math.pi
        level = latitude.cos()
        vectors = [longitude.sin() * level, latitude.sin(), longitude.cos() * level]
        return torch.stack(vectors, -1), torch.ones_like(u, dtype=torch.bool)

    def positions(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        x, y, z = directions.unbind(-1)
        u = torch.atan2(x, z) / math.radians(self.degrees) + 0.5
        v = torch.atan2(y, torch.hypot(x, z)) / math.pi + 0.5
        return torch.stack([u, v], -1), (u - 0.5).abs() <= 0.5 + _ROUNDING

    def keep_inside(self, position: Tensor, reach: Tensor) -> Tensor:
        return position  # the edge of the picture is the edge of the tensor, where sampling stops


@dataclass(frozen=True, slots=True)
class Fisheye:
    """Equidistant: the distance from the middle is the angle to the line of sight.

    With ``(a, b) = (2u - 1, 2v - 1)`` and ``r = hypot(a, b)``, the angle is ``r degrees / 2``, so
    that the circle in the picture (``r = 1``, touching all four sides) is half the field of view
    away, and the direction is ``(sin(angle) a / r, sin(angle) b / r, cos(angle))``: the azimuthal
    equidistant projection, Snyder, section 25. In a picture that is not square (half width side by
    side) the circle is an ellipse.

    Attributes:
        degrees: field of view, from one side of the circle to the other: 180, 190, 200, 220.
    """

    height: int
    width: int
    degrees: float = 180.0

    def __post_init__(self) -> None:
        _check_size(self.height, self.width)
        if not 0 < self.degrees <= 360:
            raise ValueError(f"degrees must be over 0 and at most 360, got {self.degrees}")

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def wraps(self) -> bool:
        return False

    def directions(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        a, b = 2 * u - 1, 2 * v - 1
        r = torch.hypot(a, b)
        angle = r * math.radians(self.degrees / 2)
        slope = angle.sin() / r.clamp_min(1e-12)
        return torch.stack([slope * a, slope * b, angle.cos()], -1), r <= 1 + _ROUNDING

    def positions(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        x, y, z = directions.unbind(-1)
        side = torch.hypot(x, y)
        r = torch.atan2(side, z) / math.radians(self.degrees / 2)
        slope = r / side.clamp_min(1e-12)
        return torch.stack([slope * x, slope * y], -1) / 2 + 0.5, r <= 1 + _ROUNDING

    def keep_inside(self, position: Tensor, reach: Tensor) -> Tensor:
        # What lies beyond the circle is no picture, and must not be mixed into its rim.
        offset = position - 0.5
        r = 2 * torch.linalg.vector_norm(offset, dim=-1)
        largest = (1 - 2 * reach / min(self.height, self.width)).clamp_min(0)
        shrink: Tensor = (largest / r.clamp_min(1e-12)).clamp(max=1)
        return offset * shrink[..., None] + 0.5


def named_projection(name: ProjectionName, height: int, width: int) -> Projection | None:
    """The projection that a video's metadata name, for an eye of that size; None if it is flat."""
    degrees = field_of_view(name)
    if degrees is None:
        return None
    kind = Equirectangular if name.startswith("equirect") else Fisheye
    return kind(height, width, degrees)


def field_of_view(name: ProjectionName) -> float | None:
    """Degrees from one side of such a picture to the other; None if it is flat."""
    return None if name == "flat" else float(name[-3:])


def project(pictures: Tensor, source: Projection, target: Projection, fill: float = 0.0) -> Tensor:
    """Show every picture, eye by eye, in another projection.

    Bilinear where the picture keeps its size or grows; where it shrinks, the mean over the pixel's
    footprint, so that fine detail becomes its mean and not moire (up to 8 times smaller). What
    `target` shows and `source` does not, and what is outside the target's circle, is `fill`; but an
    edge of the source inside the target is continued for a pixel, so that it can be read back
    whole. No value leaves the range of the source and `fill`.

    Args:
        pictures: ``[N, C, H, W]`` of the source's size, uint8 or floating, on any device. The first
            dimension may be eyes, frames or both.
        fill: in the units of `pictures`.

    Returns:
        ``[N, C, H', W']`` of the target's size, same dtype and device. uint8 is rounded to nearest.

    Raises:
        ValueError: shape or dtype do not fit.
    """
    if pictures.ndim != 4 or tuple(pictures.shape[2:]) != source.size:
        raise ValueError(
            f"need [N,C,{source.size[0]},{source.size[1]}], got {list(pictures.shape)}"
        )
    if pictures.dtype != torch.uint8 and not pictures.is_floating_point():
        raise ValueError(f"pictures must be uint8 or floating, got {pictures.dtype}")
    strips = sampling_grid(source, target, pictures.device)
    for strip in strips:
        strip.keep_for_stream()
    if pictures.dtype == torch.uint8:
        fill = round(fill)
    out = pictures.new_full((*pictures.shape[:2], *target.size), fill)
    for picture, shown in zip(pictures, out, strict=True):
        values = picture[None].float()  # one eye: as floats, a batch of 8K frames is gigabytes
        if source.wraps:
            values = F.pad(values, (1, 1, 0, 0), mode="circular")
        low, high = values.aminmax()
        for strip in strips:
            # Weights add up to 1 but for rounding, and alpha must not be 1.0000001.
            sampled = strip.sample(values).clamp_(low, high).masked_fill_(strip.hidden, fill)
            if out.dtype == torch.uint8:
                sampled = sampled.add_(0.5).clamp_(0, 255)  # the cast cuts off
            rows, columns = sampled.shape[1:]
            shown[:, strip.top : strip.top + rows, strip.left : strip.left + columns] = sampled
    return out


@dataclass(frozen=True, slots=True, eq=False)
class GridStrip:
    """Where some rows of the target, as far as they show anything, are found in the source.

    Always float32, whatever is sampled: half precision cannot tell 4096 columns apart.

    Attributes:
        top, left: first row and column.
        centre: ``[1, h, w, 2]``, as `grid_sample` counts without aligned corners: -1..1.
        across, down: same shape: the footprint of a pixel, from side to side and from top to
            bottom, less what the interpolation itself covers; None where that is all of it.
        samples: how many are taken (across, down).
        hidden: bool ``[h, w]``, no picture here.
    """

    top: int
    left: int
    centre: Tensor
    across: Tensor | None
    down: Tensor | None
    samples: tuple[int, int]
    hidden: Tensor

    def keep_for_stream(self) -> None:
        """Work of the current stream is going to read this: its memory must wait for that, too.

        On a GPU a grid made for one segment serves others, on their own streams.
        """
        if self.centre.is_cuda:
            stream = torch.cuda.current_stream(self.centre.device)
            for tensor in (self.centre, self.across, self.down, self.hidden):
                if tensor is not None:
                    tensor.record_stream(stream)

    def sample(self, values: Tensor) -> Tensor:
        """float32 ``[1, C, H, W]`` -> ``[C, h, w]``."""
        if self.across is None or self.down is None:
            return _sample(values, self.centre)
        total: Tensor | None = None
        for shift_down in _spread(self.samples[1]):
            row = self.centre + self.down * shift_down
            for shift_across in _spread(self.samples[0]):
                part = _sample(values, row + self.across * shift_across)
                total = part if total is None else total.add_(part)
        assert total is not None
        return total.div_(self.samples[0] * self.samples[1])


def _sample(values: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(values, grid, "bilinear", "border", align_corners=False)[0]


def _spread(count: int) -> list[float]:
    """Middles of `count` equal parts of -1/2..1/2."""
    return [(i + 0.5) / count - 0.5 for i in range(count)]


@lru_cache(maxsize=4)
def sampling_grid(
    source: Projection, target: Projection, device: torch.device
) -> tuple[GridStrip, ...]:
    """The grid from one projection to another, top to bottom; the last few stay on the device.

    About 9 bytes a pixel of the target, 25 in rows where the picture shrinks. Rows that show
    nothing have no strip.
    """
    height = target.size[0]
    rows = max(_LEAST_ROWS, -(-height // _STRIPS))
    with torch.inference_mode(False):  # it outlives whatever mode the first caller was in
        strips = (
            _build_strip(source, target, top, min(top + rows, height), device)
            for top in range(0, height, rows)
        )
        made = tuple(strip for strip in strips if strip is not None)
    if device.type == "cuda":  # who gets it next has another stream, which waits for nobody
        torch.cuda.current_stream(device).synchronize()
    return made


def _build_strip(
    source: Projection, target: Projection, top: int, bottom: int, device: torch.device
) -> GridStrip | None:
    height, width = target.size
    # Some pixels more on every side, to look at neighbours; the picture's edge is its own
    # neighbour, as there is nothing beyond a pole.
    rows = torch.arange(top - _MARGIN, bottom + _MARGIN, device=device).clamp(0, height - 1)
    columns = torch.arange(-_MARGIN, width + _MARGIN, device=device).clamp(0, width - 1)
    v, u = torch.meshgrid(
        (rows.double() + 0.5) / height, (columns.double() + 0.5) / width, indexing="ij"
    )
    seen, shown = target.directions(u, v)
    position, found = source.positions(seen)
    found = F.max_pool2d(found.float()[None], 2 * _MARGIN + 1, stride=1)[0] > 0
    visible = shown[_INNER, _INNER] & found
    used = visible.any(dim=0).nonzero()
    if not len(used):
        return None
    left, right = int(used[0]), int(used[-1]) + 1
    shape = (bottom - top, right - left)
    visible = visible[:, left:right]

    def moved(down: int, across: int) -> Tensor:
        y, x = _MARGIN + down, _MARGIN + left + across
        return position[y : y + shape[0], x : x + shape[1]]

    wide = (columns[2:] - columns[:-2])[_MARGIN - 1 :][left : left + shape[1]]
    high = (rows[2:] - rows[:-2])[_MARGIN - 1 :][: shape[0]]
    across = _footprint(source, moved(0, -1), moved(0, 1), wide[None, :, None])
    down = _footprint(source, moved(-1, 0), moved(1, 0), high[:, None, None])
    samples = (_samples(across, source, visible), _samples(down, source, visible))
    centre = moved(0, 0)
    reach = torch.full_like(centre[..., 0], math.sqrt(2))  # of interpolation, in pixels
    if samples != (1, 1):
        reach += _in_pixels(across.abs() + down.abs(), source).norm(dim=-1) / 2
    centre = source.keep_inside(centre, reach)

    # `project` adds a column on either side of a picture that wraps.
    stretch = source.size[1] / (source.size[1] + 2) if source.wraps else 1.0
    scale = position.new_tensor([2 * stretch, 2.0])
    return GridStrip(
        top,
        left,
        ((centre - 0.5) * scale).float()[None],
        None if samples == (1, 1) else (across * scale).float()[None],
        None if samples == (1, 1) else (down * scale).float()[None],
        samples,
        ~visible,
    )


def _footprint(source: Projection, before: Tensor, after: Tensor, apart: Tensor) -> Tensor:
    """How far a pixel of the target reaches in the source, in (u, v).

    Interpolation already blurs by about one pixel of the source; of a footprint `length` pixels
    long the rest is ``sqrt(length^2 - 1)``, as variances of filters add. It grows from nothing
    where the picture begins to shrink, so there is no line at which sharpness jumps.

    Args:
        before, after: ``[h, w, 2]``, positions of the two neighbours.
        apart: how many pixels they are apart in the target: 2, or 1 at its edges.
    """
    step = after - before
    if source.wraps:
        step[..., 0] -= step[..., 0].round()
    step /= apart.clamp_min(1)
    squared = _in_pixels(step, source).square().sum(-1, keepdim=True)
    return step * ((squared - 1).clamp_min(0) / squared.clamp_min(1e-12)).sqrt()


def _samples(reach: Tensor, source: Projection, visible: Tensor) -> int:
    """How many samples cover the widest footprint, not more than a source pixel apart."""
    lengths = _in_pixels(reach, source).norm(dim=-1).masked_fill(~visible, 0)
    return min(max(1, math.ceil(float(lengths.max()) + 0.5)), _MAX_SAMPLES)


def _in_pixels(step: Tensor, source: Projection) -> Tensor:
    return step * step.new_tensor([source.size[1], source.size[0]])


def _check_size(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be positive, got {height}, {width}")
