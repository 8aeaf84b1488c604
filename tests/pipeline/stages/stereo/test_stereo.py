"""Mattes of two eyes made to agree, against the painted scene's truth."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from orchestrator.demo.scene import Backdrop, Scene
from pipeline.contract import StereoSettings
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.stereo.disparity import (
    Search,
    best_disparity,
    carry,
    matching_cost,
    to_right_eye,
)
from pipeline.stages.stereo.mending import Verdict, mend
from pipeline.stages.stereo.refiner import StereoRefiner

SIZE, NUM_FRAMES = 320, 16
DROPOUT = range(3, 13)

pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def clip(backdrop: Backdrop) -> tuple[Tensor, Tensor]:
    """uint8 ``[T, 2, 3, H, W]`` and the true alpha ``[T, 2, 1, H, W]``."""
    scene = Scene(60, eye_size=SIZE)
    frames = range(23, 23 + NUM_FRAMES)
    rgb = torch.from_numpy(np.stack([scene.picture(n, backdrop) for n in frames]))
    alpha = torch.from_numpy(np.stack([scene.alpha(n) for n in frames]))
    return rgb.permute(0, 1, 4, 2, 3).contiguous(), alpha[:, :, None]


def refined(
    rgb: Tensor,
    alpha: Tensor,
    how: StereoSettings | None = None,
    *,
    foreground: Tensor | None = None,
    chunk: int = 4,
) -> tuple[MatteBatch, StereoRefiner]:
    refiner = StereoRefiner(how or StereoSettings(), rgb.shape[1], *rgb.shape[-2:])
    parts = []
    for at in range(0, len(rgb), chunk):
        part = slice(at, at + chunk)
        colour = None if foreground is None else foreground[part]
        parts.append(refiner.refine(EyeBatch(rgb[part], at), MatteBatch(alpha[part], colour, at)))
    colours = [part.foreground for part in parts if part.foreground is not None]
    whole = MatteBatch(
        torch.cat([part.alpha for part in parts]), torch.cat(colours) if colours else None, 0
    )
    return whole, refiner


def iou(alpha: Tensor, truth: Tensor) -> Tensor:
    """By frame and eye."""
    both, either = torch.minimum(alpha, truth), torch.maximum(alpha, truth)
    return both.sum(dim=(2, 3, 4)) / either.sum(dim=(2, 3, 4))


def without_legs(alpha: Tensor) -> Tensor:
    damaged = alpha.clone()
    damaged[..., int(0.7 * SIZE) :, :] = 0
    return damaged


def without_an_arm(alpha: Tensor) -> Tensor:
    """Forearm and hand that are to the right of the trunk."""
    damaged = alpha.clone()
    trunk = alpha[..., int(0.38 * SIZE) : int(0.44 * SIZE), :].sum(dim=-2, keepdim=True)
    columns = torch.arange(SIZE)
    middle = (trunk * columns).sum(dim=-1, keepdim=True) / trunk.sum(dim=-1, keepdim=True)
    rows = torch.arange(SIZE)[:, None]
    arm = (columns > middle + 0.055 * SIZE) & (rows > 0.42 * SIZE) & (rows < 0.72 * SIZE)
    damaged[arm] = 0
    return damaged


def with_a_ghost(alpha: Tensor) -> Tensor:
    damaged = alpha.clone()
    damaged[..., int(0.4 * SIZE) : int(0.6 * SIZE), int(0.75 * SIZE) : int(0.87 * SIZE)] = 1
    return damaged


def nothing(alpha: Tensor) -> Tensor:
    return torch.zeros_like(alpha)


Damage = Callable[[Tensor], Tensor]


def damaged_eye(alpha: Tensor, eye: int, damage: Damage, frames: range) -> Tensor:
    whole = alpha.clone()
    for frame in frames:
        whole[frame, eye] = damage(alpha[frame, eye])
    return whole


@pytest.mark.slow
@pytest.mark.parametrize("backdrop", ["room", "green"])
@pytest.mark.parametrize("eye", [0, 1])
@pytest.mark.parametrize("damage", [without_legs, without_an_arm, with_a_ghost, nothing])
def test_damage_of_ten_frames_is_mended(backdrop: Backdrop, eye: int, damage: Damage) -> None:
    rgb, truth = clip(backdrop)
    alpha = damaged_eye(truth, eye, damage, DROPOUT)
    assert iou(alpha, truth)[DROPOUT, eye].min() < 0.93, "the damage must be one"
    matte, refiner = refined(rgb, alpha)
    quality = iou(matte.alpha, truth)
    assert quality[:, eye].min() >= 0.95
    assert quality[:, 1 - eye].min() >= 0.999, "the good eye must stay good"
    assert set(refiner.summary().mended_frames) <= set(DROPOUT)
    assert len(refiner.summary().mended_frames) >= 5


@pytest.mark.parametrize("damage", [without_legs, with_a_ghost])
def test_damage_from_the_first_frame_on_is_mended(damage: Damage) -> None:
    rgb, truth = clip("room")
    frames = range(3)
    alpha = damaged_eye(truth[:3], 1, damage, frames)
    matte, refiner = refined(rgb[:3], alpha)
    assert iou(matte.alpha, truth[:3]).min() >= 0.95
    assert refiner.summary().mended_frames == (0, 1, 2)


@pytest.mark.parametrize("backdrop", ["room", "green"])
@pytest.mark.parametrize("mode", ["fuse", "master_slave"])
def test_mattes_that_agree_stay_bit_for_bit(backdrop: Backdrop, mode: str) -> None:
    rgb, truth = clip(backdrop)
    how = StereoSettings(mode="fuse" if mode == "fuse" else "master_slave")
    matte, refiner = refined(rgb[:6], truth[:6], how)
    assert torch.equal(matte.alpha, truth[:6])
    summary = refiner.summary()
    assert summary.mended_frames == ()
    assert summary.mean_agreement is not None
    assert summary.mean_agreement >= 0.995


@pytest.mark.parametrize("backdrop", ["room", "green"])
def test_edges_that_differ_by_noise_hardly_change(backdrop: Backdrop) -> None:
    """Edges moved by up to two pixels, each eye and frame another way, and grain on top."""
    rgb, truth = clip(backdrop)
    random = torch.Generator().manual_seed(5)
    noisy = truth[:6].clone()
    for frame in range(6):
        for eye in (0, 1):
            step = int(torch.randint(-1, 2, (), generator=random))
            noisy[frame, eye] = noisy[frame, eye].roll(step, dims=-1)
            grain = 0.15 * torch.randn(1, SIZE, SIZE, generator=random)
            edge = (noisy[frame, eye] > 0.01) & (noisy[frame, eye] < 0.99)
            noisy[frame, eye] += torch.where(edge, grain, torch.zeros(()))
    noisy.clamp_(0, 1)
    matte, _ = refined(rgb[:6], noisy)
    assert (matte.alpha - noisy).abs().mean() <= 0.001


def test_what_agrees_stays_while_something_else_is_mended() -> None:
    rgb, truth = clip("room")
    alpha = damaged_eye(truth[:2], 0, without_legs, range(2))
    matte, _ = refined(rgb[:2], alpha)
    above = slice(0, int(0.66 * SIZE))
    assert torch.equal(matte.alpha[..., above, :], truth[:2, ..., above, :])
    assert not torch.equal(matte.alpha, alpha)


@settings(max_examples=5, deadline=None)
@given(chunk=st.integers(1, 8), damage=st.sampled_from([without_legs, with_a_ghost, nothing]))
def test_the_size_of_the_chunks_does_not_matter(chunk: int, damage: Damage) -> None:
    rgb, truth = clip("room")
    alpha = damaged_eye(truth[:5], 1, damage, range(1, 4))
    colours = rgb[:5].float() / 255
    once, first = refined(rgb[:5], alpha, foreground=colours, chunk=5)
    again, second = refined(rgb[:5], alpha, foreground=colours, chunk=chunk)
    assert torch.equal(once.alpha, again.alpha)
    assert once.foreground is not None
    assert again.foreground is not None
    assert torch.equal(once.foreground, again.foreground)
    assert first.found == second.found


def test_the_slave_follows_the_master_also_into_error() -> None:
    rgb, truth = clip("room")
    alpha = damaged_eye(truth[:2], 0, with_a_ghost, range(2))
    right, _ = refined(rgb[:2], alpha, StereoSettings(mode="master_slave", master_eye="right"))
    assert iou(right.alpha, truth[:2]).min() >= 0.95
    alpha = damaged_eye(truth[:2], 0, without_legs, range(2))
    left, _ = refined(rgb[:2], alpha, StereoSettings(mode="master_slave", master_eye="left"))
    assert torch.equal(left.alpha[:, 0], alpha[:, 0])
    legs = left.alpha[:, 1, 0, int(0.75 * SIZE) :]
    assert legs.mean() <= 0.02 * truth[:2, 1, 0, int(0.75 * SIZE) :].mean()


@pytest.mark.parametrize("eyes", [1, 2])
def test_one_eye_and_independent_eyes_pass_through(eyes: int) -> None:
    rgb, truth = clip("room")
    alpha = damaged_eye(truth[:2], 0, nothing, range(2))
    matte = MatteBatch(alpha[:, :eyes], None, 7)
    how = StereoSettings(mode="fuse" if eyes == 1 else "independent")
    refiner = StereoRefiner(how, eyes, SIZE, SIZE)
    assert refiner.refine(EyeBatch(rgb[:2, :eyes], 7), matte) is matte
    assert refiner.summary().num_frames == 0


def test_what_is_put_back_has_the_colours_of_its_own_eye() -> None:
    rgb, truth = clip("room")
    alpha = damaged_eye(truth[:1], 1, without_legs, range(1))
    wrong = rgb[:1].float() / 255
    wrong[:, 1] = torch.where(alpha[:, 1] > 0, wrong[:, 1], torch.zeros(()))
    matte, _ = refined(rgb[:1], alpha, foreground=wrong)
    assert matte.foreground is not None
    inside = (truth[0, 1, 0] > 0.99) & (alpha[0, 1, 0] == 0) & (matte.alpha[0, 1, 0] > 0.99)
    assert inside.sum() > 500
    error = matte.foreground[0, 1] - rgb[0, 1] / 255
    assert error[:, inside].abs().max() <= 0.02
    assert torch.equal(matte.foreground[:, 0], wrong[:, 0])


def test_half_precision_and_empty_pictures() -> None:
    rgb, truth = clip("room")
    alpha = damaged_eye(truth[:1], 1, without_legs, range(1)).half()
    matte, _ = refined(rgb[:1], alpha, foreground=(rgb[:1] / 255).half())
    assert matte.alpha.dtype == torch.float16
    assert iou(matte.alpha.float(), truth[:1]).min() >= 0.95
    matte, refiner = refined(rgb[:1], torch.zeros_like(truth[:1]))
    assert matte.alpha.max() == 0
    assert refiner.found[0].agreement == 1
    assert refiner.found[0].disparity is None
    assert refiner.summary().subject_depth_m is None


def test_depth_by_the_baseline_and_the_correction() -> None:
    """The figure's disparity is 18 of 640; the scene gives its distance as 0.7 m."""
    rgb, truth = clip("room")
    _, refiner = refined(rgb[:3], truth[:3], StereoSettings(baseline=0.063))
    depth = refiner.summary().subject_depth_m
    assert depth == pytest.approx(0.7, rel=0.06)
    # The same eyes, moved together by a rig that is 6 pixels off.
    moved, mattes = rgb[:3].clone(), truth[:3].clone()
    moved[:, 1], mattes[:, 1] = moved[:, 1].roll(6, -1), mattes[:, 1].roll(6, -1)
    how = StereoSettings(baseline=0.063, disparity_correction=6)
    _, corrected = refined(moved, mattes, how)
    assert corrected.summary().subject_depth_m == pytest.approx(depth, rel=0.04)
    _, longer = refined(rgb[:3], truth[:3], StereoSettings(baseline=0.063, focal_length=SIZE))
    assert longer.summary().subject_depth_m == pytest.approx(0.7 * torch.pi, rel=0.06)


