"""Small stereo scenes drawn from textured and plain pieces, each at one disparity or on a slope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tests.pipeline.demo_truth import Clip

SIDE = 256
Picture = NDArray[np.float32]


def texture(seed: int, contrast: float = 40, grey: float = 120) -> Picture:
    """Blobs of a few pixels: float32 ``[SIDE, 2 SIDE, 3]``."""
    random = np.random.default_rng(seed).normal(0, 1, (SIDE, 2 * SIDE, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(random, (0, 0), 1.5)
    blobs: Picture = grey + contrast * smooth / smooth.std()
    return blobs


def plain(grey: float) -> Picture:
    return np.full((SIDE, 2 * SIDE, 3), grey, np.float32)


@dataclass(frozen=True)
class Piece:
    """A surface, cut out by a mask.

    Attributes:
        surface: as wide as two eyes, so that it may be shifted.
        mask: float32 ``[SIDE, SIDE]``, 0 or 1, halfway between the eyes.
        disparity: pixels, a number or one for each row.
    """

    surface: Picture
    mask: Picture
    disparity: float | Picture


def ellipse(x: float, y: float, wide: float, high: float) -> Picture:
    """A mask; places and radii are shares of the eye."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / np.float32(SIDE)
    inside: Picture = ((columns - x) / wide) ** 2 + ((rows - y) / high) ** 2 <= 1
    return inside.astype(np.float32)


def below(row: float) -> Picture:
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[round(row * SIDE) :] = 1
    return mask


def above(row: float) -> Picture:
    return 1 - below(row)


def drawn(frames: Sequence[Sequence[Piece]], noise: float = 1.0) -> Clip:
    """Paint the pieces of each frame over each other, the first ones behind."""
    random = np.random.default_rng(0)
    pictures = np.zeros((len(frames), 2, SIDE, SIDE, 3), np.float32)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    for number, pieces in enumerate(frames):
        for eye in (0, 1):
            for piece in pieces:
                shift = np.broadcast_to(np.float32(piece.disparity), (SIDE,))[:, None]
                columns = (x - (0.5 - eye) * shift).astype(np.float32)
                surface = cv2.remap(piece.surface, columns + SIDE // 2, y, cv2.INTER_LINEAR)
                mask = cv2.remap(
                    piece.mask, columns, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
                )[..., None]
                pictures[number, eye] *= 1 - mask
                pictures[number, eye] += mask * surface
    pictures += random.normal(0, noise, pictures.shape)
    rgb = torch.from_numpy(pictures.round().clip(0, 255).astype(np.uint8))
    return Clip(rgb.permute(0, 1, 4, 2, 3).contiguous())
