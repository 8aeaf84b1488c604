"""Steadies pictures in time: each frame is averaged with what it was in the frames before.

``out_t = (S_t + sum_i k_i W_i(S_{t-i})) / (1 + sum_i k_i)``, i from 1 to `frames`; `W_i` moves the
frame before to where its pixels are now (`motion.py`), and ``k_i = weight * followed * exp(-(d /
tolerance)^2)``, d the mean difference of the three channels. A window of frames as they came, not
of frames that were steadied already: a frame depends on `frames` frames before it and on no other,
so that a segment with that many frames of warm-up is what it is in the whole video.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.pixels.fine import split_levels, with_fine
from pipeline.pixels.guided_filter import guided_filter
from pipeline.pixels.layers import Layers
from pipeline.stages.enhance.motion import Follower, grey


@dataclass(frozen=True, slots=True)
class Window:
    """How frames are averaged.

    Attributes:
        frames: before each, that take part; at least 1.
        weight: of a frame before against the frame itself, where they agree.
        tolerance: difference of colours, of 255, at which the weight has fallen to 1/e.
        reduce: how much larger than the source the pictures are.
        alpha: alpha is steadied as well.
        deblock: variance of brightness, of 1, below which the pixels next to each other are
            averaged beforehand; 0: none.
    """

    frames: int
    weight: float
    tolerance: float
    reduce: int = 1
    alpha: bool = False
    deblock: float = 0.0


@dataclass(slots=True)
class Eye:
    """What is kept of one eye: the frames before, the last one first."""

    before: deque[tuple[NDArray[np.uint8], Tensor, Tensor | None]]
    follower: Follower = field(default_factory=Follower)


def start(window: Window, eyes: int) -> list[Eye]:
    """A fresh state."""
    return [Eye(deque(maxlen=window.frames)) for _ in range(eyes)]


def steadied(layers: Layers, window: Window, state: Sequence[Eye]) -> Layers:
    """The frames, each averaged with those before; changes `state`."""
    rgb, fine = torch.empty_like(layers.rgb), None
    if layers.fine is not None:
        fine = torch.empty_like(layers.fine)
    alpha = layers.alpha
    if window.alpha and alpha is not None:
        alpha = alpha.clone()
    foreground = None if layers.foreground is None else layers.foreground.clone()
    for t in range(len(layers)):
        for number, eye in enumerate(state):
            picture = layers.rgb[t, number]
            own = None if layers.fine is None else layers.fine[t, number]
            seen = _unit(picture, own)
            now = _deblocked(seen, window.deblock) if window.deblock else seen
            matte = None if layers.alpha is None else layers.alpha[t, number].float()
            looked = grey(_bytes(picture), window.reduce)
            calm, calm_matte = _averaged(now, matte if window.alpha else None, looked, window, eye)
            eye.before.appendleft((looked, now, matte if window.alpha else None))
            _put(calm, rgb[t, number], None if fine is None else fine[t, number])
            if alpha is not None and calm_matte is not None:
                alpha[t, number] = calm_matte.to(alpha.dtype)
            if foreground is not None:  # what was taken out of it at edges is still taken out
                changed = foreground[t, number].float().add_(calm - seen)
                foreground[t, number] = changed.clamp_(0, 1).to(foreground.dtype)
    return replace(layers, rgb=rgb, fine=fine, alpha=alpha, foreground=foreground)


def _averaged(
    now: Tensor,
    matte: Tensor | None,
    looked: NDArray[np.uint8],
    window: Window,
    eye: Eye,
) -> tuple[Tensor, Tensor | None]:
    """One picture ``[3, H, W]`` and its alpha, averaged."""
    total, shares = now.clone(), torch.ones_like(now[:1])
    total_matte = None if matte is None else matte.clone()
    for before, picture, its_matte in eye.before:
        motion = eye.follower.motion(looked, before, (now.shape[1], now.shape[2]), now.device)
        if motion is None:  # another scene: what came before it is one, too
            break
        moved = _moved(picture, motion.grid)
        off = (moved - now).abs().mean(0, keepdim=True).mul_(255 / window.tolerance)
        share = torch.exp(-off.square_()).mul_(motion.followed[0]).mul_(window.weight)
        total.addcmul_(share, moved)
        shares += share
        if total_matte is not None and its_matte is not None:
            total_matte.addcmul_(share, _moved(its_matte, motion.grid))
    if total_matte is not None:
        total_matte.div_(shares).clamp_(0, 1)
    return total.div_(shares), total_matte


def _deblocked(picture: Tensor, variance: float) -> Tensor:
    """Each channel smoothed within what is as bright."""
    luma = picture.mean(0, keepdim=True)[None].expand(3, -1, -1, -1)
    return guided_filter(luma, picture[:, None], 1, max(variance, 1e-6))[:, 0].clamp_(0, 1)


def _moved(picture: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(picture[None], grid, padding_mode="border", align_corners=False)[0]


def _unit(picture: Tensor, fine: Tensor | None) -> Tensor:
    """float32, 0..1."""
    unit = picture.float().div_(255) if picture.dtype == torch.uint8 else picture.float()
    return with_fine(unit, fine)


def _bytes(picture: Tensor) -> Tensor:
    if picture.dtype == torch.uint8:
        return picture
    return picture.float().mul(255).round_().clamp_(0, 255).to(torch.uint8)


def _put(unit: Tensor, out: Tensor, fine: Tensor | None) -> None:
    """Write a picture of 0..1 as what `out` is."""
    if out.dtype == torch.uint8:
        split_levels(unit * 255 + 0.5, out, fine)
    else:
        out.copy_(unit)