@settings(max_examples=40, deadline=None)
@given(least=st.integers(-9, 9), count=st.integers(3, 12), data=st.data())
def test_a_shift_is_found_and_undone(least: int, count: int, data: st.DataObject) -> None:
    search = Search(least, count)
    true = data.draw(st.integers(least + 1, least + count - 2))
    random = torch.Generator().manual_seed(3)
    left = torch.rand(3, 6, 64, generator=random)
    right = left.roll(-true, dims=-1)
    cost = matching_cost(left, right, search)
    inner = slice(24, 40)
    assert best_disparity(cost, search)[:, inner].sub(true).abs().max() < 0.5
    mirrored = to_right_eye(cost, search, 1.0)
    assert mirrored[true - least, :, inner].max() == 0
    field = torch.full((6, 64), float(true))
    torch.testing.assert_close(carry(right, field, 0)[..., inner], left[..., inner])
    torch.testing.assert_close(carry(left, field, 1)[..., inner], right[..., inner])


def test_what_would_be_added_beyond_the_border_changes_nothing() -> None:
    height, width = 32, 64
    alpha = torch.zeros(2, 1, height, width)
    true, nothing = torch.zeros(1, height, width), torch.zeros(1, height, width)
    true[..., :4] = 1
    far = torch.full((height, width), 50.0)
    verdicts = [Verdict(true, nothing), Verdict(nothing, nothing)]
    rgb = torch.zeros(3, height, width, dtype=torch.uint8)
    one = mend(1, verdicts, far, rgb, alpha, torch.zeros(2, 3, height, width))
    assert one.alpha.numel() == 0
