"""The chroma key against the demo's green clip, and on screens that it must or must not find."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.contract import MattingSettings, ProcessingSettings
from pipeline.errors import InputError, SettingsError
from pipeline.pixels.batches import EyeBatch
from pipeline.stages.matting.chroma import ChromaKey, load
from pipeline.stages.matting.chroma_facts import ChromaOptions
from tests.pipeline.demo_truth import Clip, DemoClip, demo_scene, judge, scene_clip

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


def key(colour: str = "auto") -> ChromaKey:
    return load(MattingSettings(options=(ChromaOptions(color=colour),)), ProcessingSettings(), CPU)


def painted(colour: tuple[float, float, float], subject: tuple[float, float, float]) -> Clip:
    """A disc with soft edges before a screen lit from the left; one frame, two eyes; noisy."""
    y, x = torch.meshgrid(torch.arange(120.0), torch.arange(160.0), indexing="ij")
    alpha = (40.5 - torch.hypot(y - 60, x - 80)).clamp(-1, 1) / 2 + 0.5
    light = 1 - 0.3 * x / 160
    back = torch.tensor(colour).view(3, 1, 1) * light
    picture = torch.lerp(back, torch.tensor(subject).view(3, 1, 1), alpha)
    noise = torch.randn(2, 3, 120, 160, generator=torch.Generator().manual_seed(1)) * 0.01
    rgb = ((picture + noise).clamp(0, 1) * 255).round().to(torch.uint8)
    return Clip(rgb[None])


def disc_alpha(clip: Clip, model: ChromaKey) -> tuple[Tensor, Tensor]:
    """Alpha well inside the disc, and well outside."""
    state = model.start(clip.eyes, clip.height, clip.width, model.prepare(clip))
    alpha = model.matte(EyeBatch(clip.rgb, 0), state).alpha[0, :, 0]
    return alpha[:, 30:90, 50:110], alpha[:, :, :30]


@pytest.mark.slow
def test_demo_clip_against_the_truth(demo_folder: Path) -> None:
    clip, model = DemoClip(demo_folder, "green"), key()
    flashes = demo_scene().flash_frames
    # The lamp that flashes hangs before the screen: it is keyed as what it is, not screen.
    frames = [n for n in (0, 20, 38, 59) if n not in flashes]
    for judged in judge(model, clip, model.prepare(clip), frames):
        assert judged.alpha_error <= 0.005, judged.frame
        inside, outside = judged.truth > 0.999, judged.truth < 0.001
        assert float((judged.alpha[inside] == 1).float().mean()) > 0.93
        assert float((judged.alpha[outside] == 0).float().mean()) > 0.99
        # Some edges are neither 0 nor 1, as in the truth.
        edge = ~inside & ~outside
        soft = (judged.alpha[edge] > 0.05) & (judged.alpha[edge] < 0.95)
        assert float(soft.float().mean()) > 0.2


@pytest.mark.slow
def test_demo_figure_is_rid_of_green(demo_folder: Path) -> None:
    clip, model = DemoClip(demo_folder, "green"), key()
    (judged,) = judge(model, clip, model.prepare(clip), [20])
    seen = (judged.alpha > 0.3).unsqueeze(1).expand_as(judged.foreground)
    excess = judged.foreground[:, 1] - judged.foreground.amax(dim=1)
    assert float(excess.max()) <= 1e-6
    error = (judged.foreground - judged.colour).abs()[seen].mean()
    source = clip.sample([20]).rgb[0] / 255
    assert float(error) < float((source - judged.colour).abs()[seen].mean())


@pytest.mark.parametrize(
    ("setting", "colour"),
    [
        ("auto", (0.15, 0.7, 0.25)),
        ("auto", (0.1, 0.25, 0.75)),
        ("green", (0.05, 0.4, 0.1)),
        ("blue", (0.1, 0.3, 0.7)),
        ("#d02020", (0.8, 0.12, 0.12)),
        ("#2be640", (0.169, 0.902, 0.251)),
    ],
)
def test_screens_of_several_colours(setting: str, colour: tuple[float, float, float]) -> None:
    clip = painted(colour, (0.6, 0.6, 0.6))
    inside, outside = disc_alpha(clip, key(setting))
    assert float(inside.mean()) > 0.98
    assert float(outside.mean()) < 0.002


def test_auto_takes_the_screen_and_not_the_shirt() -> None:
    clip = painted((0.1, 0.65, 0.2), (0.1, 0.2, 0.8))
    screen = key().prepare(clip)["screen"]
    assert int(screen.argmax()) == 1


@settings(max_examples=8, deadline=None)
@given(
    subject=st.tuples(*[st.floats(0.05, 0.95)] * 3).filter(lambda c: c[1] <= max(c[0], c[2])),
    level=st.floats(0.35, 0.9),
)
def test_whatever_is_not_green_is_opaque_and_keeps_its_colour(
    subject: tuple[float, float, float], level: float
) -> None:
    clip, model = painted((0.2 * level, level, 0.3 * level), subject), key("green")
    state = model.start(2, clip.height, clip.width, model.prepare(clip))
    matte = model.matte(EyeBatch(clip.rgb, 0), state)
    inside = (slice(None), slice(None), slice(40, 80), slice(60, 100))
    assert float(matte.alpha[0][inside].mean()) > 0.97
    assert matte.foreground is not None
    colour = matte.foreground[0][inside].mean(dim=(0, 2, 3))
    assert torch.allclose(colour, torch.tensor(subject), atol=0.03)


def test_no_screen_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="no green or blue screen found") as caught:
        key().prepare(scene_clip("room"))
    assert "chroma_color" in caught.value.advice
    with pytest.raises(InputError, match="no blue screen found"):
        key("blue").prepare(scene_clip("green"))


def test_a_colour_that_no_screen_can_have_is_refused() -> None:
    with pytest.raises(SettingsError, match="#808890 cannot be keyed"):
        key("#808890")


def test_all_screen_is_all_empty() -> None:
    clip = painted((0.1, 0.65, 0.2), (0.1, 0.65, 0.2))
    inside, outside = disc_alpha(clip, key())
    assert float(outside.mean()) < 0.002
    assert float(inside.max()) < 1
