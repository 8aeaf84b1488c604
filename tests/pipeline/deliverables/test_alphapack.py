"""`alphapack` as a file: what a player sees of it, read by a player's formula of its own."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.contract import ColorTags, EncodingSettings, VideoInfo, VideoSettings
from pipeline.deliverables.base import make_deliverable
from pipeline.deliverables.fit import with_encoder
from pipeline.deliverables.formats import packed_picture
from pipeline.errors import InputError
from pipeline.pixels.batches import FrameBatch, MatteBatch
from pipeline.pixels.projection import Equirectangular, Fisheye, Projection
from pipeline.verify.selfcheck import take_sample
from tests.chains import layered
from tests.finished import Floats, decoded, rgba
from tests.nvenc import Ways, works
from tests.pipeline.spheres import circle, paint_world, pixel_centres

SETTINGS = VideoSettings(
    deliverables=("alphapack",),
    encoding=EncodingSettings(encoder="software", hevc_preset="ultrafast"),
)
VIDEO = VideoInfo(
    "/talk.mp4", 1, 1, "", "mov", "hevc", 2048, 1024, "yuv420p", 8, Fraction(30), 300, 300,
    False, ColorTags(), 0, (), "sbs", "name has 'LR'", projection="equirect180",
    projection_reason="name has '180'",
)  # fmt: skip
MARKS = 12  # along a side of an eye
#: The largest at night only; `tests/pipeline/pixels/test_alphapack.py` has it without a file.
HEIGHTS = (1024, 2880, *((4096,) if os.environ.get("VRMATTE_ALL_SIZES") else ()))


def made(video: VideoInfo, rgb: Tensor, alpha: Tensor, folder: Path) -> Floats:
    """One frame through the whole format: encoded, checked, decoded; ``[H, 2H, 3]`` 0..255.

    Args:
        rgb: uint8 ``[3, h, w]`` of the source.
        alpha: float ``[2, 1, h, w / 2]``.
    """
    deliverable = make_deliverable("alphapack", video, SETTINGS)
    layers = layered(FrameBatch(rgb[None], 0), MatteBatch(alpha[None], None, 0), video.layout)
    encoder = deliverable.open_segment(folder / "part.mp4")
    encoder.write(deliverable.planes(layers))
    encoder.close()
    sample = take_sample(layers, 0, 0)
    deliverable.check_segment(folder / "part.mp4", 1, [sample])
    (picture,) = (rgba(frame)[..., :3] for frame in decoded(folder / "part.mp4"))
    return picture


def looked_up(picture: Floats, eye: int, u: Floats, v: Floats) -> Floats:
    """Alpha 0..1 that a player finds for an eye at (u, v): its formula, at the nearest pixel."""
    if eye == 0:
        x, y = 0.4 + 0.2 * u, np.where(v < 0.5, 0.8 + 0.4 * v, 0.4 * v - 0.2)
    else:
        x = np.where(u < 0.5, 0.9, 0.0) + 0.1 * np.modf(2 * u)[0]
        y = np.where(v < 0.5, 0.8, 0.0) + 0.2 * np.modf(2 * v)[0]
    height, width = picture.shape[:2]
    columns = np.minimum((x * width).astype(int), width - 1)
    rows = np.minimum((y * height).astype(int), height - 1)
    found: Floats = picture[rows, columns, 0] / 255
    return found


@pytest.mark.parametrize("height", HEIGHTS)
def test_every_mark_is_where_a_player_looks_for_it(height: int, tmp_path: Path) -> None:
    """A board of marks in each eye, another one in each; the fisheye goes in as it is."""
    video = replace(VIDEO, width=2 * height, height=height, projection="fisheye180")
    draw = np.random.default_rng(height)
    boards = draw.integers(0, 2, (2, MARKS, MARKS))
    size = -(-height // MARKS)
    alpha = np.kron(boards, np.ones((size, size)))[:, :height, :height]
    column = torch.arange(2 * height) * 255 // (2 * height)
    row = torch.arange(height)[:, None] * 255 // height
    rgb = torch.stack(
        [column.expand(height, -1), row.expand(-1, 2 * height), 255 - column + 0 * row]
    )
    picture = made(video, rgb.to(torch.uint8), torch.from_numpy(alpha).float()[:, None], tmp_path)

    assert picture.shape == (height, 2 * height, 3)
    middles = (np.arange(MARKS) + 0.5) * size / height
    u, v = np.meshgrid(middles, middles)
    shown = np.hypot(2 * u - 1, 2 * v - 1) <= 0.95
    assert shown.sum() > 75
    for eye, board in enumerate(boards):
        found = looked_up(picture, eye, u[shown], v[shown])
        assert np.abs(found - board[shown]).max() < 0.1
    inside = np.tile(circle((height, height)).numpy(), 2)
    off = np.abs(picture - rgb.permute(1, 2, 0).numpy())[inside]
    assert off.mean() <= 2.5
    assert off.max() <= 40, "a pixel of the picture was overwritten"


def bump(view: Projection, eye: int) -> Tensor:
    """A soft spot in one direction of the world, another for each eye: ``[H, W]``, 0..1."""
    directions, shown = view.directions(*pixel_centres(view.size, parts=2))
    towards = torch.tensor([(0.5, -0.3, 0.8), (-0.4, 0.2, 0.9)][eye]).double()
    angle = (directions @ (towards / towards.norm())).clamp(-1, 1).acos()
    spot = ((0.5 - angle) / 0.2 + 0.5).clamp(0, 1) * shown
    return torch.nn.functional.avg_pool2d(spot[None], 2)[0].float()


@pytest.mark.parametrize(
    ("projection", "source", "seen"),
    [
        ("equirect180", Equirectangular(512, 512), Fisheye(205, 205)),
        ("equirect180", Equirectangular(512, 256), Fisheye(205, 205)),  # half width
        ("fisheye190", Fisheye(512, 512, 190), Fisheye(205, 205, 190)),
        ("fisheye200", Fisheye(512, 512, 200), Fisheye(205, 205, 200)),
        ("fisheye220", Fisheye(512, 256, 220), Fisheye(205, 205, 220)),
    ],
)
def test_the_matte_lies_in_its_direction(
    projection: str, source: Projection, seen: Fisheye, tmp_path: Path
) -> None:
    """And the picture with it, at the same place of the same world."""
    height, width = source.size
    video = replace(VIDEO, width=2 * width, height=height, projection=projection)  # type: ignore[arg-type]
    worlds = [paint_world(source, seed=eye + 1, fineness=10) for eye in (0, 1)]
    rgb = (torch.cat(worlds, dim=2) * 255).round().to(torch.uint8)
    alpha = torch.stack([bump(source, eye) for eye in (0, 1)])[:, None]
    picture = made(video, rgb, alpha, tmp_path)
    assert picture.shape == (512, 1024, 3)
    for eye in (0, 1):
        u, v = pixel_centres(seen.size)
        near = torch.hypot(2 * u - 1, 2 * v - 1) < 0.99
        found = looked_up(picture, eye, u[near].numpy(), v[near].numpy())
        assert np.abs(found - bump(seen, eye)[near].numpy()).mean() <= 0.01
        shown = picture[:, eye * 512 : (eye + 1) * 512]
        view = Fisheye(512, 512, seen.degrees)
        world = paint_world(view, seed=eye + 1, fineness=10).permute(1, 2, 0).numpy() * 255
        inside = circle(view.size, less=4).numpy()
        assert np.abs(shown - world)[inside].mean() <= 2.5


@pytest.mark.parametrize(
    ("size", "layout", "height"),
    [
        ((2048, 1024), "sbs", 1024),
        ((8192, 4096), "sbs", 4096),
        ((11520, 5760), "sbs", 4096),  # shrunk
        ((2048, 2048), "sbs", 2048),  # half width
        ((2048, 4096), "tb", 2048),
        ((3840, 3840), "tb", 3840),  # half height
        ((2050, 1025), "sbs", 1026),
    ],
)
def test_the_middle_keeps_its_pixels_up_to_what_players_decode(
    size: tuple[int, int], layout: str, height: int
) -> None:
    video = replace(VIDEO, width=size[0], height=size[1], layout=layout)  # type: ignore[arg-type]
    shown = packed_picture(video)
    assert (shown.width, shown.height) == (2 * height, height)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layout": "mono", "layout_reason": "as asked"}, r"it has one eye \(as asked\)"),
        ({"projection": "flat"}, "what an ordinary lens sees"),
        ({"projection": "equirect360"}, "all 360 degrees"),
    ],
)
def test_what_cannot_be_packed_is_refused_before_it_is_begun(
    changes: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        with_encoder(replace(VIDEO, **changes), SETTINGS, works)  # type: ignore[arg-type]


def test_the_encoder_is_chosen_for_the_packed_picture_too() -> None:
    """A half-width source of 4096 x 4096 fits into H.264 by NVENC; its 8192 x 4096 does not."""
    video = replace(VIDEO, width=4096, height=4096)
    nvenc = Ways()
    both = replace(SETTINGS, deliverables=("greenscreen", "alphapack"))
    both = replace(both, encoding=EncodingSettings(codec="h264"))
    assert with_encoder(video, both, nvenc).encoding.encoder == "software"
    alone = replace(both, deliverables=("greenscreen",))
    assert with_encoder(video, alone, nvenc).encoding.encoder == "nvenc"
