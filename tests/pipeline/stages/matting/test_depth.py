"""The depth model against the demo's ground truth, and the laws every model keeps."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from orchestrator.demo.demo import make_demo
from orchestrator.demo.scene import Scene
from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.errors import InputError
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.matting.base import load_model
from pipeline.stages.matting.depth.layers import layer_split
from pipeline.stages.matting.depth.model import DepthLayers
from pipeline.stages.matting.known_background import dilate
from pipeline.torchcodec_import import decoders

SIZE = 256

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One second of both rooms at the demo's own size."""
    return make_demo(tmp_path_factory.mktemp("demo"), seconds=1)[:2]


def _eyes(scene: Scene, frames: list[int]) -> Tensor:
    """uint8 ``[T, 2, 3, H, W]``."""
    pictures = np.stack([scene.picture(frame, "room") for frame in frames])
    return torch.from_numpy(pictures).permute(0, 1, 4, 2, 3).contiguous()


def _run(rgb: Tensor, *, chunk: int = 1) -> MatteBatch:
    model = DepthLayers()
    state = model.start(2, rgb.shape[3], rgb.shape[4], {})
    starts = range(0, len(rgb), chunk)
    parts = [model.matte(EyeBatch(rgb[at : at + chunk], at), state) for at in starts]
    colours = [part.foreground for part in parts if part.foreground is not None]
    return MatteBatch(torch.cat([part.alpha for part in parts]), torch.cat(colours), 0)


@pytest.mark.slow
def test_demo_rooms_against_ground_truth(clips: list[Path]) -> None:
    scene = Scene(30)
    for clip in clips:
        frames = [0, 8, 15, 22, 29]  # a flash (8) among them
        rgb = decoders.VideoDecoder(str(clip)).get_frames_at(frames).data
        matte = _run(torch.stack([rgb[..., :640], rgb[..., 640:]], dim=1))
        truth = torch.from_numpy(np.stack([scene.alpha(frame) for frame in frames]))
        errors = (matte.alpha[:, :, 0] - truth).abs().mean(dim=(2, 3))
        assert errors.mean() <= 0.01, clip.name
        assert errors.max() <= 0.02, clip.name
        # Nothing of the room far from the figure.
        beside = dilate(truth.flatten(0, 1)[:, None], 30) == 0
        assert matte.alpha.flatten(0, 1)[beside].max() == 0, clip.name


def test_a_backdrop_without_texture_is_far() -> None:
    """Not what suits it, but nothing of the screen may stay but what the figure encloses."""
    scene = Scene(30)
    pictures = np.stack([scene.picture(frame, "green") for frame in (5, 12)])
    matte = _run(torch.from_numpy(pictures).permute(0, 1, 4, 2, 3).contiguous())
    truth = torch.from_numpy(np.stack([scene.alpha(frame) for frame in (5, 12)]))
    assert (matte.alpha[:, :, 0] - truth).abs().mean() <= 0.06
    assert (matte.alpha[:, :, 0][truth > 0.99] > 0.9).float().mean() >= 0.97
    beside = dilate(truth.flatten(0, 1)[:, None], 80) == 0
    assert matte.alpha.flatten(0, 1)[beside].max() == 0


def test_edges_lose_the_rooms_colour() -> None:
    scene = Scene(20)
    rgb = _eyes(scene, [10])
    matte = _run(rgb)
    assert matte.foreground is not None
    truth = torch.from_numpy(scene.alpha(10))[None, :, None]
    colour = torch.from_numpy(scene.figure_colour(10))[None].permute(0, 1, 4, 2, 3)
    edge = (truth > 0.3) & (truth < 0.9)
    ours = ((matte.foreground - colour).abs() * edge).sum()
    plain = ((rgb.float() / 255 - colour).abs() * edge).sum()
    assert ours < 0.8 * plain
    assert matte.foreground.min() >= 0
    assert matte.foreground.max() <= 1
    inside = (matte.alpha == 1).expand_as(matte.foreground)
    assert torch.equal(matte.foreground[inside], (rgb.float() / 255)[inside])


def test_an_empty_room_has_no_nearest_layer() -> None:
    plate = torch.from_numpy(Scene(1).plate("room")).permute(0, 3, 1, 2)[None].contiguous()
    assert _run(plate).alpha.max() == 0


