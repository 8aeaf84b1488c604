"""Draws rulers along a picture, in the pixels in which prompts count: those of one eye.

A tick stands at the middle of its pixel, as the middle of the first pixel is 0 for prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import ImageDraw

#: Pixels of the sheet: the rulers above and to the left of a picture, and their text. A line of
#: numbers stands so far above the picture, and one with the names of the eyes so far.
ABOVE, BESIDE = 34, 40
_TEXT, _NUMBERS, _NAMES = 11, 10, 24
_INK = (70, 70, 70)
_LONG, _SHORT = 6, 3

#: Numbers, and ticks without one, stand at least so far apart.
_NUMBERS_ACROSS, _NUMBERS_DOWN, _TICKS = 38, 34, 5
#: A number ends so far before the next eye's zero.
_BETWEEN = 6


@dataclass(frozen=True, slots=True)
class EyePlace:
    """Where an eye lies in the whole picture, in pixels of that; the name is empty for one eye."""

    name: str
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Stretch:
    """One eye along one ruler."""

    name: str
    begin: int
    length: int


def draw_rulers(
    draw: ImageDraw.ImageDraw, eyes: Sequence[EyePlace], scale: float, left: int, top: int
) -> None:
    """Draw both rulers of a picture.

    Args:
        scale: pixels of the sheet for one pixel of the picture.
        left, top: of the picture on the sheet.
    """
    draw.text((left - 5, top - 5), "px", fill=_INK, font_size=_TEXT, anchor="rs")
    for stretch in _apart([_Stretch(eye.name, eye.left, eye.width) for eye in eyes]):
        _across(draw, stretch, scale, left, top)
    for stretch in _apart([_Stretch(eye.name, eye.top, eye.height) for eye in eyes]):
        _down(draw, stretch, scale, left, top)


def _apart(stretches: Sequence[_Stretch]) -> list[_Stretch]:
    """Two eyes that share a ruler are one stretch, without a name."""
    if len({stretch.begin for stretch in stretches}) == len(stretches):
        return list(stretches)
    return [_Stretch("", stretches[0].begin, stretches[0].length)]


def _across(
    draw: ImageDraw.ImageDraw, stretch: _Stretch, scale: float, left: int, top: int
) -> None:
    step = number_step(scale, _NUMBERS_ACROSS)
    end = left + (stretch.begin + stretch.length) * scale
    if stretch.name:
        middle = left + (stretch.begin + stretch.length / 2) * scale
        name = f"{stretch.name} eye"
        draw.text((middle, top - _NAMES), name, fill=_INK, font_size=_TEXT, anchor="ms")
    for pixel in _ticks(stretch.length, scale, step):
        x = left + int((stretch.begin + pixel + 0.5) * scale)
        is_long = pixel % step == 0
        draw.line((x, top - 1 - (_LONG if is_long else _SHORT), x, top - 2), fill=_INK)
        if is_long:
            text = str(pixel)
            half = draw.textlength(text, font_size=_TEXT) / 2
            middle = max(x, left + stretch.begin * scale + half)
            if middle + half < end - _BETWEEN:
                draw.text((middle, top - _NUMBERS), text, fill=_INK, font_size=_TEXT, anchor="ms")


def _down(draw: ImageDraw.ImageDraw, stretch: _Stretch, scale: float, left: int, top: int) -> None:
    step = number_step(scale, _NUMBERS_DOWN)
    end = top + (stretch.begin + stretch.length) * scale
    if stretch.name and stretch.length * scale > 3 * _NUMBERS_DOWN:
        draw.text((left - 9, end - 2), stretch.name, fill=_INK, font_size=_TEXT, anchor="rs")
        end -= _TEXT + 4
    for pixel in _ticks(stretch.length, scale, step):
        y = top + int((stretch.begin + pixel + 0.5) * scale)
        is_long = pixel % step == 0
        draw.line((left - 1 - (_LONG if is_long else _SHORT), y, left - 2, y), fill=_INK)
        half = _TEXT / 2
        middle = max(y, top + stretch.begin * scale + half)
        if is_long and middle + half < end:
            draw.text((left - 9, middle), str(pixel), fill=_INK, font_size=_TEXT, anchor="rm")


def number_step(scale: float, apart: int) -> int:
    """Pixels from number to number, 1, 2 or 5 times a power of ten, at least `apart` on a sheet."""
    power = 1
    while True:
        for step in (power, 2 * power, 5 * power):
            if step * scale >= apart:
                return step
        power *= 10


def _ticks(length: int, scale: float, step: int) -> Iterator[int]:
    parts = 4 if str(step).startswith("2") else 5
    fine = step // parts if step % parts == 0 and step / parts * scale >= _TICKS else step
    return iter(range(0, length, fine))
