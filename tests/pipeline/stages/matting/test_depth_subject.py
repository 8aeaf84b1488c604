"""What the depth model takes for the subject, and which videos it refuses, on drawn scenes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.errors import InputError
from pipeline.pixels.batches import EyeBatch
from pipeline.stages.matting.base import Prepared
from pipeline.stages.matting.depth.model import DepthLayers
from pipeline.torchcodec_import import decoders
from tests.pipeline.demo_truth import Clip
from tests.pipeline.stages.matting.drawn import (
    SIDE,
    Picture,
    Piece,
    above,
    below,
    drawn,
    ellipse,
    plain,
    texture,
)

FAR, NEAR = 2.0, 12.0
WALL = Piece(texture(1), np.ones((SIDE, SIDE), np.float32), FAR)

pytestmark = pytest.mark.usefixtures("one_thread")


def person(x: float = 0.5, disparity: float = NEAR, seed: int = 2) -> Piece:
    return Piece(texture(seed, grey=90), body(x), disparity)


def body(x: float = 0.5) -> Picture:
    """A head, and a body that goes down to the lower edge."""
    return np.maximum(ellipse(x, 0.35, 0.07, 0.09), ellipse(x, 0.85, 0.14, 0.42))


def alpha_of(clip: Clip, frame: int = 0, prepared: Prepared | None = None) -> Tensor:
    """``[2, H, W]``, of a frame by itself."""
    model = DepthLayers()
    state = model.start(2, SIDE, SIDE, model.prepare(clip) if prepared is None else prepared)
    return model.matte(EyeBatch(clip.rgb[frame : frame + 1], 0), state).alpha[0, :, 0]


def seen(mask: Picture, disparity: float, by: int) -> Tensor:
    """A mask as each eye sees it, grown by so many pixels, or shrunk by so many below 0."""
    masks = []
    for eye in (0, 1):
        move = np.array([[1, 0, (0.5 - eye) * disparity], [0, 1, 0]], np.float32)
        shown = cv2.warpAffine(mask, move, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
        window = np.ones((2 * abs(by) + 1, 2 * abs(by) + 1), np.uint8)
        masks.append((cv2.dilate if by > 0 else cv2.erode)(shown, window))
    return torch.from_numpy(np.stack(masks))


def assert_subject(alpha: Tensor, mask: Picture, disparity: float = NEAR) -> None:
    assert float(alpha[seen(mask, disparity, -4) > 0.5].mean()) > 0.95
    assert float(alpha[seen(mask, disparity, 8) < 0.5].mean()) < 0.01


def test_a_person_before_a_wall() -> None:
    assert_subject(alpha_of(drawn([[WALL, person()]])), body())


@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_a_sky_without_texture_is_never_near(noise: float) -> None:
    """Not even where it shades off, and is shaded otherwise in the other eye."""
    shades = np.linspace(0, 60, 2 * SIDE, dtype=np.float32)[None, :, None]
    sky = Piece(plain(150) + shades, above(0.4), 20.0)
    alpha = alpha_of(drawn([[WALL, sky, person()]], noise))
    assert_subject(alpha, body())


def test_what_has_no_texture_is_subject_where_the_subject_encloses_it() -> None:
    shirt = Piece(plain(70), ellipse(0.5, 0.8, 0.09, 0.12), NEAR)
    assert_subject(alpha_of(drawn([[WALL, person(), shirt]])), body())


def test_and_where_it_is_cut_off_by_the_lower_edge() -> None:
    shirt = Piece(plain(70), ellipse(0.5, 0.95, 0.1, 0.2), NEAR)
    assert_subject(alpha_of(drawn([[WALL, person(), shirt]])), body())


def test_a_plain_floor_beside_the_subject_is_not() -> None:
    floor = Piece(plain(105), below(0.8), 8.0)
    assert_subject(alpha_of(drawn([[WALL, floor, person()]])), body())


@pytest.mark.parametrize("nearest", [11.0, 20.0])
def test_the_ground_at_the_lower_edge_is_not_subject(nearest: float) -> None:
    slope = np.interp(np.arange(SIDE), [0.55 * SIDE, SIDE], [FAR, nearest]).astype(np.float32)
    ground = Piece(texture(5), below(0.55), slope)
    standing = np.maximum(ellipse(0.5, 0.3, 0.07, 0.09), ellipse(0.5, 0.52, 0.11, 0.2))
    figure = Piece(texture(2, grey=90), standing, NEAR)
    alpha = alpha_of(drawn([[WALL, ground, figure]]))
    assert_subject(alpha, standing)


def test_furniture_that_is_as_near_is_not_subject_where_someone_moves() -> None:
    chest = Piece(texture(7), below(0.6) * ellipse(0.12, 0.8, 0.1, 0.3), NEAR)
    places = [0.45, 0.5, 0.6, 0.7, 0.8]
    clip = drawn([[WALL, chest, person(x)] for x in places])
    assert_subject(alpha_of(clip, 3), body(places[3]))


EMPTY: dict[str, Sequence[Piece]] = {
    "a wall": [WALL],
    "a wall and a sky": [WALL, Piece(plain(200), above(0.5), 0.0)],
    "a wall and a floor": [
        WALL,
        Piece(texture(5), below(0.6), np.linspace(-13, 18, SIDE, dtype=np.float32)),
    ],
    "nothing": [Piece(plain(100), np.ones((SIDE, SIDE), np.float32), 0.0)],
}


@pytest.mark.parametrize("pieces", EMPTY.values(), ids=EMPTY.keys())
def test_without_a_subject_the_video_is_refused(pieces: Sequence[Piece]) -> None:
    with pytest.raises(InputError, match="the depth model finds no") as refused:
        DepthLayers().prepare(drawn([pieces] * 3))
    assert "--model rvm" in refused.value.advice
    assert "\n" not in str(refused.value)


def test_but_not_where_a_person_points_the_subject_out() -> None:
    clip = drawn([[WALL]] * 3)
    clip.prompts = b"said"
    DepthLayers().prepare(clip)


def test_a_subject_that_comes_late_is_not_refused() -> None:
    DepthLayers().prepare(drawn([[WALL]] * 5 + [[WALL, person(0.3)], [WALL, person(0.6)]]))


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("VRMATTE_MEDIA"), reason="VRMATTE_MEDIA is not set")
def test_a_real_forest_behind_a_dancer() -> None:
    folder = Path(os.environ["VRMATTE_MEDIA"])
    rgb, truth = (
        decoders.VideoDecoder(str(folder / name)).get_frames_in_range(0, 100, 5).data
        for name in ("dancer_LR_180.mp4", "dancer_LR_180_alpha.mkv")
    )
    clip = Clip(torch.stack([rgb[..., :640], rgb[..., 640:]], dim=1))
    model = DepthLayers()
    state = model.start(2, clip.height, clip.width, model.prepare(clip))
    alpha = model.matte(EyeBatch(clip.rgb, 0), state).alpha[:, :, 0] > 0.5
    real = torch.stack([truth[:, 0, :, :640], truth[:, 0, :, 640:]], dim=1) > 127
    iou = (alpha & real).sum(dim=(2, 3)) / (alpha | real).sum(dim=(2, 3))
    assert float(iou.mean()) >= 0.85