@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_pictures_have_no_layers(value: int) -> None:
    assert _run(torch.full((2, 2, 3, 90, 130), value, dtype=torch.uint8)).alpha.max() == 0


def test_same_bits_for_any_opencv_threads_and_any_chunk() -> None:
    rgb = _eyes(Scene(20, eye_size=SIZE), [4, 5, 6])
    cv_threads = cv2.getNumThreads()
    results = []
    try:
        for threads, chunk in ((1, 1), (2, 1), (4, 3)):
            cv2.setNumThreads(threads)
            results.append(_run(rgb, chunk=chunk))
    finally:
        cv2.setNumThreads(cv_threads)
    first = results[0]
    assert first.foreground is not None
    assert first.alpha.mean() > 0.05
    for other in results[1:]:
        assert other.foreground is not None
        assert torch.equal(first.alpha, other.alpha)
        assert torch.equal(first.foreground, other.foreground)


def test_torch_threads_move_no_more_than_rounding() -> None:
    """Bilinear enlargement rounds by thread; their number is a setting, so it is only bounded."""
    rgb = _eyes(Scene(20, eye_size=SIZE), [5])
    one = _run(rgb)
    torch.set_num_threads(2)
    try:
        two = _run(rgb)
    finally:
        torch.set_num_threads(1)
    assert one.foreground is not None
    assert two.foreground is not None
    assert (one.alpha - two.alpha).abs().max() < 1e-4
    assert (one.foreground - two.foreground).abs().max() < 1e-4


def test_states_do_not_meet() -> None:
    rgb = _eyes(Scene(20, eye_size=SIZE), [4, 12])
    model = DepthLayers()
    alone = [model.matte(EyeBatch(rgb[:1], 0), model.start(2, SIZE, SIZE, {}))]
    one, other = (model.start(2, SIZE, SIZE, {}) for _ in range(2))
    model.matte(EyeBatch(rgb[1:], 1), other)
    alone.append(model.matte(EyeBatch(rgb[:1], 0), one))
    assert torch.equal(alone[0].alpha, alone[1].alpha)


def test_after_the_warm_up_the_past_no_longer_counts() -> None:
    model = DepthLayers()
    frames = list(range(model.warmup_frames + 12))
    rgb = _eyes(Scene(len(frames), eye_size=128), frames)
    whole, late = _run(rgb).alpha, _run(rgb[10:]).alpha
    warm = model.warmup_frames
    assert whole[10 + warm :].mean() > 0.05
    assert (whole[10 + warm :] - late[warm:]).abs().mean() <= 1 / 255


def test_other_shapes_and_scales() -> None:
    rgb = _eyes(Scene(20, eye_size=SIZE), [10])[..., 20:231, :-3]
    for scale in (None, 0.5):
        model = load_model(
            MattingSettings(model="depth"),
            ProcessingSettings(scale_factor=scale),
            torch.device("cpu"),
        )
        matte = model.matte(EyeBatch(rgb, 5), model.start(2, 211, SIZE - 3, {}))
        assert matte.alpha.shape == (1, 2, 1, 211, SIZE - 3)
        assert matte.start == 5
        assert 0.05 < matte.alpha.mean() < 0.2


def test_one_eye_is_not_enough() -> None:
    with pytest.raises(InputError, match="two eyes"):
        DepthLayers().start(1, 64, 64, {})


@given(
    st.integers(6, 40),
    st.integers(12, 60),
    st.floats(0.02, 0.5),
    st.floats(1e-3, 1e6),
)
def test_the_split_lies_between_two_layers(
    far: int, apart: int, share: float, frames: float
) -> None:
    bins = np.arange(128)
    layers = [np.exp(-(((bins - at) / 1.5) ** 2) / 2) for at in (far, far + apart)]
    histogram = (1 - share) * layers[0] + share * layers[1]
    split = layer_split(histogram)
    assert split is not None
    assert far + 1 < split < far + apart
    assert layer_split(histogram * frames) == split


@given(st.integers(0, 127), st.integers(1, 128))
def test_one_layer_or_a_ramp_is_not_split(start: int, length: int) -> None:
    histogram = np.zeros(128)
    histogram[start : start + length] = 1
    assert layer_split(histogram) is None


def test_no_disparities_are_not_split() -> None:
    assert layer_split(np.zeros(128)) is None
