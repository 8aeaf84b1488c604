"""Where a mesh or a part of a sphere shows a direction."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.contract import Bounds
from pipeline.pixels.mesh_cells import sort_mesh
from pipeline.pixels.projection import Equirectangular, Fisheye
from pipeline.pixels.stored_views import MeshView, PartOfSphere
from pipeline.vr_tags.mesh import EyeMesh
from tests.pipeline.meshes import directions_in_picture, equirect_mesh, fisheye_mesh, lens_mesh
from tests.pipeline.spheres import pixel_centres

CPU = torch.device("cpu")


def view_of(mesh: EyeMesh, size: tuple[int, int]) -> MeshView:
    return MeshView(sort_mesh(mesh.points, mesh.places, mesh.triangles, 0.02), size, CPU)


@pytest.mark.parametrize("cells", [1, 5, 24])
def test_every_pixel_of_the_picture_is_found_again(cells: int) -> None:
    mesh = lens_mesh(cells=cells, half_angle=60, yaw=7)
    height, width = 90, 110
    directions = torch.from_numpy(directions_in_picture(mesh, height, width))
    assert directions.norm(dim=-1).min() > 0.99, "the mesh covers the picture"
    places, found = view_of(mesh, (height, width)).positions(directions)
    assert found.all()
    expected = torch.stack(pixel_centres((height, width)), -1)
    assert float((places - expected).abs().max()) < 1e-5


def test_a_mesh_of_a_known_lens_is_that_lens() -> None:
    mesh, lens = fisheye_mesh(190, rings=90, spokes=180), Fisheye(100, 100, 190)
    directions, _ = Equirectangular(64, 64).directions(*pixel_centres((64, 64)))
    places, found = view_of(mesh, lens.size).positions(directions)
    expected, inside = lens.positions(directions)
    assert bool((found | ~inside)[expected.sub(0.5).norm(dim=-1) < 0.495].all())
    assert float((places - expected)[found].abs().max()) < 5e-4


def test_a_whole_sphere_is_found_all_around() -> None:
    view = view_of(equirect_mesh(360, cells=60), (60, 120))
    whole = Equirectangular(50, 100, 360)
    directions, _ = whole.directions(*pixel_centres(whole.size))
    places, found = view.positions(directions)
    assert found.all(), "no crack between triangles, at the poles, or where the circle closes"
    off = places - torch.stack(pixel_centres(whole.size), -1)
    off[..., 0] -= off[..., 0].round()
    assert float(off.abs()[3:-3].max()) < 2e-3


def test_nothing_is_shown_beside_the_mesh_and_behind_it() -> None:
    view = view_of(lens_mesh(half_angle=40), (80, 80))
    directions = torch.tensor([[0.0, 0, -1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]).double()
    assert view.positions(directions)[1].tolist() == [False, False, False, True]


def test_points_may_lie_at_any_distance() -> None:
    near = lens_mesh(cells=4)
    far = EyeMesh(near.points * 250, near.places, near.triangles)
    directions = torch.from_numpy(directions_in_picture(near, 40, 40))
    one, other = (view_of(mesh, (40, 40)).positions(directions)[0] for mesh in (near, far))
    assert float((one - other).abs().max()) < 1e-5


def test_a_heap_of_triangles_is_refused() -> None:
    around = np.array([[1.0, 0, 0.01], [-1, 0.02, 0.01], [0, -1, 0.01]])
    heap = np.tile(np.arange(3), (1 << 17, 1))
    with pytest.raises(ValueError, match="upon each other"):
        sort_mesh(around, np.zeros((3, 2)), heap, 0.01)
    with pytest.raises(ValueError, match="no triangle that is seen"):
        sort_mesh(around * [1, 1, 0], np.zeros((3, 2)), heap[:1], 0.01)


def test_a_part_of_a_sphere() -> None:
    view = PartOfSphere(60, 80, Bounds(0.1, 0.2, 0.3, 0.25))
    whole = Equirectangular(100, 200, 360)
    directions, _ = whole.directions(*pixel_centres(whole.size))
    places, found = view.positions(directions)
    assert found[10:80, 60:150].all()
    assert int(found.sum()) == 70 * 90
    u, v = pixel_centres((70, 90))
    assert float((places[10:80, 60:150] - torch.stack([u, v], -1)).abs().max()) < 1e-9
