"""Projection: every direction lands where the formulas say, and no detail is made up or lost."""

from __future__ import annotations

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.pixels.projection import Equirectangular, Fisheye, Projection
from pipeline.pixels.sampling import project, sampling_grid
from tests.pipeline.spheres import circle, paint_world, pixel_centres, psnr

SIZE = 128
FIELDS = [180.0, 190.0, 200.0, 220.0]


@pytest.mark.parametrize("degrees", FIELDS)
@pytest.mark.parametrize("longitudes", [180, 360])
def test_there_and_back_again(longitudes: int, degrees: float) -> None:
    flat = Equirectangular(SIZE, SIZE * longitudes // 180, longitudes)
    # A wider lens shows the same world smaller: as many pixels a degree as the source has.
    side = round(SIZE * degrees / 180)
    round_eye = Fisheye(side, side, degrees)
    world = paint_world(flat)[None]
    seen = project(world, flat, round_eye)
    back = project(seen, round_eye, flat)

    directions, _ = flat.directions(*pixel_centres(flat.size))
    angle = torch.rad2deg(torch.acos(directions[..., 2].clamp(-1, 1)))
    assert psnr(back, world, angle <= degrees / 2) >= 40
    pixel = 180 / SIZE
    assert float(back[..., angle > degrees / 2 + 3 * pixel].abs().sum()) == 0


@pytest.mark.parametrize("degrees", FIELDS)
@pytest.mark.parametrize("longitudes", [180, 360])
@pytest.mark.parametrize("shrink", [1, 3])
def test_the_picture_is_what_such_a_lens_sees(longitudes: int, degrees: float, shrink: int) -> None:
    flat = Equirectangular(SIZE, SIZE * longitudes // 180, longitudes)
    eye = Fisheye(SIZE // shrink, SIZE // shrink, degrees)
    seen = project(paint_world(flat)[None], flat, eye)[0]
    truth = paint_world(eye)
    directions, _ = eye.directions(*pixel_centres(eye.size))
    inside = circle(eye.size, less=1.5)
    if longitudes == 180:
        inside &= directions[..., 2] > 0.03
    assert psnr(seen, truth, inside) >= 50


@pytest.mark.parametrize("side", [2 * SIZE, SIZE * 3 // 4])
def test_no_seam_where_a_full_circle_closes(side: int) -> None:
    """Behind the viewer, where the two edges of the source meet, and across the poles."""
    flat, eye = Equirectangular(SIZE, 2 * SIZE, 360), Fisheye(side, side, 320)
    seen = project(paint_world(flat)[None], flat, eye)[0]
    error = (seen - paint_world(eye)).abs()[:, circle(eye.size, less=1.5)]
    assert float(error.max()) <= 0.03


def test_fisheye_sources_too() -> None:
    eye, flat = Fisheye(SIZE, SIZE, 200), Equirectangular(SIZE, SIZE)
    everywhere = torch.ones(flat.size, dtype=torch.bool)
    seen = project(paint_world(eye)[None], eye, flat)[0]
    assert psnr(seen, paint_world(flat), everywhere) >= 45


# Worked out by hand from the angles: degrees to the right and down; fisheye 180; place in 0..1.
DOTS = [
    (0, 0, 0.5, 0.5),
    (45, 0, 0.75, 0.5),
    (-45, 0, 0.25, 0.5),
    (0, -45, 0.5, 0.25),
    (0, 60, 0.5, 0.8333),
    (45, 30, 0.72479, 0.68356),
    (-45, -30, 0.27521, 0.31644),
]


@pytest.mark.parametrize(("right", "down", "u", "v"), DOTS)
@pytest.mark.parametrize("degrees", FIELDS)
def test_a_dot_lands_on_its_pixel(
    right: float, down: float, u: float, v: float, degrees: float
) -> None:
    size = 360  # two pixels a degree: the dot is the four pixels around a corner
    picture = torch.zeros(1, 1, size, size)
    row, column = 180 + round(2 * down), 180 + round(2 * right)
    picture[..., row - 1 : row + 1, column - 1 : column + 1] = 1
    seen = project(picture, Equirectangular(size, size), Fisheye(size, size, degrees))[0, 0]
    us, vs = pixel_centres((size, size))
    found = ((seen * us).sum() / seen.sum(), (seen * vs).sum() / seen.sum())
    narrow = 180 / degrees
    expected = (0.5 + (u - 0.5) * narrow, 0.5 + (v - 0.5) * narrow)
    for place, wanted in zip(found, expected, strict=True):
        assert abs(float(place) - wanted) * size <= 0.1


@pytest.mark.slow
def test_a_dot_lands_on_its_pixel_at_8k() -> None:
    """45 degrees to the right and down; places on 4096 pixels are exact to a part of a pixel."""
    size = 4096
    picture = torch.zeros(1, 1, size, size, dtype=torch.uint8)
    picture[..., 3071:3073, 3071:3073] = 255
    seen = project(picture, Equirectangular(size, size), Fisheye(size, size))[0, 0]
    rows, columns = seen.nonzero(as_tuple=True)
    weight = seen[rows, columns].double()
    found = [float((weight * (at + 0.5)).sum() / weight.sum()) for at in (columns, rows)]
    assert found == pytest.approx([0.692450 * size, 0.772166 * size], abs=0.05)


@pytest.mark.parametrize(
    ("source", "options", "target", "width", "height"),
    [
        (
            Equirectangular(160, 160),
            "hequirect:fisheye:h_fov=180:v_fov=180",
            Fisheye(160, 160),
            160,
            160,
        ),
        (
            Equirectangular(160, 320, 360),
            "e:fisheye:h_fov=200:v_fov=200",
            Fisheye(160, 160, 200),
            160,
            160,
        ),
        (
            Fisheye(160, 160, 190),
            "fisheye:hequirect:ih_fov=190:iv_fov=190",
            Equirectangular(160, 160),
            160,
            160,
        ),
    ],
)
def test_as_ffmpeg_does_it(
    source: Projection, options: str, target: Projection, width: int, height: int
) -> None:
    world = paint_world(source)
    picture = world.mul(255).round().to(torch.uint8)
    ours = project(picture[None], source, target)[0]
    theirs = v360(picture, f"{options}:w={width}:h={height}:interp=cubic", target.size)
    inside = circle(target.size, less=1) if isinstance(target, Fisheye) else ours[0] >= 0
    assert psnr(ours / 255, theirs / 255, inside) >= 35


def v360(picture: Tensor, options: str, size: tuple[int, int]) -> Tensor:
    """uint8 ``[3, H, W]`` through FFmpeg's filter; planes are planes, whatever their names."""
    height, width = picture.shape[1:]
    raw = ["-f", "rawvideo", "-pix_fmt", "gbrp"]
    done = subprocess.run(
        [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *raw, "-s", f"{width}x{height}"),
            *("-i", "-", "-vf", f"v360={options}", "-frames:v", "1", *raw, "-"),
        ],
        input=picture.numpy().tobytes(),
        capture_output=True,
        check=True,
    )
    return torch.from_numpy(np.frombuffer(done.stdout, np.uint8).copy()).view(3, *size)


@pytest.mark.parametrize("degrees", FIELDS)
def test_left_and_right_are_alike(degrees: float) -> None:
    flat, eye = Equirectangular(128, 128), Fisheye(128, 128, degrees)
    world = paint_world(flat)[None]
    seen = project(world, flat, eye)
    mirrored = project(world.flip(-1), flat, eye).flip(-1)
    upside_down = project(world.flip(-2), flat, eye).flip(-2)
    assert float((seen - mirrored).abs().max()) <= 1e-4
    assert float((seen - upside_down).abs().max()) <= 1e-4


@pytest.mark.parametrize(
    "view", [Equirectangular(96, 96), Equirectangular(96, 192, 360), Fisheye(96, 96, 190)]
)
def test_the_same_projection_changes_no_pixel(view: Projection) -> None:
    noise = torch.randint(0, 256, (1, 3, *view.size), dtype=torch.uint8)
    inside = circle(view.size, less=1.5) if isinstance(view, Fisheye) else noise[0, 0] >= 0
    assert torch.equal(project(noise, view, view)[..., inside], noise[..., inside])


@pytest.mark.parametrize("cell", [1, 2])
@pytest.mark.parametrize("shrink", [4, 6, 8])
@pytest.mark.parametrize("to_fisheye", [True, False])
def test_what_is_too_fine_becomes_grey(cell: int, shrink: int, to_fisheye: bool) -> None:
    size = 384
    board = (torch.arange(size)[:, None] // cell + torch.arange(size) // cell) % 2
    small = size // shrink
    source: Projection = Equirectangular(size, size) if to_fisheye else Fisheye(size, size)
    target: Projection = Fisheye(small, small) if to_fisheye else Equirectangular(small, small)
    seen = project(board.float()[None, None], source, target)[0, 0]
    # Towards the poles of an equirectangular target there is no shrinking along the rows.
    error = (seen - 0.5)[circle(target.size, less=1.5 if to_fisheye else small / 6)]
    assert float(error.square().mean().sqrt()) <= 0.05  # of 0.5 where pixels are merely picked
    assert abs(float(error.mean())) <= 0.003


@pytest.mark.parametrize("cell", [1, 2])
@pytest.mark.parametrize("turned", [False, True])
def test_edges_are_averaged_like_the_middle(cell: int, turned: bool) -> None:
    stripes = ((torch.arange(240) // cell) % 2).float().expand(1, 1, 240, 240)
    if turned:
        stripes = stripes.mT
    seen = project(stripes, Equirectangular(240, 240), Equirectangular(48, 48))
    assert float((seen - 0.5).abs().max()) <= 0.15


def test_the_rim_is_not_darkened_by_what_lies_outside() -> None:
    flat, eye = Equirectangular(128, 128), Fisheye(128, 128)
    white = circle(eye.size).float()[None, None]
    assert float(project(white, eye, flat).min()) >= 1 - 1e-6
    assert float(project(white, eye, Equirectangular(40, 40)).min()) >= 1 - 1e-6
    # Nor is the edge of what a source shows, inside a wider lens.
    wide = Fisheye(128, 128, 220)
    seen = project(torch.ones(1, 1, 128, 128), flat, wide)
    assert float(project(seen, wide, flat).min()) >= 1 - 1e-6
    grey = project(torch.ones(1, 1, 128, 128), flat, eye, fill=0.25)[0, 0]
    assert set(grey[circle(eye.size)].tolist()) == {1.0}
    assert set(grey[~circle(eye.size)].tolist()) == {0.25}


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    height=st.integers(2, 70),
    width=st.integers(2, 70),
    side=st.integers(2, 70),
    degrees=st.sampled_from(FIELDS),
    round_source=st.booleans(),
    dtype=st.sampled_from([torch.uint8, torch.float16, torch.float32]),
)
def test_values_stay_in_their_range(
    seed: int,
    height: int,
    width: int,
    side: int,
    degrees: float,
    round_source: bool,
    dtype: torch.dtype,
) -> None:
    """Any size, half width too; alpha of hard 0 and 1 stays in 0..1."""
    draw = torch.Generator().manual_seed(seed)
    top = 255 if dtype == torch.uint8 else 1
    matte = (torch.randint(0, 2, (2, 1, height, width), generator=draw) * top).to(dtype)
    views = Fisheye(height, width, degrees), Equirectangular(side, side)
    pair = views if round_source else (Equirectangular(height, width), Fisheye(side, side, degrees))
    seen = project(matte, *pair)
    assert seen.dtype == dtype
    assert seen.shape == (2, 1, side, side)
    assert float(seen.min()) >= 0
    assert float(seen.max()) <= top
    # Eyes are projected by themselves.
    assert torch.equal(project(matte[1:], *pair)[0], seen[1])


def test_full_and_half_width_eyes_show_the_same() -> None:
    full, half = Equirectangular(128, 128), Equirectangular(128, 64)
    eye = Fisheye(96, 96)
    seen = project(paint_world(full)[None], full, eye)
    squeezed = project(paint_world(half)[None], half, eye)
    assert psnr(seen, squeezed, circle(eye.size)) >= 40


def test_the_grid_is_made_once() -> None:
    pair = Equirectangular(32, 32), Fisheye(32, 32)
    first = sampling_grid(*pair, torch.device("cpu"))
    again = sampling_grid(Equirectangular(32, 32), Fisheye(32, 32), torch.device("cpu"))
    assert again is first
    assert sampling_grid(pair[0], Fisheye(32, 32, 190), torch.device("cpu")) is not first


def test_what_does_not_fit_is_refused() -> None:
    flat, eye = Equirectangular(32, 32), Fisheye(32, 32)
    with pytest.raises(ValueError, match=r"\[N,C,32,32\]"):
        project(torch.zeros(1, 3, 32, 30), flat, eye)
    with pytest.raises(ValueError, match="uint8 or floating"):
        project(torch.zeros(1, 3, 32, 32, dtype=torch.int32), flat, eye)
    with pytest.raises(ValueError, match="at most 360"):
        Fisheye(32, 32, 400)
    with pytest.raises(ValueError, match="positive"):
        Equirectangular(0, 32)
