"""Matting by boxes gives what matting of the whole eye gives, wherever people are and go.

The model is a double that finds bright pixels exactly, and remembers how long they were there, so
that a lost person, a wrong place and a lost memory all show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import EyeShape
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.pixels.layers import Layers
from pipeline.stages.chain import Chain
from pipeline.stages.matting.base import ClipSampler, Prepared
from pipeline.stages.matting.regions.stage import RegionMatting
from pipeline.stages.matting.stage import Matting

HEIGHT, WIDTH = 288, 544
RATE = Fraction(30)


@dataclass
class _Remembered:
    ratio: float
    levels: list[Tensor] = field(default_factory=list)


class Bright:
    """See `pipeline.stages.matting.base.BoxModel`: what is bright is the subject.

    Its foreground is never 0, so that the boxes show in what comes out.

    Attributes:
        seen: number of each frame, and height and width of what was matted of it.
        looks: how often it looked.
    """

    name: ClassVar[str] = "bright"
    warmup_frames = 24

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int]] = []
        self.looks = 0

    def prepare(self, clip: ClipSampler) -> Prepared:
        return {}

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> _Remembered:
        return self.start_box(eyes, height, width, self.whole_ratio(height, width))

    def whole_ratio(self, height: int, width: int) -> float:
        return min(512 / max(height, width), 1.0)

    def start_box(self, eyes: int, height: int, width: int, ratio: float) -> _Remembered:
        return _Remembered(ratio)

    def start_looking(self, eyes: int, height: int, width: int) -> None:
        return None

    def look(self, picture: Tensor, looking: None) -> Tensor:
        self.looks += 1
        return F.max_pool2d(self._alpha(picture), 4)[:, 0]

    def matte(self, eyes: EyeBatch, state: _Remembered) -> MatteBatch:
        height, width = eyes.rgb.shape[-2:]
        alphas, colours = [], []
        for t, picture in enumerate(eyes.rgb):
            self.seen.append((eyes.start + t, height, width))
            alpha = self._alpha(picture)
            size = int(height * state.ratio), int(width * state.ratio)
            levels = []
            for level in range(4):
                size = (size[0] + 1) // 2, (size[1] + 1) // 2
                fresh = F.adaptive_avg_pool2d(alpha, size)
                levels.append(fresh + (state.levels[level] / 2 if state.levels else 0))
            state.levels = levels
            alphas.append(alpha)
            shown = F.interpolate(levels[0] / 2, (height, width)) + 0.25
            colours.append(shown.expand(-1, 3, -1, -1))
        return MatteBatch(torch.stack(alphas), torch.stack(colours), eyes.start)

    def memory(self, state: _Remembered) -> tuple[Tensor, ...]:
        return tuple(state.levels)

    def remember(self, state: _Remembered, memory: tuple[Tensor, ...]) -> None:
        state.levels = list(memory)

    def _alpha(self, picture: Tensor) -> Tensor:
        return (picture[:, :1] > 127).float()


#: Where a person's top left corner is in a frame, and in which eyes; None: nowhere.
Way = Callable[[int], tuple[int, int] | None]

PERSON = 80, 30


def clip(count: int, *ways: Way, eyes: tuple[int, ...] = (0, 1)) -> Tensor:
    rgb = torch.full((count, 2, 3, HEIGHT, WIDTH), 20, dtype=torch.uint8)
    for t in range(count):
        for place in filter(None, (way(t) for way in ways)):
            top, left = place
            rows = slice(max(0, top), max(0, top + PERSON[0]))
            rgb[t, list(eyes), :, rows, max(0, left) : max(0, left + PERSON[1])] = 230
    return rgb


def made(
    stage: Any, rgb: Tensor, start: int = 0, stop: int | None = None, chunk: int = 5
) -> Layers:
    """The frames ``start..stop`` as a segment of that clip gives them."""
    stop = len(rgb) if stop is None else stop
    chain = Chain([stage])
    begin, end = chain.span(start, stop, len(rgb))

    def batches() -> Iterator[EyeBatch]:
        for first, last in ((begin, start), (start, stop), (stop, end)):
            for at in range(first, last, chunk):
                yield EyeBatch(rgb[at : min(last, at + chunk)], at)

    passing = chain.start(EyeShape(2, HEIGHT, WIDTH, "equirect180", RATE), {})
    parts = list(passing.layers(batches(), start, stop))
    alpha = torch.cat([part.matte.alpha for part in parts])
    colours = torch.cat(
        [part.rgb.float() / 255 if part.foreground is None else part.foreground for part in parts]
    )
    return Layers(start, torch.cat([part.rgb for part in parts]), alpha, colours)


def still(top: int, left: int) -> Way:
    return lambda t: (top, left)


def walking(t: int) -> tuple[int, int]:
    return 120, 20 + 6 * t


def entering(t: int) -> tuple[int, int] | None:
    return (150, 440) if t >= 19 else None


def leaving(t: int) -> tuple[int, int] | None:
    return (150, 440) if t < 21 else None


def darting(t: int) -> tuple[int, int]:
    """Far away between two looks, and back at the next."""
    return 150, 140 + 14 * min(t % 16, 16 - t % 16)


def crossing(t: int) -> tuple[int, int]:
    return 150, WIDTH - 100 + 4 * t


CASES: dict[str, list[Way]] = {
    "still": [still(100, 200)],
    "walking": [walking],
    "entering": [entering],
    "leaving": [leaving],
    "darting": [darting],
    "crossing the edge": [crossing],
    "at the edge": [still(HEIGHT - 50, -10)],
    "two at opposite sides": [still(100, 10), still(150, 500)],
    "two who meet": [lambda t: (120, 60 + 5 * t), lambda t: (120, 400 - 5 * t)],
    "one stays, one enters": [still(100, 10), entering],
    "a crowd": [still(y, x) for y in (10, 110, 200) for x in range(15, 500, 80)],
}


@pytest.mark.parametrize("case", CASES)
def test_nobody_is_lost(case: str) -> None:
    rgb = clip(42, *CASES[case])
    whole, boxed = made(Matting(Bright()), rgb), made(RegionMatting(Bright(), 384), rgb)
    assert torch.equal(boxed.matte.alpha, whole.matte.alpha)


@pytest.mark.parametrize("case", ["still", "walking"])
def test_what_is_remembered_goes_along_with_a_box(case: str) -> None:
    rgb = clip(50, *CASES[case])
    model = Bright()
    boxed = made(RegionMatting(model, 384), rgb)
    # The whole eye at its own size, as the boxes are.
    model.whole_ratio = lambda height, width: 1.0  # type: ignore[method-assign]
    whole = made(Matting(model), rgb)
    there = whole.matte.alpha > 0
    assert boxed.foreground is not None
    assert whole.foreground is not None
    assert torch.equal(
        torch.where(there, boxed.foreground, 0), torch.where(there, whole.foreground, 0)
    )


def test_who_is_in_one_eye_only_is_found_there() -> None:
    rgb = clip(20, still(100, 200), eyes=(1,))
    boxed = made(RegionMatting(Bright(), 384), rgb)
    assert torch.equal(boxed.matte.alpha, (rgb[:, :, :1] > 127).float())


def test_nothing_is_matted_where_nobody_is() -> None:
    model = Bright()
    layers = made(RegionMatting(model, 384), clip(40))
    assert not layers.matte.alpha.any()
    assert model.seen == []
    assert model.looks == 4, "at 0, 16, 32, and the last frame"


@pytest.mark.parametrize("chunk", [1, 7, 16, 45])
def test_chunks_do_not_matter(chunk: int) -> None:
    rgb = clip(45, darting, entering)
    one, other = Bright(), Bright()
    expected, found = (
        made(RegionMatting(model, 384), rgb, chunk=size)
        for model, size in ((one, 5), (other, chunk))
    )
    assert torch.equal(found.matte.alpha, expected.matte.alpha)
    assert found.foreground is not None
    assert expected.foreground is not None
    assert torch.equal(found.foreground, expected.foreground)


@pytest.mark.parametrize("length", [13, 30])
def test_boxes_are_the_same_in_whatever_segment_a_frame_is(length: int) -> None:
    rgb = clip(90, darting, entering)
    whole = made(RegionMatting(Bright(), 384), rgb)
    assert whole.foreground is not None
    boxes = whole.foreground > 0
    assert boxes.float().mean() < 0.7
    for start in range(0, 90, length):
        stop = min(90, start + length)
        segment = made(RegionMatting(Bright(), 384), rgb, start, stop)
        assert segment.foreground is not None
        assert torch.equal(segment.foreground > 0, boxes[start:stop])


def test_a_clip_shorter_than_from_look_to_look_is_whole() -> None:
    rgb = clip(5, walking)
    assert len(made(RegionMatting(Bright(), 384), rgb)) == 5


def test_what_8_bits_leave_out_waits_with_its_frame() -> None:
    rgb = clip(40, walking)
    numbers = torch.arange(40, dtype=torch.int8).view(-1, 1, 1, 1, 1)
    fine = numbers.expand(rgb.shape).contiguous()
    chain = Chain([RegionMatting(Bright(), 384)])
    passing = chain.start(EyeShape(2, HEIGHT, WIDTH, "equirect180", RATE), {})
    batches = (EyeBatch(rgb[k : k + 7], k, fine=fine[k : k + 7]) for k in range(0, 40, 7))
    for part in passing.layers(batches, 3, 37):
        assert part.fine is not None
        assert torch.equal(part.fine, fine[part.start : part.stop])


def test_eyes_that_the_network_sees_at_their_own_size_are_matted_as_a_whole() -> None:
    rgb = clip(20, walking)[..., :512].contiguous()
    model = Bright()
    chain = Chain([RegionMatting(model, 384)])
    passing = chain.start(EyeShape(2, HEIGHT, 512, "equirect180", RATE), {})
    parts = list(passing.layers([EyeBatch(rgb[:9], 0), EyeBatch(rgb[9:], 9)], 0, 20))
    assert [len(part) for part in parts] == [9, 11], "no frame waits"
    assert model.looks == 0
    assert model.seen == [(number, HEIGHT, 512) for number in range(20)]
