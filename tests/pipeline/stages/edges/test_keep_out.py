"""Regions and a picture of what is kept out become one map of each eye."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.contract import EdgeSettings, KeepOut
from pipeline.errors import InputError, SettingsError
from pipeline.stages.edges.keep_out import kept_map
from tests.pipeline.demo_truth import Clip

HEIGHT, WIDTH = 20, 30
SQUARE = ((4.0, 6.0), (8.0, 6.0), (8.0, 9.0), (4.0, 9.0))


def clip(eyes: int = 2) -> Clip:
    return Clip(torch.zeros(1, eyes, 3, HEIGHT, WIDTH, dtype=torch.uint8))


def made(edges: EdgeSettings, of: Clip | None = None) -> Tensor:
    found = kept_map(edges, of or clip())
    assert found is not None
    return found


def picture(path: Path, grey: np.ndarray) -> EdgeSettings:
    assert cv2.imwrite(str(path), grey)
    return EdgeSettings(keep_out_image=str(path))


def test_a_region_covers_its_corners_and_what_is_between_in_its_eyes() -> None:
    for eye, covered in (("left", (0,)), ("right", (1,)), ("both", (0, 1))):
        kept = made(EdgeSettings(keep_out=(KeepOut(eye=eye, points=SQUARE),)))  # type: ignore[arg-type]
        assert kept.shape == (2, 1, HEIGHT, WIDTH)
        expected = torch.full_like(kept, 255)
        for number in covered:
            expected[number, :, 6:10, 4:9] = 0
        assert torch.equal(kept, expected)
    assert int((made(EdgeSettings(keep_out=(KeepOut(points=SQUARE),)), clip(1)) == 0).sum()) == 20


def test_a_region_that_leaves_the_picture_is_cut_off() -> None:
    far = ((-32768.0, 10.0), (32768.0, 10.0), (32768.0, 32768.0), (-32768.0, 32768.0))
    kept = made(EdgeSettings(keep_out=(KeepOut(points=far),)))
    assert bool((kept[:, :, :10] == 255).all())
    assert not kept[:, :, 10:].any()


def test_nothing_said_is_no_map() -> None:
    assert kept_map(EdgeSettings(choke=3), clip()) is None


def test_a_picture_of_one_eye_is_for_both_and_a_whole_one_is_split(tmp_path: Path) -> None:
    left = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)
    right = 255 - left
    one = made(picture(tmp_path / "eye.png", left))
    assert torch.equal(one, torch.from_numpy(np.stack([left, left]))[:, None])
    both = torch.from_numpy(np.stack([left, right]))[:, None]
    for name, axis in (("sbs.png", 1), ("tb.png", 0)):
        whole = picture(tmp_path / name, np.concatenate([left, right], axis=axis))
        assert torch.equal(made(whole), both)
        swapped = clip()
        swapped.right_first = True
        assert torch.equal(made(whole, swapped), both.flip(0))
    odd = picture(tmp_path / "odd.png", left[:-1, :-1])
    assert torch.equal(made(odd)[0, 0, :-1, :-1], torch.from_numpy(left[:-1, :-1]))
    region = EdgeSettings(
        keep_out=(KeepOut(points=SQUARE),), keep_out_image=str(tmp_path / "eye.png")
    )
    assert not made(region)[0, 0, 6:10, 4:9].any()


def test_a_picture_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    grey = np.full((HEIGHT, WIDTH), 200, np.uint8)
    wrong_size = picture(tmp_path / "size.png", np.full((7, 9), 255, np.uint8))
    with pytest.raises(InputError, match=r"is 9x7, an eye of the video 30x20"):
        kept_map(wrong_size, clip())
    coloured = picture(tmp_path / "red.png", np.dstack([grey, grey, grey * 0]))
    with pytest.raises(SettingsError, match="has colours"):
        kept_map(coloured, clip())
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "none.png", "."):
        with pytest.raises(SettingsError, match=r"^matting\.keep_out_image \S+ \S") as refused:
            kept_map(EdgeSettings(keep_out_image=str(tmp_path / name)), clip())
        assert "\n" not in str(refused.value)


def test_a_picture_that_changed_since_the_plan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "eye.png"
    picture(path, np.zeros((HEIGHT, WIDTH), np.uint8))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    planned = EdgeSettings(keep_out_image=str(path), keep_out_image_sha256=sha256)
    assert not made(planned).any()
    picture(path, np.ones((HEIGHT, WIDTH), np.uint8))
    with pytest.raises(SettingsError, match="has changed since the run was planned"):
        kept_map(planned, clip())
