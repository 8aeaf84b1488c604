"""The demo's scene: a figure walks through a room, or before a green screen, seen by two eyes.

Everything is computed from the frame number, so tests can ask for the true alpha of any frame.
Knows no files and no codecs.

Geometry, in pixels of an eye that is 640 wide (other sizes scale): a thing with disparity d is
drawn d/2 to the right in the left eye and d/2 to the left in the right eye. Wall 4, cabinet 6,
floor 4 at the wall to 9 at the lower edge, figure 17 to 19. In a VR180 picture of 180 degrees
that is a figure 0.7 m away before a wall at 3.2 m, for eyes 63 mm apart.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cached_property
from typing import Literal

import cv2
import numpy as np

from orchestrator.demo.scene_parts import (
    BODY,
    FAR,
    NEAR,
    SCREEN_GREEN,
    SKIRTING_Y,
    Bytes,
    Floats,
    noise,
    outlines,
    paint_cabinet,
    paint_green_screen,
    paint_room,
    palette,
)

Backdrop = Literal["room", "green"]

_OVERSAMPLING = 3
_PASS_S = 4.0  # the figure crosses the room in at most this time, then turns round
_WALL, _CABINET, _FLOOR_EDGE, _FIGURE = 4.0, 6.0, 9.0, 18.0  # disparities
_LIMB = 1.0  # how much nearer the near limbs are than the body, and the far ones farther
_FEET_Y = 0.925  # where the figure stands, in eyes
_REACH = 0.25  # nothing of the figure is farther from its axis, in eyes
_SPILL = 0.25


class Scene:
    """Deterministic pictures of the scene and their ground truth.

    Args:
        num_frames: length of the clip; decides the figure's path and the flashes.
        eye_size: width and height of an eye in pixels; even, at least 128.
        frame_rate: frames a second.
    """

    def __init__(
        self, num_frames: int, *, eye_size: int = 640, frame_rate: Fraction = Fraction(30)
    ) -> None:
        if num_frames < 1 or eye_size < 128 or eye_size % 2 or frame_rate <= 0:
            raise ValueError(f"no scene of {num_frames} frames of {eye_size} at {frame_rate}")
        self.num_frames = num_frames
        self.eye_size = eye_size
        self.frame_rate = frame_rate

    @property
    def flash_frames(self) -> tuple[int, ...]:
        """Frames in which the lamp on the wall flashes white (and the sound clicks), ascending.

        One a quarter of a second after the start, one in the middle, one a quarter before the end.
        """
        quarter = min(round(self.frame_rate / 4), (self.num_frames - 1) // 2)
        last = self.num_frames - 1 - quarter
        return tuple(sorted({quarter, self.num_frames // 2, last}))

    def flash_box(self, eye: int) -> tuple[slice, slice]:
        """Rows and columns well inside the lamp: white in a flash frame, wall in all others."""
        x = 0.1 * self.eye_size + self._shift(_WALL, eye)
        reach = 0.025 * self.eye_size
        rows = slice(round(0.1 * self.eye_size - reach), round(0.1 * self.eye_size + reach))
        return rows, slice(round(x - reach), round(x + reach))

    def alpha(self, frame: int) -> Floats:
        """Share of each pixel that the figure covers: float32 ``[2, H, W]``, 0..1."""
        whole = np.zeros((2, self.eye_size, self.eye_size), np.float32)
        for eye in (0, 1):
            columns, _, alpha = self._figure(frame, eye)
            whole[eye, :, columns] = alpha
        return whole

    def figure_colour(self, frame: int) -> Floats:
        """The figure's own colour without spill: float32 ``[2, H, W, 3]``, RGB 0..1.

        Black where alpha is 0.
        """
        whole = np.zeros((2, self.eye_size, self.eye_size, 3), np.float32)
        for eye in (0, 1):
            columns, premultiplied, alpha = self._figure(frame, eye)
            whole[eye, :, columns] = premultiplied / np.maximum(alpha, 1e-6)[..., None] / 255
        return whole

    def plate(self, backdrop: Backdrop) -> Bytes:
        """The empty scene without the figure's shadow: uint8 ``[2, H, W, 3]``, RGB."""
        return np.stack([_to_bytes(plate) for plate in self._plates[backdrop]])

    def picture(self, frame: int, backdrop: Backdrop) -> Bytes:
        """What the camera sees: uint8 ``[2, H, W, 3]``, RGB, left eye first."""
        return self.pictures(frame, (backdrop,))[0]

    def pictures(self, frame: int, backdrops: tuple[Backdrop, ...]) -> list[Bytes]:
        """As `picture`, one for each backdrop; the figure is drawn only once."""
        pictures = [self.plate(backdrop) for backdrop in backdrops]
        for eye in (0, 1):
            columns, premultiplied, alpha = self._figure(frame, eye)
            light = self._shadow(frame, eye)[:, columns, None]
            for picture, backdrop in zip(pictures, backdrops, strict=True):
                figure = premultiplied
                if backdrop == "green":
                    figure = self._with_spill(premultiplied, alpha)
                ground = self._plates[backdrop][eye][:, columns] * light
                picture[eye, :, columns] = _to_bytes(ground * (1 - alpha)[..., None] + figure)
                if frame in self.flash_frames:
                    lamp = self._lamps[eye][..., None]
                    lit = picture[eye] * (1 - lamp) + 255 * lamp
                    picture[eye] = _to_bytes(lit)
        return pictures

    # -- the figure ------------------------------------------------------------------------------

    def _shift(self, disparity: float, eye: int) -> float:
        """Pixels to the right at which a thing with this disparity appears in this eye."""
        return (0.5 if eye == 0 else -0.5) * disparity * self.eye_size / 640

    def _walk(self, frame: int) -> tuple[float, float]:
        """Where the figure stands (0..1 across the eye) and its gait's phase in radians.

        It crosses the room at constant speed, so that no part of the room is hidden for long.
        """
        passes = max(1, math.ceil(float(self.num_frames / self.frame_rate) / _PASS_S))
        way = passes * frame / max(1, self.num_frames - 1)
        within = way % 2
        share = within if within <= 1 else 2 - within
        return 0.18 + 0.64 * share, 2 * math.pi * 2.5 * way

    def _figure(self, frame: int, eye: int) -> tuple[slice, Floats, Floats]:
        """The figure in the columns around it, w of them.

        Returns:
            The columns, premultiplied RGB 0..255 ``[H, w, 3]``, alpha 0..1 ``[H, w]``.
        """
        size, fine = self.eye_size, _OVERSAMPLING
        across, phase = self._walk(frame)
        left = int((across - _REACH) * size)
        width = int(2 * _REACH * size)
        labels = np.zeros((size * fine, width * fine), np.uint8)
        cloth = np.empty((*labels.shape, 4), np.uint8)
        origins = {}
        for layer, nearer in ((FAR, -_LIMB), (BODY, 0.0), (NEAR, _LIMB)):
            x = across * size - left + self._shift(_FIGURE + nearer, eye)
            origins[layer] = round(x * fine)
        for label, outline in outlines(phase):
            points = outline * (size * fine)
            points[:, 0] += origins[label // 8 * 8]
            cv2.fillConvexPoly(labels, np.rint(points * 16).astype(np.int32), label, shift=4)
        for layer, origin in origins.items():
            start = width * fine - origin
            shifted = self._cloth[:, start : start + width * fine]
            cv2.copyTo(shifted, cv2.inRange(labels, layer, layer + 7), cloth)
        rgba = palette()[labels].view(np.uint8).reshape(cloth.shape)
        rgba = cv2.multiply(rgba, cloth, scale=1 / 128)
        # Area averaging, then a lens a little softer than the pixel grid.
        rgba = cv2.resize(rgba, (width, size), interpolation=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(rgba.astype(np.float32), (5, 5), 0.6)
        first, last = max(0, left), min(size, left + width)
        soft = soft[:, first - left : last - left]
        return slice(first, last), soft[..., :3], soft[..., 3] / np.float32(255)

    @cached_property
    def _cloth(self) -> Bytes:
        """Brightness of the figure's surface: checks and grain, uint8 RGBA, 128 is neutral."""
        fine = self.eye_size * _OVERSAMPLING
        height, width = fine, 2 * int(2 * _REACH * self.eye_size) * _OVERSAMPLING
        y, x = np.mgrid[:height, :width].astype(np.float32) / np.float32(fine)
        checks = 18 * np.sign(np.sin(x * 190) * np.sin(y * 170 + 3 * np.sin(x * 23)))
        grain = noise(height, width, fine * 0.05, 11) + noise(height, width, fine * 0.012, 12)
        cloth = 128 + checks + 26 * grain
        grey = np.clip(cloth, 40, 215).astype(np.uint8)
        return np.stack([grey, grey, grey, np.full_like(grey, 128)], axis=2)

    def _with_spill(self, premultiplied: Floats, alpha: Floats) -> Floats:
        """Green light that reflects from the screen onto the figure's edges."""
        inside = cv2.GaussianBlur(alpha, (0, 0), 6 * self.eye_size / 640)
        edge = np.clip(2 * (1 - inside), 0, 1) * np.float32(_SPILL)
        green = np.array(SCREEN_GREEN, np.float32)
        spilled: Floats = premultiplied * (1 - edge)[..., None] + (edge * alpha)[..., None] * green
        return spilled

    # -- what is behind it -----------------------------------------------------------------------

    def _shadow(self, frame: int, eye: int) -> Floats:
        """Light that the figure leaves on the floor below it: ``[H, W]``, 0..1."""
        size = self.eye_size
        across, _ = self._walk(frame)
        floor = float(self._row_disparity[int(_FEET_Y * size)])
        y = (np.arange(size, dtype=np.float32) - np.float32(_FEET_Y * size)) / (0.025 * size)
        x = np.arange(size, dtype=np.float32) - np.float32(across * size + self._shift(floor, eye))
        x /= np.float32(0.1 * size)
        light: Floats = 1 - np.float32(0.18) * np.outer(np.exp(-y * y), np.exp(-x * x))
        return light

    @cached_property
    def _row_disparity(self) -> Floats:
        """Disparity of wall and floor by row, at an eye of 640."""
        y = (np.arange(self.eye_size, dtype=np.float32) + np.float32(0.5)) / self.eye_size
        down = np.clip((y - SKIRTING_Y) / (1 - SKIRTING_Y), 0, 1)
        return (_WALL + (_FLOOR_EDGE - _WALL) * down).astype(np.float32)

    @cached_property
    def _lamps(self) -> list[Floats]:
        """How much of each pixel the lamp covers, by eye: a disc on the wall, upper left."""
        size = self.eye_size
        lamps = []
        for eye in (0, 1):
            y, x = np.mgrid[:size, :size].astype(np.float32) + np.float32(0.5)
            distance = np.hypot(x - 0.1 * size - self._shift(_WALL, eye), y - 0.1 * size)
            lamps.append(np.clip(0.045 * size - distance + 0.5, 0, 1).astype(np.float32))
        return lamps

    @cached_property
    def _plates(self) -> dict[Backdrop, list[Floats]]:
        """Empty backdrops by eye, float32 ``[H, W, 3]`` in 0..255."""
        size = self.eye_size
        margin = size // 16
        canvases: dict[Backdrop, Floats] = {
            "room": paint_room(size, margin),
            "green": paint_green_screen(size, margin),
        }
        cabinet = paint_cabinet(size, margin)
        plates: dict[Backdrop, list[Floats]] = {"room": [], "green": []}
        y, x = np.mgrid[:size, :size].astype(np.float32)
        for eye in (0, 1):
            shift = self._row_disparity * np.float32(self._shift(1.0, eye))
            columns = x + margin - shift[:, None]
            for name, canvas in canvases.items():
                plates[name].append(cv2.remap(canvas, columns, y, cv2.INTER_CUBIC))
            columns = x + np.float32(margin - self._shift(_CABINET, eye))
            piece = cv2.remap(cabinet, columns, y, cv2.INTER_LINEAR)
            room = plates["room"][eye]
            plates["room"][eye] = room * (1 - piece[..., 3:]) + piece[..., :3]
        return plates


def _to_bytes(picture: Floats) -> Bytes:
    rounded: Bytes = np.clip(picture + np.float32(0.5), 0, 255).astype(np.uint8)
    return rounded
