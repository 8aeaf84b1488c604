"""Paints the parts of the demo's scene: the walking figure's outlines, room and screen.

Stateless; lengths are in eyes (1 is the width of an eye) unless they are said to be pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

SCREEN_GREEN = (34, 172, 70)
SKIRTING_Y = 0.74  # where the wall ends

# Labels of what the figure is made of; each limb's depth layer is label // 8.
FAR, BODY, NEAR = 0, 8, 16
_SKIN, _SHIRT, _TROUSERS, _SHOE, _HAIR, _EYE = 1, 2, 3, 4, 5, 6
_COLOURS = {
    _SKIN: (206, 150, 122),
    _SHIRT: (176, 52, 58),
    _TROUSERS: (58, 66, 108),
    _SHOE: (66, 46, 38),
    _HAIR: (52, 36, 30),
    _EYE: (24, 24, 28),
}


def outlines(phase: float) -> Iterator[tuple[int, Floats]]:
    """The figure's convex parts from back to front: label and outline.

    Outlines are float32 ``[N, 2]``, in eyes, x from the figure's axis, y from the upper edge.
    """
    bob = 0.006 * math.cos(2 * phase)
    shoulder, hip = (0.0, 0.345 + bob), (0.0, 0.56 + bob)
    swing = math.sin(phase)
    yield from _arm(FAR, shoulder, 0.55 * swing)
    yield from _leg(FAR, hip, -0.42 * swing, math.cos(phase))
    yield from _leg(NEAR, hip, 0.42 * swing, -math.cos(phase))
    yield BODY + _SKIN, _taper((0.0, 0.26 + bob), shoulder, 0.022, 0.03)
    yield BODY + _SHIRT, _taper((0.0, 0.36 + bob), (0.0, 0.545 + bob), 0.062, 0.05)
    head = (0.006, 0.215 + bob)
    yield BODY + _HAIR, _taper((-0.008, 0.2 + bob), (-0.012, 0.225 + bob), 0.05, 0.046)
    yield BODY + _SKIN, _taper(head, (0.012, 0.235 + bob), 0.043, 0.036)
    yield BODY + _EYE, _taper((0.03, 0.208 + bob), (0.032, 0.212 + bob), 0.006, 0.006)
    yield from _arm(NEAR, shoulder, -0.55 * swing)


Point = tuple[float, float]


def _arm(layer: int, shoulder: Point, angle: float) -> Iterator[tuple[int, Floats]]:
    elbow = _along(shoulder, 0.125, angle)
    hand = _along(elbow, 0.12, angle + 0.35)
    yield layer + _SKIN, _taper(elbow, hand, 0.02, 0.017)
    yield layer + _SKIN, _taper(hand, _along(hand, 0.02, angle + 0.5), 0.02, 0.014)
    yield layer + _SHIRT, _taper(shoulder, elbow, 0.034, 0.026)


def _leg(layer: int, hip: Point, angle: float, lift: float) -> Iterator[tuple[int, Floats]]:
    knee = _along(hip, 0.185, angle)
    ankle = _along(knee, 0.165, angle - 0.12 - 0.4 * max(0.0, lift))
    yield layer + _SHOE, _taper(ankle, (ankle[0] + 0.045, ankle[1] + 0.012), 0.02, 0.014)
    yield layer + _TROUSERS, _taper(knee, ankle, 0.034, 0.022)
    yield layer + _TROUSERS, _taper(hip, knee, 0.05, 0.034)


def _along(start: Point, length: float, angle: float) -> Point:
    """The point that far below `start`, turned forwards by `angle` radians."""
    return start[0] + length * math.sin(angle), start[1] + length * math.cos(angle)


def _taper(a: Point, b: Point, radius_a: float, radius_b: float) -> Floats:
    """Outline of the convex hull of two discs."""
    turn = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    disc = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    points = np.concatenate([np.array(a) + radius_a * disc, np.array(b) + radius_b * disc])
    hull: Floats = cv2.convexHull(points.astype(np.float32))[:, 0]
    return hull


def palette() -> NDArray[np.uint32]:
    """RGBA of each label, a byte a channel in memory: uint32 ``[256]``; far limbs are darker."""
    colours = np.zeros((256, 4), np.uint8)
    for layer, light in ((FAR, 0.72), (BODY, 1.0), (NEAR, 1.06)):
        for part, colour in _COLOURS.items():
            colours[layer + part] = [*(min(255, int(light * channel)) for channel in colour), 255]
    return colours.view(np.uint32)[:, 0]


def noise(height: int, width: int, grain: float, seed: int) -> Floats:
    """Smooth noise of about -1..1 with details of `grain` pixels.

    RandomState, because its stream is promised never to change.
    """
    grain = max(1.0, grain)
    shape = (math.ceil(height / grain) + 2, math.ceil(width / grain) + 2)
    coarse = np.random.RandomState(seed).uniform(-1, 1, shape).astype(np.float32)
    smooth: Floats = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return smooth


def paint_room(size: int, margin: int) -> Floats:
    """Wall with pictures and a wooden floor: float32 ``[S, S + 2 margin, 3]``, 0..255."""
    width = size + 2 * margin
    y, x = np.mgrid[:size, :width].astype(np.float32)
    y, x = y / size, (x - margin) / size
    plaster = sum(
        weight * noise(size, width, size * grain, seed)
        for seed, (grain, weight) in enumerate([(0.15, 9), (0.03, 10), (0.008, 13)])
    )
    stripes = 9 * np.sign(np.sin(x * 64 + 0.8 * np.sin(x * 9)))
    wall = np.array((188, 176, 150), np.float32) + (plaster + stripes)[..., None]
    for left, top, right, bottom, seed in (
        (0.24, 0.1, 0.44, 0.32, 21),
        (0.58, 0.16, 0.72, 0.42, 22),
        (0.82, 0.08, 0.97, 0.24, 23),
    ):
        _hang_picture(wall, margin, (left, top, right, bottom), seed)
    planks = noise(size, width, size * 0.007, 31) * 16 + 10 * np.sign(np.sin(y * 150))
    joints = 14 * np.sign(np.sin(x * 31 + 2.1 * np.floor(y * 47)))
    floor = np.array((128, 92, 62), np.float32) + (planks + joints)[..., None]
    room: Floats = np.where((y < SKIRTING_Y)[..., None], wall, floor)
    skirting = (y > SKIRTING_Y - 0.02) & (y < SKIRTING_Y)
    room[skirting] = room[skirting] * np.float32(0.3) + np.float32(150)
    bounded: Floats = np.clip(room, 0, 255)
    return bounded


def _hang_picture(
    wall: Floats, margin: int, box: tuple[float, float, float, float], seed: int
) -> None:
    size = wall.shape[0]
    left, top, right, bottom = (round(edge * size) for edge in box)
    wall[top:bottom, left + margin : right + margin] = (70, 50, 38)
    frame = max(2, round(0.012 * size))
    top, bottom = top + frame, bottom - frame
    left, right = left + frame + margin, right - frame + margin
    for channel in range(3):
        blot = noise(bottom - top, right - left, 0.03 * size, 10 * seed + channel)
        wall[top:bottom, left:right, channel] = 125 + 70 * blot


def paint_cabinet(size: int, margin: int) -> Floats:
    """A cabinet at the wall: premultiplied RGB 0..255 and alpha 0..1, ``[S, S + 2 margin, 4]``."""
    cabinet = np.zeros((size, size + 2 * margin, 4), np.float32)
    top, bottom = round(0.5 * size), round(0.79 * size)
    left, right = round(0.04 * size) + margin, round(0.3 * size) + margin
    height, width = bottom - top, right - left
    wood = 20 * noise(height, width, 0.02 * size, 41) + 12 * noise(height, width, 2, 42)
    front = np.array((112, 78, 52), np.float32) + wood[..., None]
    for edge in (1 / 3, 2 / 3):
        row = round(edge * height)
        front[row - size // 200 - 1 : row + 1] = 40
    cabinet[top:bottom, left:right, :3] = np.clip(front, 0, 255)
    cabinet[top:bottom, left:right, 3] = 1
    soft: Floats = cv2.GaussianBlur(cabinet, (5, 5), 0.7)
    return soft


def paint_green_screen(size: int, margin: int) -> Floats:
    """A screen that runs on into the floor, lit unevenly: float32 ``[S, S + 2 margin, 3]``."""
    width = size + 2 * margin
    y, x = np.mgrid[:size, :width].astype(np.float32)
    y, x = y / size, (x - margin) / size
    light = 1.06 - 0.22 * ((x - 0.45) ** 2 + 0.6 * (y - 0.4) ** 2)
    light += 0.012 * noise(size, width, size * 0.1, 51) + 0.01 * noise(size, width, 2, 52)
    screen = np.array(SCREEN_GREEN, np.float32) * light[..., None]
    bounded: Floats = np.clip(screen, 0, 255).astype(np.float32)
    return bounded
