"""Frames that are steadied in time: what moves is followed, and a frame depends on few others."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.contract import EnhanceSettings, EyeShape, VideoSettings
from pipeline.pixels.layers import Layers
from pipeline.stages.base import Stage
from pipeline.stages.enhance.steady import make_denoise, make_stabilise, make_steady_matte
from tests.pipeline.stages.enhance.nets import noise

CPU = torch.device("cpu")
HEIGHT, WIDTH = 72, 96

pytestmark = pytest.mark.usefixtures("one_thread")


def texture(seed: int) -> NDArray[np.float64]:
    """A soft pattern, larger than a frame."""
    drawn = np.random.default_rng(seed).random((HEIGHT + 80, WIDTH + 80, 3)) * 255
    soft = cv2.GaussianBlur(drawn, (0, 0), 2.5)
    clear: NDArray[np.float64] = np.clip((soft - 127) * 4 + 127, 0, 255)
    return clear


def moving(count: int, seed: int = 0, deviation: float = 0.0) -> tuple[Tensor, Tensor]:
    """(what is true, what is seen): two eyes, uint8 ``[T, 2, 3, H, W]``, 2 pixels a frame."""
    chance, pattern = np.random.default_rng(seed + 1), texture(seed)
    true = np.stack(
        [
            np.stack(
                [
                    pattern[t : t + HEIGHT, 2 * t + 6 * eye : 2 * t + 6 * eye + WIDTH]
                    for eye in (0, 1)
                ]
            )
            for t in range(count)
        ]
    )
    seen = true + chance.normal(0, deviation, true.shape)
    both = (np.clip(np.rint(each), 0, 255).astype(np.uint8) for each in (true, seen))
    clean, noisy = (torch.from_numpy(each).permute(0, 1, 4, 2, 3) for each in both)
    return clean, noisy


def steady(**settings: float) -> Stage:
    enhance = EnhanceSettings(**settings)  # type: ignore[arg-type]
    make = make_denoise if enhance.denoise else make_stabilise
    if enhance.steady_matte:
        make = make_steady_matte
    return make(VideoSettings(enhance=enhance), CPU)


def run(stage: Stage, rgb: Tensor, batch: int = 1, **layers: Tensor) -> Layers:
    eye = EyeShape(rgb.shape[1], rgb.shape[3], rgb.shape[4], "equirect180", Fraction(30))
    state = stage.start(eye, {})
    parts = []
    for t in range(0, len(rgb), batch):
        given: dict[str, Any] = {name: value[t : t + batch] for name, value in layers.items()}
        made = stage.run(Layers(t, rgb[t : t + batch], **given), state)
        assert made is not None
        parts.append(made)
    joined: dict[str, Any] = {
        name: torch.cat([getattr(part, name) for part in parts]) for name in ("rgb", *layers)
    }
    return Layers(0, **joined)


def error(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).square().mean())


@pytest.mark.parametrize("settings", [{"stabilise": 1}, {"stabilise": 3}, {"denoise": 1.0}])
def test_noise_on_a_moving_picture_becomes_less(settings: dict[str, float]) -> None:
    true, seen = moving(6, deviation=6)
    made = run(steady(**settings), seen).rgb
    assert error(made[3:], true[3:]) < 0.75 * error(seen[3:], true[3:])


@pytest.mark.parametrize("settings", [{"stabilise": 2}, {"denoise": 0.6}])
def test_any_cut_with_its_warm_up_gives_the_same_frames(settings: dict[str, float]) -> None:
    _, seen = moving(7, deviation=4)
    fine = (noise(*seen.shape, seed=2).to(torch.int16) - 128).to(torch.int8)
    stage = steady(**settings)
    whole = run(stage, seen, fine=fine)
    for start in (2, 4, 5):
        begin = max(0, start - stage.warmup_frames)
        part = run(stage, seen[begin:], batch=2, fine=fine[begin:])
        for name in ("rgb", "fine"):
            ours = getattr(part, name)[start - begin :]
            assert torch.equal(ours, getattr(whole, name)[start:])


def test_nothing_is_mixed_over_a_scene_cut() -> None:
    one, _ = moving(3, seed=0)
    other, _ = moving(3, seed=7)
    made = run(steady(stabilise=2), torch.cat([one, other])).rgb
    alone = run(steady(stabilise=2), other).rgb
    assert torch.equal(made[3], other[0])
    assert error(made[3:], alone) < 0.5


def test_each_eye_by_itself_and_still_pictures_as_they_are() -> None:
    true, seen = moving(3, deviation=3)
    stage = steady(stabilise=1)
    both = run(stage, seen).rgb
    assert torch.equal(run(stage, seen[:, 1:]).rgb, both[:, 1:])
    still = true[:1].expand(4, -1, -1, -1, -1).contiguous()
    assert (run(stage, still).rgb.int() - still.int()).abs().max() <= 1


def test_the_foreground_changes_as_the_picture_does() -> None:
    _, seen = moving(3, deviation=5)
    rgb = seen.float() / 255
    despilled = (rgb - 0.1).clamp(0, 1)
    alpha = torch.ones_like(rgb[:, :, :1])
    made = run(steady(stabilise=1), seen, alpha=alpha, foreground=despilled)
    assert made.foreground is not None
    taken = made.rgb.float() / 255 - made.foreground
    inside = (rgb > 0.2) & (rgb < 0.8)  # nothing of it was cut off
    assert (taken[inside] - 0.1).abs().max() < 0.02
    assert made.alpha is not None
    assert torch.equal(made.alpha, alpha)


def test_a_matte_that_flickers_is_steadied_and_follows_what_moves() -> None:
    _, seen = moving(8, deviation=2)
    across, down = torch.arange(WIDTH) + 0.5, (torch.arange(HEIGHT) + 0.5)[:, None]
    mattes = []
    for t in range(8):
        away = torch.hypot(across - (60 - 2 * t), down - (40 - t))
        mattes.append(((18 - away) / 3).clamp(0, 1).expand(2, 1, -1, -1))
    alpha = torch.stack(mattes)
    chance = torch.Generator().manual_seed(5)
    flickering = (alpha + 0.25 * torch.randn(8, 2, 1, 1, 1, generator=chance)).clamp(0, 1)
    stage = steady(steady_matte=2)
    made = run(stage, seen, alpha=flickering)
    assert made.alpha is not None
    assert torch.equal(made.rgb, seen)
    assert error(made.alpha[2:], alpha[2:]) < 0.7 * error(flickering[2:], alpha[2:])
    part = run(stage, seen[2:], alpha=flickering[2:])
    assert part.alpha is not None
    assert torch.equal(part.alpha[2:], made.alpha[4:])
