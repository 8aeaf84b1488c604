"""The plate model against the demo's room, and its ways to a plate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from orchestrator.demo.scene import Scene
from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.errors import InputError, SettingsError
from pipeline.pixels.batches import EyeBatch
from pipeline.stages.matting import plate as plate_module
from pipeline.stages.matting.plate import PlateModel, load
from pipeline.stages.matting.plate_facts import PlateOptions
from tests.pipeline.demo_truth import (
    SMALL,
    SMALL_FRAMES,
    Clip,
    DemoClip,
    demo_scene,
    judge,
    scene_clip,
)
from tests.pipeline.prompts.test_store import header_of

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


def model(picture: Path | None = None) -> PlateModel:
    options = PlateOptions(image=None if picture is None else str(picture))
    return load(MattingSettings(options=(options,)), ProcessingSettings(), CPU)


def write_picture(path: Path, eyes: list[np.ndarray], axis: int) -> Path:
    whole = np.concatenate(eyes, axis=axis)
    assert cv2.imwrite(str(path), np.ascontiguousarray(whole[..., ::-1]))
    return path


def sway(clip: Clip) -> Tensor:
    """The clip with an exposure that drifts by some percent, differently by channel."""
    frames = clip.rgb.float()
    for n in range(clip.num_frames):
        frames[n] *= torch.tensor([1 - 0.012 * n, 1 - 0.01 * n, 1 - 0.008 * n]).view(3, 1, 1)
    return frames.round().to(torch.uint8)


def mean_outside(alpha: Tensor, frame: int) -> float:
    truth = torch.from_numpy(Scene(SMALL_FRAMES, eye_size=SMALL).alpha(frame))
    return float(alpha[:, 0][truth < 0.001].mean())


@pytest.mark.slow
def test_demo_clip_against_the_truth(demo_folder: Path) -> None:
    clip, found = DemoClip(demo_folder, "room"), model()
    prepared = found.prepare(clip)
    flashes = demo_scene().flash_frames
    # A lamp that goes on is not in the plate: it counts as subject, as the module says.
    frames = [n for n in (0, 20, 38, 59) if n not in flashes]
    errors = []
    for judged in judge(found, clip, prepared, frames):
        errors.append(judged.alpha_error)
        assert judged.alpha_error <= 0.01, judged.frame
        inside, outside = judged.truth > 0.999, judged.truth < 0.001
        assert float((judged.alpha[inside] == 1).float().mean()) > 0.93
        assert float((judged.alpha[outside] == 0).float().mean()) > 0.98
        assert float((judged.foreground - judged.colour).abs().mean(1)[inside].mean()) < 0.03
    assert sum(errors) / len(errors) <= 0.007


@pytest.mark.slow
def test_median_of_the_demo_clip_is_the_empty_room(demo_folder: Path) -> None:
    plate = model().prepare(DemoClip(demo_folder, "room"))["plate"]
    truth = torch.from_numpy(demo_scene().plate("room")).permute(0, 3, 1, 2)
    error = (plate.float() - truth.float()).abs()
    assert plate.dtype == torch.uint8
    assert float(error.mean()) < 3
    assert float((error.amax(dim=1) > 40).float().mean()) < 0.01


@pytest.mark.parametrize("axis", [0, 1])
def test_the_eyes_in_a_picture_lie_as_in_the_video(tmp_path: Path, axis: int) -> None:
    eyes = list(Scene(SMALL_FRAMES, eye_size=SMALL).plate("room"))
    found = model(write_picture(tmp_path / "empty.png", eyes[::-1], axis))
    clip = Clip(scene_clip("room").rgb)
    clip.right_first = True
    expected = torch.from_numpy(np.stack(eyes)).permute(0, 3, 1, 2)
    assert torch.equal(found.prepare(clip)["plate"], expected)


@pytest.mark.parametrize("axis", [0, 1])
def test_plate_from_a_picture(tmp_path: Path, axis: int) -> None:
    eyes = list(Scene(SMALL_FRAMES, eye_size=SMALL).plate("room"))
    found = model(write_picture(tmp_path / "empty.png", eyes, axis))
    clip = scene_clip("room")
    prepared = found.prepare(clip)
    expected = torch.from_numpy(np.stack(eyes)).permute(0, 3, 1, 2)
    assert torch.equal(prepared["plate"], expected)
    state = found.start(2, SMALL, SMALL, prepared)
    alpha = found.matte(EyeBatch(clip.rgb[2:3], 2), state).alpha[0]
    truth = torch.from_numpy(Scene(SMALL_FRAMES, eye_size=SMALL).alpha(2))
    assert float((alpha[:, 0] - truth).abs().mean()) < 0.02


def test_picture_of_a_frame_that_was_padded(tmp_path: Path) -> None:
    eyes = list(Scene(SMALL_FRAMES, eye_size=SMALL).plate("room"))
    path = write_picture(tmp_path / "empty.png", [eyes[0], eyes[1][:, :-1]], 1)
    plate = model(path).prepare(scene_clip("room"))["plate"]
    assert tuple(plate.shape) == (2, 3, SMALL, SMALL)
    assert torch.equal(plate[1, :, :, -1], plate[1, :, :, -2])


def test_picture_of_another_size_is_one_clear_line(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "small.png", [np.zeros((20, 30, 3), np.uint8)], 1)
    with pytest.raises(InputError, match=r"small\.png is 30x20, the video 480x240 or 240x480"):
        model(path).prepare(scene_clip("room"))


@pytest.mark.parametrize("content", [None, b"", b"not a picture", header_of(60_000, 60_000)])
def test_what_is_no_picture_is_refused_when_loading(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "plate.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"plate_image .*plate\.png"):
        model(path)


def test_exposure_that_drifts_is_followed() -> None:
    clip = scene_clip("room")
    swaying, found = Clip(sway(clip)), model()
    state = found.start(2, SMALL, SMALL, found.prepare(swaying))
    for frame in (0, 2, 4, 6):
        batch = EyeBatch(swaying.rgb[frame : frame + 1], frame)
        assert mean_outside(found.matte(batch, state).alpha[0], frame) < 0.03


def test_samples_are_bounded_and_strips_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    clip, found = scene_clip("room"), model()
    whole = found.prepare(clip)["plate"]
    monkeypatch.setattr(plate_module, "_STRIP_BYTES", 200_000)
    assert torch.equal(found.prepare(clip)["plate"], whole)
    asked: list[int] = []

    class Counting(Clip):
        def sample(self, frames: Sequence[int]) -> EyeBatch:
            asked.extend(frames)
            return super().sample(frames)

    monkeypatch.setattr(plate_module, "_SAMPLE_BYTES", 4 * clip.rgb[0].numel())
    found.prepare(Counting(clip.rgb))
    assert asked == sorted(set(asked))
    assert len(asked) == 3  # 4 fit; an odd number has a middle


def test_empty_scene_is_empty() -> None:
    empty = torch.from_numpy(Scene(SMALL_FRAMES, eye_size=SMALL).plate("room")).permute(0, 3, 1, 2)
    noise = torch.randn(5, *empty.shape, generator=torch.Generator().manual_seed(1)) * 2
    clip = Clip((empty + noise).round().clamp(0, 255).to(torch.uint8))
    found = model()
    state = found.start(2, SMALL, SMALL, found.prepare(clip))
    assert float(found.matte(EyeBatch(clip.rgb, 0), state).alpha.max()) == 0
