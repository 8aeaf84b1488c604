"""The stage that enlarges: sizes, eyes, cuts, what 8 bits leave out, the matte that goes along."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import EnhanceSettings, EyeShape, VideoSettings
from pipeline.pixels.layers import Layers
from pipeline.stages.enhance.lanczos import Lanczos
from pipeline.stages.enhance.super_resolution import SuperResolution
from tests.pipeline.stages.enhance.nets import network, noise

CPU = torch.device("cpu")
SIZE = (30, 44)

pytestmark = pytest.mark.usefixtures("one_thread")


def enlarger(net: Any = None, **settings: Any) -> SuperResolution:
    enhance = EnhanceSettings(**{"scale": 2, "precision": "fp32", "quality": "fast", **settings})
    return SuperResolution(enhance, net or Lanczos(enhance.scale), CPU)


def run(stage: SuperResolution, layers: Layers, projection: Any = "equirect180") -> Layers:
    eyes, _, height, width = layers.rgb.shape[1:]
    eye = EyeShape(eyes, height, width, projection, Fraction(30))
    made = stage.run(layers, stage.start(eye, {}))
    shape = stage.shape(eye)
    assert tuple(made.rgb.shape[3:]) == (shape.height, shape.width)
    return made


def soft(*shape: int, seed: int = 3) -> Tensor:
    """uint8 pictures without single bright pixels."""
    small = noise(*shape[:-2], shape[-2] // 4, shape[-1] // 4, seed=seed).float()
    large = F.interpolate(small.flatten(0, -4), size=shape[-2:], mode="bicubic")
    return large.clamp(0, 255).to(torch.uint8).view(shape)


@pytest.mark.parametrize("settings", [{}, {"sharpen": 0.5}, {"grain": 0.7}, {"denoise": 0.4}])
@pytest.mark.parametrize("own", [False, True])
def test_frames_do_not_depend_on_their_batch(settings: dict[str, float], own: bool) -> None:
    rgb = noise(4, 2, 3, *SIZE)
    stage = enlarger(network() if own else None, **settings)
    whole = run(stage, Layers(7, rgb)).rgb
    for first, stop in ((0, 1), (1, 4)):
        part = run(stage, Layers(7 + first, rgb[first:stop])).rgb
        assert torch.equal(part, whole[first:stop])


def test_each_eye_by_itself_and_grain_in_both_alike() -> None:
    rgb = noise(1, 2, 3, *SIZE)
    both = run(enlarger(network()), Layers(0, rgb)).rgb
    assert torch.equal(run(enlarger(network()), Layers(0, rgb[:, 1:])).rgb, both[:, 1:])
    grey = torch.full((2, 2, 3, 600, 40), 128, dtype=torch.uint8)
    grained = run(enlarger(grain=1.0), Layers(0, grey)).rgb.float()
    assert torch.equal(grained[:, 0], grained[:, 1])
    assert not torch.equal(grained[0], grained[1])
    assert 5 < float(grained.std()) < 11
    assert abs(float(grained.mean()) - 128) < 0.5


def test_what_8_bits_leave_out_is_enlarged_too() -> None:
    """A slope of less than a step of 8 bits comes out as a slope."""
    slope = torch.linspace(100.2, 101.8, 64).expand(1, 1, 3, 16, 64)
    rgb = slope.round().to(torch.uint8)
    fine = ((slope - rgb) * 256).round().to(torch.int8)
    made = run(enlarger(), Layers(0, rgb, fine=fine))
    assert made.fine is not None
    found = made.rgb.float() + made.fine.float() / 256
    wanted = F.interpolate(slope[0], scale_factor=2, mode="bilinear")
    assert (found[0, ..., 8:-8] - wanted[..., 8:-8]).abs().max() < 0.02


def disc(height: int, width: int, eye: int = 0) -> Tensor:
    """0..1, soft over a pixel or so."""
    down = (torch.arange(height) + 0.5)[:, None] / height * 30
    across = (torch.arange(width) + 0.5) / width * 44
    away = torch.hypot(down - 14.2, across - 20.6 - 2 * eye)
    return ((9.3 - away) / 1.2 + 0.5).clamp(0, 1)


@pytest.mark.parametrize("scale", [2, 4])
def test_a_matte_is_enlarged_with_its_picture(scale: int) -> None:
    large = SIZE[0] * scale, SIZE[1] * scale
    true = torch.stack([disc(*large, eye)[None] for eye in (0, 1)])
    behind, subject = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([0.8, 0.7, 0.6])
    picture = torch.lerp(behind.view(3, 1, 1), subject.view(3, 1, 1), true)
    small = F.avg_pool2d(picture, scale)
    alpha = F.avg_pool2d(true, scale)
    rgb = (small * 255).round().to(torch.uint8)[None]
    colour = subject.view(1, 1, 3, 1, 1).expand(1, 2, 3, *SIZE).clone()
    made = run(enlarger(scale=scale), Layers(0, rgb, alpha[None], colour))
    assert made.alpha is not None
    assert made.foreground is not None
    plain = F.interpolate(alpha, scale_factor=scale, mode="bilinear")
    ours = (made.alpha[0] - true).abs().mean()
    assert ours < 0.75 * (plain - true).abs().mean()
    far = F.max_pool2d(true, 8 * scale + 1, 1, 4 * scale) == 0
    assert (made.alpha[0][far] == 0).all()
    deep = -F.max_pool2d(-true, 8 * scale + 1, 1, 4 * scale) == 1
    assert (made.alpha[0][deep] == 1).all()
    inside = (true > 0.9).expand(-1, 3, -1, -1)
    off = (made.foreground[0] - subject.view(1, 3, 1, 1)).abs()
    assert off[inside].mean() < 0.02


def test_a_picture_of_360_degrees_goes_on_at_the_other_side() -> None:
    rgb = soft(1, 1, 3, 32, 64)
    made = run(enlarger(network()), Layers(0, rgb), "equirect360").rgb
    turned = run(enlarger(network()), Layers(0, rgb.roll(24, -1)), "equirect360").rgb
    assert torch.equal(turned, made.roll(48, -1))


def test_memory_that_does_not_do_makes_tiles_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a card does it: what is too large fails, and what is smaller does not."""
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    real = network()

    class Small(torch.nn.Module):
        scale, radius = real.scale, real.radius

        def forward(self, picture: Tensor) -> Tensor:
            if picture.shape[-1] > 90:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            made: Tensor = real(picture)
            return made

    rgb = noise(1, 1, 3, 70, 200)
    stage = enlarger(Small(), tile=256)
    wanted = run(enlarger(network()), Layers(0, rgb)).rgb
    assert (run(stage, Layers(0, rgb)).rgb.int() - wanted.int()).abs().max() <= 1


def test_memory_that_is_too_small_for_any_tile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)

    class Never(torch.nn.Module):
        scale, radius = 2, 1

        def forward(self, picture: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")

    with pytest.raises(torch.OutOfMemoryError):
        run(enlarger(Never()), Layers(0, noise(1, 1, 3, 70, 80)))


def test_settings_that_nobody_settled_are_no_stage() -> None:
    with pytest.raises(KeyError):
        enlarger(precision="auto")
    with pytest.raises(ValueError, match="was not settled"):
        enlarger(denoise="auto")
    assert VideoSettings().fingerprint() == VideoSettings(enhance=EnhanceSettings()).fingerprint()
