"""Views of what files store: pictures laid around the viewer by a mesh, and parts of a sphere."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.contract import Bounds
from pipeline.pixels.mesh_cells import MeshCells
from pipeline.pixels.projection import Equirectangular

_ON_AN_EDGE = 1e-6  # of a triangle: rounding must not open a crack between two


class MeshView:
    """A picture that a mesh lays around the viewer; see `pipeline.pixels.projection.SourceView`.

    Two are equal only if they are one.

    Args:
        size: (height, width) of the picture, in pixels.
        device: of the directions that will be asked for.
    """

    wraps = False
    tears = True  # where its picture closes around the viewer, or is put together of parts

    def __init__(self, mesh: MeshCells, size: tuple[int, int], device: torch.device) -> None:
        self._size = size
        self._side = mesh.side
        self._weights = torch.from_numpy(mesh.weights).to(device, torch.float32)
        self._places = torch.from_numpy(mesh.places).to(device, torch.float32)
        self._begins = torch.from_numpy(mesh.begins).to(device)
        self._entries = torch.from_numpy(mesh.entries).to(device)

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    def positions(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        """As a GPU draws it; of triangles upon each other, the first counts.

        Beside the mesh the place is what the nearest triangle would show if it were larger.
        """
        given = directions.reshape(-1, 3).float()  # a pixel of 8K is a thousand times as large
        cell = ((given + 1) / 2 * self._side).floor().clamp_(0, self._side - 1).long()
        cell = (cell[:, 0] * self._side + cell[:, 1]) * self._side + cell[:, 2]
        begin = self._begins[cell]
        count = self._begins[cell + 1] - begin
        best = given.new_full((len(given),), -torch.inf)
        place = given.new_zeros(len(given), 2)
        at = count.nonzero()[:, 0]
        k = 0
        while len(at):
            triangle = self._entries[begin[at] + k].long()
            shares = (self._weights[triangle] * given[at, None]).sum(-1)
            score = shares.amin(-1) / shares.abs().sum(-1)
            better = score > best[at]
            chosen, nearer = at[better], shares[better]
            nearer /= nearer.sum(-1, keepdim=True)
            best[chosen] = score[better]
            place[chosen] = (nearer[..., None] * self._places[triangle[better]]).sum(1)
            k += 1
            at = at[(best[at] < 0) & (count[at] > k)]
        shape = directions.shape[:-1]
        found = (best >= -_ON_AN_EDGE).view(shape)
        return place.clamp_(-1, 2).nan_to_num_(0).view(*shape, 2).to(directions), found

    def keep_inside(self, position: Tensor, reach: Tensor) -> Tensor:
        return position  # the edge of the picture is the edge of the tensor, where sampling stops


@dataclass(frozen=True, slots=True)
class PartOfSphere:
    """An equirectangular picture of a part of the sphere; see `SourceView`.

    Attributes:
        height, width: of the picture, in pixels.
    """

    height: int
    width: int
    bounds: Bounds

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def wraps(self) -> bool:
        return False

    @property
    def tears(self) -> bool:
        return True  # where a whole circle closes

    def positions(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        whole, _ = Equirectangular(self.height, self.width, 360).positions(directions)
        edge = self.bounds
        begin = whole.new_tensor([edge.left, edge.top])
        shown = whole.new_tensor([1 - edge.left - edge.right, 1 - edge.top - edge.bottom])
        place = (whole - begin) / shown
        return place, ((place - 0.5).abs() <= 0.5 + _ON_AN_EDGE).all(-1)

    def keep_inside(self, position: Tensor, reach: Tensor) -> Tensor:
        return position
