"""Shows the eyes of a stored picture as the video's own projection has them, when it is decoded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import Layout, ProjectionName, StoredView, VideoInfo, eye_size
from pipeline.errors import InputError
from pipeline.pixels.eyes import split
from pipeline.pixels.projection import SourceView, named_projection
from pipeline.pixels.sampling import GridStrip, draw_eye, make_grid
from pipeline.pixels.stored_views import MeshView, PartOfSphere
from pipeline.source.picture.stored_view import eye_meshes, sorted_mesh
from pipeline.source.signature import Container
from pipeline.text import printable
from pipeline.vr_tags.mesh import MeshError
from pipeline.vr_tags.stored import read_stored

#: A grid takes up to 25 bytes a pixel of an eye; those who use one hold it themselves.
_KEPT = 2
_making = Lock()  # two lanes of one video share one, and do not make two


@dataclass(frozen=True, slots=True, eq=False)
class EyeResampler:
    """Resamples whole pictures of one video. Shared by its readers; does not change.

    Attributes:
        layout, right_first: of the picture that is given; "mono" with two eyes: each uses all.
        shown: of the picture that is drawn, its left eye first.
        views, grids: of each eye, the left one first.
        seen: bool ``[E, 1, H, W]``, where the eyes show anything.
    """

    layout: Layout
    right_first: bool
    shown: Layout
    views: tuple[SourceView, ...]
    grids: tuple[tuple[GridStrip, ...], ...]
    seen: Tensor

    def draw(self, picture: Tensor, out: Tensor) -> None:
        """Show the upright stored picture, uint8 ``[3, H, W]``, in ``out``; black beside it."""
        pad = (0, picture.shape[2] % 2, 0, picture.shape[1] % 2)
        if any(pad):
            picture = F.pad(picture[None].float(), pad, mode="replicate")[0].to(torch.uint8)
        given = split(picture[None], self.layout, self.right_first)[0]
        shown = split(out[None], self.shown)[0]
        for eye, (view, grid) in enumerate(zip(self.views, self.grids, strict=True)):
            draw_eye(given[min(eye, len(given) - 1)], view, grid, shown[eye])


def resampler_of(video: VideoInfo, device: torch.device) -> EyeResampler | None:
    """What a video's pictures go through when they are decoded; None where they stay as they are.

    Raises:
        InputError: the file's mesh is not the one that was probed.
    """
    if video.stored is None:
        return None
    height, width = video.eye_size
    with _making:
        return _resampler(
            video.path,
            "mov" if "mov" in video.container else "matroska",
            video.stored,
            (height, width),
            video.projection,
            video.layout,
            device,
        )


@lru_cache(maxsize=_KEPT)
def _resampler(
    path: str,
    container: Container,
    stored: StoredView,
    size: tuple[int, int],
    projection: ProjectionName,
    layout: Layout,
    device: torch.device,
) -> EyeResampler:
    target = named_projection(projection, *size)
    assert target is not None  # nothing is resampled to what is flat
    even = (stored.height + stored.height % 2, stored.width + stored.width % 2)
    eye = eye_size(stored.layout, *even)
    if stored.bounds is not None:
        views: list[SourceView] = [PartOfSphere(*eye, stored.bounds)] * stored.eyes
    else:
        views = _mesh_views(path, container, stored, eye, size[0], device)
    made = {view: make_grid(view, target, device) for view in views}
    grids = tuple(made[view] for view in views)
    seen = torch.zeros(len(grids), 1, *size, dtype=torch.bool, device=device)
    for shown, grid in zip(seen, grids, strict=True):
        for strip in grid:
            rows, columns = strip.hidden.shape
            place = shown[0, strip.top : strip.top + rows, strip.left : strip.left + columns]
            place.copy_(~strip.hidden)
    if device.type == "cuda":  # the readers of other lanes have streams of their own
        torch.cuda.current_stream(device).synchronize()
    return EyeResampler(stored.layout, stored.right_first, layout, tuple(views), grids, seen)


def _mesh_views(
    path: str,
    container: Container,
    stored: StoredView,
    eye: tuple[int, int],
    rows: int,
    device: torch.device,
) -> list[SourceView]:
    """The view of each eye; one and the same object for both where they share a mesh."""
    try:
        content = read_stored(Path(path), container, stored.track).mesh or b""
        if hashlib.sha256(content).hexdigest() != stored.mesh_sha256:
            raise MeshError("it is not the one that was probed")
        meshes = eye_meshes(content, stored)
        views = {id(mesh): MeshView(sorted_mesh(mesh, rows), eye, device) for mesh in meshes}
    except (OSError, MeshError) as error:
        raise InputError(
            f"the mesh projection of {printable(path)} cannot be read any more: {error}",
            "run again when the file is whole: it begins anew",
        ) from error
    return [views[id(mesh)] for mesh in meshes]
