"""Which videos the plate model refuses: those whose median still holds the subject."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.errors import InputError
from pipeline.stages.matting.plate import load
from pipeline.stages.matting.plate_facts import PlateOptions
from pipeline.torchcodec_import import decoders
from tests.pipeline.demo_truth import Clip
from tests.pipeline.stages.matting.drawn import SIDE, Piece, drawn, ellipse, texture

WALL = Piece(texture(1), np.ones((SIDE, SIDE), np.float32), 2.0)
FRAMES = 15

pytestmark = pytest.mark.usefixtures("one_thread")


def someone_at(places: list[float], high: float = 0.3) -> Clip:
    return drawn(
        [
            [
                WALL,
                Piece(
                    np.roll(texture(2, grey=70), round(x * SIDE), 1),
                    ellipse(x, 0.6, 0.1, high),
                    8.0,
                ),
            ]
            for x in places
        ]
    )


def prepare(clip: Clip, image: Path | None = None) -> None:
    options = PlateOptions(image=None if image is None else str(image))
    model = load(MattingSettings(options=(options,)), ProcessingSettings(), torch.device("cpu"))
    model.prepare(clip)


def test_who_walks_is_not_in_the_median() -> None:
    prepare(someone_at([0.1 + 0.8 * n / (FRAMES - 1) for n in range(FRAMES)]))


@pytest.mark.parametrize("sway", [0.015, 0.04, 0.08])
def test_who_moves_on_the_spot_is(sway: float) -> None:
    clip = someone_at([0.5 + sway * np.sin(2.3 * n) for n in range(FRAMES)])
    with pytest.raises(InputError, match="still holds the subject") as refused:
        prepare(clip)
    assert "matting.plate_image" in refused.value.advice
    assert "--model rvm" in refused.value.advice
    assert "\n" not in str(refused.value)


def test_who_stands_and_then_leaves_is() -> None:
    with pytest.raises(InputError, match="still holds the subject"):
        prepare(someone_at([0.4] * 9 + [0.6, 0.7, 0.8, 0.9, 1.0, 1.1]))


def test_a_picture_of_the_empty_scene_is_believed(tmp_path: Path) -> None:
    clip = someone_at([0.5 + 0.04 * np.sin(2.3 * n) for n in range(FRAMES)])
    empty = drawn([[WALL]]).rgb[0].permute(0, 2, 3, 1).numpy()
    path = tmp_path / "empty.png"
    cv2.imwrite(str(path), np.ascontiguousarray(np.concatenate(list(empty), axis=1)[..., ::-1]))
    prepare(clip, path)


def test_an_empty_scene_is_not_refused() -> None:
    prepare(drawn([[WALL]] * FRAMES))


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("VRMATTE_MEDIA"), reason="VRMATTE_MEDIA is not set")
@pytest.mark.parametrize("name", ["bedroom.mp4", "dancer_LR_180.mp4"])
def test_real_people_on_the_spot(name: str) -> None:
    path = Path(os.environ["VRMATTE_MEDIA"]) / name
    rgb = decoders.VideoDecoder(str(path)).get_frames_in_range(0, 100, 5).data
    with pytest.raises(InputError, match="still holds the subject"):
        prepare(Clip(rgb[:, None]))
