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
from typing import Literal

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
        of: what is steadied: the picture (and the foreground as it is), or alpha alone, by what the
            picture shows.
        deblock: variance of brightness, of 1, below which the pixels next to each other are
            averaged beforehand; 0: none.
    """

    frames: int
    weight: float
    tolerance: float
    reduce: int = 1
    of: Literal["picture", "alpha"] = "picture"
    deblock: float = 0.0


@dataclass(slots=True)
class Eye:
    """What is kept of one eye: of each frame before, the last one first, what motion is looked for
    in, the picture, and what is steadied."""

    before: deque[tuple[NDArray[np.uint8], Tensor, Tensor]]
    follower: Follower = field(default_factory=Follower)


def start(window: Window, eyes: int) -> list[Eye]:
    """A fresh state."""
    return [Eye(deque(maxlen=window.frames)) for _ in range(eyes)]


def steadied(layers: Layers, window: Window, state: Sequence[Eye]) -> Layers:
    """The frames, each averaged with those before; changes `state`."""
    if window.of == "alpha":
        return _steadied_alpha(layers, window, state)
    rgb, fine = torch.empty_like(layers.rgb), None
    if layers.fine is not None:
        fine = torch.empty_like(layers.fine)
    foreground = None if layers.foreground is None else layers.foreground.clone()
    for t in range(len(layers)):
        for number, eye in enumerate(state):
            picture = layers.rgb[t, number]
            own = None if layers.fine is None else layers.fine[t, number]
            seen = _unit(picture, own)
            now = _deblocked(seen, window.deblock) if window.deblock else seen
            looked = grey(_bytes(picture), window.reduce)
            calm = _averaged(now, now, looked, window, eye)
            eye.before.appendleft((looked, now, now))
            _put(calm, rgb[t, number], None if fine is None else fine[t, number])
            if foreground is not None:  # what was taken out of it at edges is still taken out
                changed = foreground[t, number].float().add_(calm - seen)
                foreground[t, number] = changed.clamp_(0, 1).to(foreground.dtype)
    return replace(layers, rgb=rgb, fine=fine, foreground=foreground)


def _steadied_alpha(layers: Layers, window: Window, state: Sequence[Eye]) -> Layers:
    alpha = layers.matte.alpha.clone()
    for t in range(len(layers)):
        for number, eye in enumerate(state):
            picture = layers.rgb[t, number]
            now, matte = _unit(picture, None), layers.matte.alpha[t, number].float()
            looked = grey(_bytes(picture), window.reduce)
            calm = _averaged(now, matte, looked, window, eye)
            eye.before.appendleft((looked, now, matte))
            alpha[t, number] = calm.clamp_(0, 1).to(alpha.dtype)
    return replace(layers, alpha=alpha)


def _averaged(
    now: Tensor,
    value: Tensor,
    looked: NDArray[np.uint8],
    window: Window,
    eye: Eye,
) -> Tensor:
    """`value` of one picture, averaged with that of those before.

    Args:
        now: the picture ``[3, H, W]``.
        value: ``[C, H, W]``; of the frames before it is the last of what `eye` keeps.
    """
    total, shares = value.clone(), torch.ones_like(now[:1])
    for before, picture, its_value in eye.before:
        motion = eye.follower.motion(looked, before, (now.shape[1], now.shape[2]), now.device)
        if motion is None:  # another scene: what came before it is one, too
            break
        moved = _moved(picture, motion.grid)
        off = (moved - now).abs().mean(0, keepdim=True).mul_(255 / window.tolerance)
        share = torch.exp(-off.square_()).mul_(motion.followed[0]).mul_(window.weight)
        total.addcmul_(share, moved if its_value is picture else _moved(its_value, motion.grid))
        shares += share
    return total.div_(shares)


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
