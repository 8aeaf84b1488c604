"""What is measured of mattes whose faults are known, and the flags that come of it."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from pipeline.contract import ProjectionName
from pipeline.judge.findings import FlagKind, MatteFlag, Side
from pipeline.judge.flags import FrameMeasures
from pipeline.judge.meter import MatteMeter, cut_sides
from pipeline.judge.summary import matte_findings, summarised
from pipeline.pixels.batches import EyeBatch, MatteBatch

SIDE, FRAMES, RATE = 64, 60, 30
NOISE = torch.Generator().manual_seed(1)
ROOM = torch.randint(0, 256, (3, SIDE, SIDE), generator=NOISE, dtype=torch.uint8)
OTHER_ROOM = torch.randint(0, 256, (3, SIDE, SIDE), generator=NOISE, dtype=torch.uint8)
Y, X = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")

Found = list[tuple[FlagKind, int, int, int | None]]


def disc(x: float, y: float = 32, radius: float = 14) -> Tensor:
    """Alpha ``[H, W]``, one pixel soft at its edge."""
    distance = torch.hypot(X - float(x), Y - float(y))
    return (radius - distance + 0.5).clamp(0, 1)


def still(eyes: int = 2) -> Tensor:
    return disc(32).expand(FRAMES, eyes, SIDE, SIDE).clone()


def measured(
    alpha: Tensor,
    rgb: Tensor | None = None,
    projection: ProjectionName = "equirect180",
    batch: int = 4,
    start: int = 0,
) -> list[FrameMeasures]:
    """Of ``[T, E, H, W]``; before a room that does not move, unless other pictures are given."""
    if rgb is None:
        rgb = ROOM.expand(*alpha.shape[:2], 3, SIDE, SIDE)
    meter = MatteMeter(SIDE, SIDE, projection)
    for begin in range(0, len(alpha), batch):
        part = slice(begin, begin + batch)
        meter.add(EyeBatch(rgb[part], begin), MatteBatch(alpha[part, :, None], None, begin))
    return meter.measures(None, start)


def flags(measures: list[FrameMeasures], length: int = FRAMES) -> tuple[MatteFlag, ...]:
    """Of the video, made in segments of that length."""
    first = measures[0].frame
    segments = [
        (at, min(at + length, first + len(measures)))
        for at in range(first, first + len(measures), length)
    ]
    found = [
        finding
        for begin, end in segments
        for finding in matte_findings(measures[begin - first : end - first], RATE)
    ]
    return summarised(found, segments, Fraction(RATE)).flags


def found(measures: list[FrameMeasures], length: int = FRAMES) -> Found:
    return [(f.kind, f.first_frame, f.last_frame, f.eye) for f in flags(measures, length)]


def painted(alpha: Tensor) -> Tensor:
    """Pictures in which what is matte is somebody of one colour: uint8 ``[T, E, 3, H, W]``."""
    share = alpha[:, :, None]
    return (ROOM * (1 - share) + 128 * share).to(torch.uint8)


def test_a_matte_that_stays_or_follows_who_walks_and_grows_has_no_flags() -> None:
    assert found(measured(still())) == []
    walk = torch.stack([disc(16 + 0.5 * t, radius=8 + 0.1 * t) for t in range(FRAMES)])
    walk = walk[:, None].expand(-1, 2, -1, -1)
    assert found(measured(walk, painted(walk))) == []


def test_who_walks_in_is_no_jump() -> None:
    walk = torch.stack([disc(-20 + 0.8 * t) for t in range(FRAMES)])
    walk = walk[:, None].expand(-1, 2, -1, -1)
    kinds = {flag[0] for flag in found(measured(walk, painted(walk)))}
    assert kinds == {"empty", "touches_edge"}, "before, and on the way"


@pytest.mark.parametrize("length", [FRAMES, 21, 20, 7, 1])
def test_a_hole_of_one_frame_flickers(length: int) -> None:
    alpha = still()
    alpha[20, :, 32:] = 0
    assert found(measured(alpha), length) == [("flicker", 20, 21, None)]


def test_what_flickers_in_one_eye_is_said_to() -> None:
    alpha = still()
    alpha[20:40:3, 1, :24] *= 0.5
    assert found(measured(alpha)) == [("flicker", 20, 39, 1)]


@pytest.mark.parametrize("length", [FRAMES, 41, 40, 39, 38, 7, 1])
def test_a_jump_is_found_at_its_frame(length: int) -> None:
    alpha = still()
    alpha[40:] = disc(32, radius=18)
    [flag] = flags(measured(alpha), length)
    assert (flag.kind, flag.first_frame, flag.last_frame) == ("jump", 40, 40)
    assert flag.value == pytest.approx(1 - 14**2 / 18**2, abs=0.02)


def test_another_picture_is_no_jump() -> None:
    alpha = still()
    alpha[40:] = disc(20, radius=9)
    rooms = ROOM.expand(FRAMES, 2, 3, SIDE, SIDE).clone()
    rooms[40:] = OTHER_ROOM
    assert found(measured(alpha, rooms)) == []


@pytest.mark.parametrize("length", [FRAMES, 30, 25, 7, 1])
@pytest.mark.parametrize("last", [10, 11, 40, 59])
def test_an_empty_matte_is_empty_from_first_to_last(last: int, length: int) -> None:
    alpha = still()
    alpha[10 : last + 1] = 0
    assert found(measured(alpha), length) == [("empty", 10, last, None)]


def test_a_matte_that_is_no_number_is_empty() -> None:
    alpha = still()
    alpha[10:20] = torch.nan
    assert found(measured(alpha)) == [("empty", 10, 19, None)]


@pytest.mark.parametrize("length", [FRAMES, 25, 7, 1])
def test_a_matte_that_one_eye_lacks_is_a_disagreement(length: int) -> None:
    alpha = still()
    alpha[20:31, 1] = 0
    assert found(measured(alpha), length) == [("eyes_disagree", 20, 30, None)]


@pytest.mark.parametrize(
    ("projection", "x", "y", "side"),
    [
        ("equirect180", 2, 32, "left"),
        ("equirect180", 61, 32, "right"),
        ("equirect180", 32, 2, None),
        ("equirect180", 32, 61, None),
        ("equirect360", 2, 32, None),
        ("flat", 2, 32, "left"),
        ("flat", 32, 2, "top"),
        ("flat", 32, 61, None),
        ("fisheye180", 4, 32, "left"),
        ("fisheye200", 32, 4, "top"),
        ("fisheye180", 32, 59, None),
        ("fisheye180", 32, 32, None),
    ],
)
def test_where_a_subject_is_cut_off(
    projection: ProjectionName, x: float, y: float, side: Side | None
) -> None:
    alpha = disc(32, radius=9).expand(FRAMES, 2, SIDE, SIDE).clone()
    alpha[15:45] = disc(x, y, radius=9)
    seen = [
        f for f in flags(measured(alpha, painted(alpha), projection)) if f.kind == "touches_edge"
    ]
    expected = [(15, 44, None, side)] if side else []
    assert [(f.first_frame, f.last_frame, f.eye, f.side) for f in seen] == expected


def test_a_touch_in_passing_is_none() -> None:
    alpha = still()
    alpha[15:20] = disc(2)
    assert "touches_edge" not in {flag[0] for flag in found(measured(alpha, painted(alpha)))}


def test_every_side_lies_in_the_picture() -> None:
    for projection in ("flat", "equirect180", "equirect360", "fisheye180", "fisheye220"):
        for side in cut_sides(9, 17, projection).values():
            assert side
            assert all(0 <= place < 9 * 17 for place in side)


def test_batches_and_warm_up_alter_nothing() -> None:
    walk = torch.stack([disc(16 + 0.5 * t) for t in range(FRAMES)])
    walk = walk[:, None].expand(-1, 2, -1, -1)
    whole = measured(walk, painted(walk))
    for batch in (1, 7, FRAMES):
        assert measured(walk, painted(walk), batch=batch) == whole
    assert measured(walk, painted(walk), start=24) == whole[24:]


def test_the_numbers_do_not_depend_on_the_size_of_the_picture() -> None:
    alpha = still(eyes=1)[:2]
    meter = MatteMeter(SIDE * 16, SIDE * 16, "flat")
    large = alpha.repeat_interleave(16, 2).repeat_interleave(16, 3)
    rgb = torch.zeros(2, 1, 3, SIDE * 16, SIDE * 16, dtype=torch.uint8)
    meter.add(EyeBatch(rgb, 0), MatteBatch(large[:, :, None].half(), None, 0))
    [first, _] = meter.measures(None)
    assert first.area[0] == pytest.approx(float(alpha[0].mean()), rel=0.01)
