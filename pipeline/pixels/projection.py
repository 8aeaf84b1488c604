"""Equirectangular and equidistant fisheye: where the directions around an eye are in its picture.

Knows nothing of mattes, of frames that hold two eyes, and of files. `sampling.py` shows pictures of
one projection in another.

Directions are unit vectors with x to the right, y down and z forward. A place in a picture is
``(u, v)`` in 0..1, v down; the centre of pixel ``(column, row)`` is ``((column + 1/2) / width,
(row + 1/2) / height)``, so that pictures of different sizes lie on each other exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipeline.contract import ProjectionName

_ROUNDING = 1e-9  # of a direction on the very edge of what a picture shows


class SourceView(Protocol):
    """Where the directions around an eye are in its picture; hashable, so that grids are cached."""

    def __hash__(self) -> int: ...

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        ...

    @property
    def wraps(self) -> bool:
        """Whether the left edge goes on at the right one."""
        ...

    @property
    def tears(self) -> bool:
        """Whether directions beside each other may lie far apart in the picture."""
        ...

    def positions(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v) ``[..., 2]`` of unit vectors, and whether the picture shows them."""
        ...

    def keep_inside(self, position: Tensor, reach: Tensor) -> Tensor:
        """Move (u, v) ``[..., 2]`` so that `reach` pixels around it are picture."""
        ...


class Projection(SourceView, Protocol):
    """A `SourceView` that can also be drawn."""

    def directions(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors ``[..., 3]`` seen at (u, v), and whether anything is shown there."""
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

    @property
    def tears(self) -> bool:
        return False

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

    @property
    def tears(self) -> bool:
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


def _check_size(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be positive, got {height}, {width}")
