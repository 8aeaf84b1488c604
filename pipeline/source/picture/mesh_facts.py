"""Finds out what a mesh is: a known projection, how dense, how wide, where in the picture.

Runs in the probe's process: loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np

from pipeline.contract import Layout, ProjectionName
from pipeline.vr_tags.mesh import EyeMesh, Floats

_DEGREES: dict[ProjectionName, int] = {
    name: int(name[-3:]) for name in get_args(ProjectionName) if name != "flat"
}
#: Of the picture's side, and of the whole of it: a camera's own projection differs by far more.
_SAME = 1e-3
_WHOLE = 0.99
_HALVES_OVERLAP = 0.01
_AHEAD = 20.0  # degrees


def known_projection(meshes: Sequence[EyeMesh]) -> ProjectionName | None:
    """The projection whose formula all vertices of all eyes obey, to a thousandth of its side."""
    return next((name for name in _DEGREES if all(_shows(m, name) for m in meshes)), None)


def pixels_per_radian(mesh: EyeMesh, width: int, height: int) -> float:
    """How dense an eye's picture is straight ahead, where people are, in its denser direction.

    The median over 20 degrees around; over everything where the mesh shows nothing there.

    Args:
        width, height: of the eye's picture, in pixels.
    """
    points = mesh.points / np.linalg.norm(mesh.points, axis=1).clip(1e-30)[:, None]
    a, b, c = (points[corner] for corner in mesh.triangles.T)
    u, v, w = (mesh.places[corner] * (width, height) for corner in mesh.triangles.T)
    # Each triangle in a plane of its own: one side along the first axis.
    along = np.linalg.norm(b - a, axis=1)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    good = (along > 1e-9) & (area > 1e-12)
    ahead = good & ((a + b + c)[:, 2] / 3 > math.cos(math.radians(_AHEAD)))
    used = ahead if ahead.any() else good
    if not used.any():
        return 1.0
    along, area = along[used], area[used]
    across = ((c - a)[used] * (b - a)[used]).sum(1) / along
    first = (v - u)[used] / along[:, None]
    second = ((w - u)[used] - first * across[:, None]) * (along / area)[:, None]
    stretch = np.linalg.norm(np.stack([first, second], -1), 2, axis=(1, 2))
    order = np.argsort(stretch)
    share = np.cumsum(area[order])
    return float(stretch[order][np.searchsorted(share, share[-1] / 2)])


def widest_angle(mesh: EyeMesh) -> float:
    """Degrees from straight ahead to the farthest direction that the mesh shows."""
    points = mesh.points[np.unique(mesh.triangles)]
    x, y, z = points.T
    return float(np.degrees(np.arctan2(np.hypot(x, y), z).max()))


def halves(meshes: Sequence[EyeMesh]) -> tuple[Layout, bool]:
    """(layout, right_first) of two meshes by the parts of the whole picture that they use.

    "mono" where these are no halves: each eye then uses all of it.
    """
    left, right = (mesh.places[np.unique(mesh.triangles)] for mesh in meshes)
    layouts: tuple[Layout, ...] = ("sbs", "tb")
    for axis, layout in enumerate(layouts):
        pairs = ((left, right, False), (right, left, True))
        for first, second, right_first in pairs:
            ends = first[:, axis].max() <= 0.5 + _HALVES_OVERLAP
            if ends and second[:, axis].min() >= 0.5 - _HALVES_OVERLAP:
                return layout, right_first
    return "mono", False


def in_halves(meshes: Sequence[EyeMesh], layout: Layout, right_first: bool) -> tuple[EyeMesh, ...]:
    """Meshes of both eyes with places in the whole picture -> in each eye's half of it."""
    if layout == "mono":
        return tuple(meshes)
    axis = 0 if layout == "sbs" else 1
    moved = []
    for eye, mesh in enumerate(meshes):
        places = mesh.places.copy()
        places[:, axis] = places[:, axis] * 2 - ((eye == 1) != right_first)
        moved.append(replace(mesh, places=places))
    return tuple(moved)


def _shows(mesh: EyeMesh, name: ProjectionName) -> bool:
    used = np.unique(mesh.triangles)
    points, places = mesh.points[used], mesh.places[used]
    lengths = np.linalg.norm(points, axis=1)
    if lengths.min() <= 0:
        return False
    expected, size = _positions(points / lengths[:, None], name)
    off = places - expected
    if name == "equirect360":
        off[:, 0] -= off[:, 0].round()
    extent = np.ptp(places, axis=0)
    return bool((np.abs(off * size) <= _SAME).all() and (extent >= _WHOLE).all())


def _positions(units: Floats, name: ProjectionName) -> tuple[Floats, Floats]:
    """(u, v) of directions, and how much a difference in each counts; formulas as in
    `pipeline.pixels.projection`."""
    x, y, z = units.T
    degrees = _DEGREES[name]
    level = np.hypot(x, z)
    if name.startswith("equirect"):
        u = np.arctan2(x, z) / math.radians(degrees) + 0.5
        v = np.arctan2(y, level) / math.pi + 0.5
        return np.stack([u, v], -1), np.stack([level, np.ones_like(level)], -1)
    side = np.hypot(x, y)
    slope = np.arctan2(side, z) / math.radians(degrees / 2) / side.clip(1e-12)
    return np.stack([slope * x, slope * y], -1) / 2 + 0.5, np.ones((len(x), 2))
