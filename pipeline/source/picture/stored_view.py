"""Decides how a file's picture is seen where its metadata describe the eyes: meshes, parts of a
sphere, pose. What no player would show rightly is to be resampled when it is decoded.

Runs in the probe's process: loads no torch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.contract import Layout, ProjectionName, StoredView, eye_size
from pipeline.pixels.mesh_cells import MeshCells, sort_mesh
from pipeline.source.picture.layout import View, find_view, misfit
from pipeline.source.picture.mesh_facts import (
    halves,
    in_halves,
    known_projection,
    pixels_per_radian,
    widest_angle,
)
from pipeline.source.signature import Container
from pipeline.vr_tags.in_files import FoundTags, named_bounds
from pipeline.vr_tags.in_names import read_tags
from pipeline.vr_tags.mesh import EyeMesh, MeshError, parse_meshes
from pipeline.vr_tags.stored import (
    NO_POSE,
    STEREO_CUSTOM,
    Pose,
    StoredSphere,
    read_stored,
)

#: Pixels of an eye's height, at the most: 8192x4096 and 4096x4096 for both eyes.
_LARGEST_180, _LARGEST_360 = 4096, 2048
_SMALLEST = 16
#: Degrees from straight ahead: what goes a little beyond 90 is cut off there, as lenses' rims are.
_HALF_SPHERE, _WIDEST_180 = 92.0, 115.0
#: Of the logarithm of width by height: a crop in pixels has the shape of the eye.
_SAME_SHAPE = 0.07
#: Pixels around a triangle in which it is found: neighbours of what is shown are looked at.
_MARGIN_PIXELS = 4.0


@dataclass(frozen=True, slots=True)
class Sphere:
    """How a file's picture is to be seen.

    Attributes:
        view: of the picture as decoding gives it.
        width, height: of that, in pixels, both eyes together.
        pose: yaw, pitch and roll, in degrees.
        stored: the picture in the file, where decoding resamples it.
        notes: for the person who reads the plan.
    """

    view: View
    width: int
    height: int
    pose: Pose = NO_POSE
    stored: StoredView | None = None
    notes: tuple[str, ...] = ()


def find_sphere(
    path: Path,
    upright: tuple[int, int],
    *,
    container: Container,
    track: int,
    stream_metadata: Mapping[str, str],
    said: FoundTags,
    layout: Layout | None,
    projection: ProjectionName | None,
) -> Sphere:
    """How to see the picture of a file.

    Args:
        upright: (width, height), both eyes together, in pixels.
        track: of the picture, as `pipeline.vr_tags.stored` counts.
        said: what FFmpeg says.
        layout, projection: what was asked for.

    Raises:
        OSError: the file cannot be read.
    """
    header = read_stored(path, container, track, stream_metadata)
    notes = list(header.notes)
    if header.mesh is not None:
        try:
            found = _by_mesh(path.stem, upright, track, header, said, layout, projection)
        except MeshError as error:
            notes.append(f"the file's mesh projection cannot be used: {error}")
        else:
            if found is not None:
                return _finished(found, header.pose or NO_POSE, notes)
            notes.append("the file's mesh projection is not used, as a projection was asked for")
    pose = said.pose if header.pose is None else header.pose
    if header.crop is not None and said.bounds is None:
        said = replace(said, projection=named_bounds(header.crop), bounds=header.crop)
    found = _by_bounds(path.stem, upright, track, header, said, layout, projection)
    return _finished(found, pose, notes)


def eye_meshes(content: bytes, stored: StoredView) -> tuple[EyeMesh, ...]:
    """The mesh of each eye, with places in that eye's part of the picture.

    Raises:
        MeshError: they cannot be used.
    """
    meshes = parse_meshes(content)
    if stored.whole_places:
        meshes = in_halves(meshes, stored.layout, stored.right_first)
    return tuple(meshes[min(eye, len(meshes) - 1)] for eye in range(stored.eyes))


def sorted_mesh(mesh: EyeMesh, eye_height: int) -> MeshCells:
    """Ready to be asked by pixels of eyes of that height, which span 180 degrees.

    Raises:
        MeshError: it cannot be used.
    """
    try:
        margin = _MARGIN_PIXELS * math.pi / eye_height
        return sort_mesh(mesh.points, mesh.places, mesh.triangles, margin)
    except ValueError as error:
        raise MeshError(str(error)) from error


def _by_mesh(
    stem: str,
    upright: tuple[int, int],
    track: int,
    header: StoredSphere,
    said: FoundTags,
    layout: Layout | None,
    projection: ProjectionName | None,
) -> Sphere | None:
    """None: another projection was asked for. Raises MeshError."""
    assert header.mesh is not None
    meshes = parse_meshes(header.mesh)
    if projection is not None:
        return None
    tags = read_tags(stem)
    named = layout or said.layout or tags.layout or "mono"
    custom = len(meshes) == 2 and layout is None
    custom &= header.stereo_mode == STEREO_CUSTOM or named == "mono"
    if custom:
        where, right_first = halves(meshes)
        reason = "the file's meshes say so"
    else:
        where = named
        if layout is not None:
            reason = "as asked"
        elif said.layout is not None:
            reason = "the file's metadata say so"
        else:
            reason = f"name has {tags.layout_word!r}" if tags.layout_word else "one mesh"
        right_first = said.layout == where and bool(said.right_first)
        if said.layout is None and tags.layout == where:
            right_first = tags.right_first
    eyes = 2 if custom or where != "mono" else 1
    width, height = upright
    stored = StoredView(
        width,
        height,
        where,
        right_first,
        eyes,
        mesh_sha256=hashlib.sha256(header.mesh).hexdigest(),
        track=track,
        whole_places=custom,
    )
    own = eye_meshes(header.mesh, stored)
    eye_height, eye_width = eye_size(where, height, width)
    halved = where != "mono" or eyes == 1
    if halved and (name := known_projection(own)) is not None:
        view = View(where, right_first, reason, name, "the file's mesh is one")
        return Sphere(view, width, height)
    angle = max(widest_angle(mesh) for mesh in own)
    density = max(pixels_per_radian(mesh, eye_width, eye_height) for mesh in own)
    found = _resampled(stored, angle <= _WIDEST_180, density * math.pi, "the file's mesh")
    for mesh in {id(mesh): mesh for mesh in own}.values():
        sorted_mesh(mesh, found.height)
    if _HALF_SPHERE < angle <= _WIDEST_180:
        note = f"its mesh shows {2 * angle:.0f} degrees; what lies beyond 180 is cut off"
        found = replace(found, notes=(*found.notes, note))
    return found


def _by_bounds(
    stem: str,
    upright: tuple[int, int],
    track: int,
    header: StoredSphere,
    said: FoundTags,
    layout: Layout | None,
    projection: ProjectionName | None,
) -> Sphere:
    """As name, FFmpeg and shape say; a part of a sphere becomes half of one or all of it."""
    width, height = upright
    view = find_view(stem, width, height, container=said, layout=layout, projection=projection)
    seen = Sphere(view, width, height)
    edge = said.bounds
    if edge is None or said.projection is not None:
        return seen
    across, down = 360 * (1 - edge.left - edge.right), 180 * (1 - edge.top - edge.bottom)
    words = f"{across:.4g}x{down:.4g} degrees"
    named = read_tags(stem).projection
    if projection is not None or named not in (None, "equirect180", "equirect360"):
        note = f"the file's metadata say {words} of a sphere, which is not used"
        return replace(seen, notes=(f"{note} ({view.projection_reason})",))
    eye_height, eye_width = eye_size(view.layout, height, width)
    if header.crop is not None and not _has_shape(across / down, eye_width / eye_height):
        note = f"the crop in the file's metadata ({words}) does not fit an eye of"
        return replace(seen, notes=(f"{note} {eye_width}x{eye_height}, and is ignored",))
    eyes = 1 if view.layout == "mono" else 2
    stored = StoredView(width, height, view.layout, view.right_first, eyes, edge, track=track)
    farthest = 360 * (0.5 - min(edge.left, edge.right))
    side = max(eye_width / across, eye_height / down) * 180
    found = _resampled(stored, farthest <= _HALF_SPHERE, side, f"the {words} in the metadata")
    return replace(found, view=replace(found.view, layout_reason=view.layout_reason))


def _has_shape(stated: float, eye: float) -> bool:
    """Whole or squeezed to half its width or height."""
    return any(abs(math.log(stated * half / eye)) <= _SAME_SHAPE for half in (0.5, 1.0, 2.0))


def _resampled(stored: StoredView, half_sphere: bool, side: float, source: str) -> Sphere:
    """The view that decoding gives.

    Args:
        side: rows of an eye as dense as the stored picture.
        source: what it is resampled from, in words.
    """
    largest = _LARGEST_180 if half_sphere else _LARGEST_360
    rows = int(min(max(2 * round(side / 2), _SMALLEST), largest))
    columns = rows if half_sphere else 2 * rows
    layout: Layout = "mono" if stored.eyes == 1 else "sbs" if half_sphere else "tb"
    width = columns * 2 if layout == "sbs" else columns
    height = rows * 2 if layout == "tb" else rows
    name: ProjectionName = "equirect180" if half_sphere else "equirect360"
    reason = f"resampled from {source}"
    notes = [
        f"its picture ({stored.width}x{stored.height}) is resampled from {source} to"
        f" {name}, {width}x{height}, as players know it"
    ]
    if side > largest + 2:
        notes.append(f"its eyes would have {side:.0f} rows at full density, and get {rows}")
    view = View(layout, False, "two eyes, resampled", name, reason)
    if layout == "mono":
        view = replace(view, layout_reason="one eye, resampled")
    return Sphere(view, width, height, stored=stored, notes=tuple(notes))


def _finished(found: Sphere, pose: Pose, notes: Sequence[str]) -> Sphere:
    """With its pose, and all that there is to be said."""
    more = [*notes, *found.notes, *_on_pose(found.view, pose)]
    if found.stored is None and (note := misfit(found.view, found.width, found.height)):
        more.append(note)
    return replace(found, pose=pose, notes=tuple(more))


def _on_pose(view: View, pose: Pose) -> Iterator[str]:
    if not any(pose):
        return
    yaw, pitch, roll = (f"{angle:g}" for angle in pose)
    words = f"the file's pose (yaw {yaw}, pitch {pitch}, roll {roll} degrees)"
    if view.projection.startswith("equirect"):
        yield f"{words} is kept in the tags of the output; players that go by names ignore it"
    else:
        yield f"{words} is left out: there is no tag for it in {view.projection}"
