"""Which mattes are doubted, and that neither cuts nor order of the frames alter it."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.contract import Finding, ProjectionName
from pipeline.judge.doubt import THRESHOLDS, Doubt, DoubtKind, advice, doubts, doubts_of, measures
from pipeline.judge.findings import Judged
from pipeline.judge.flags import FrameMeasures
from pipeline.judge.meter import MatteMeter
from pipeline.judge.shape import ShapeMeter
from pipeline.judge.summary import matte_findings
from pipeline.judge.sums import MatteSums, Shape
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.stages.matting.catalogue import MODELS

SIDE, RATE = 128, 30
NOISE = torch.Generator().manual_seed(1)
ROOM = torch.randint(0, 256, (3, SIDE, SIDE), generator=NOISE, dtype=torch.uint8)
Y, X = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")


def disc(x: float = 64, y: float = 64, radius: float = 24) -> Tensor:
    """Alpha ``[H, W]``, one pixel soft at its edge."""
    return (radius - torch.hypot(X - float(x), Y - float(y)) + 0.5).clamp(0, 1)


def judged(
    left: Tensor,
    right: Tensor | None = None,
    picture: Tensor = ROOM,
    projection: ProjectionName = "equirect180",
) -> tuple[Doubt, ...]:
    """The doubts about ten frames of one matte, by another package's model."""
    alpha = torch.stack([left, left if right is None else right])[None, :, None]
    alpha = alpha.expand(10, -1, -1, -1, -1)
    meter = MatteMeter(SIDE, SIDE, projection)
    meter.add(EyeBatch(picture.expand(10, 2, 3, SIDE, SIDE), 0), MatteBatch(alpha, None, 0))
    return doubts_of(matte_findings(meter.measures(None), RATE), "theirs")


def kinds(
    left: Tensor,
    right: Tensor | None = None,
    picture: Tensor = ROOM,
    projection: ProjectionName = "equirect180",
) -> list[DoubtKind]:
    return [doubt.kind for doubt in judged(left, right, picture, projection)]


def test_one_subject_two_apart_and_one_far_away_are_not_doubted() -> None:
    assert kinds(disc()) == []
    assert kinds(disc(30) + disc(98)) == []
    assert kinds(disc(radius=2)) == []
    crowd = sum((disc(16 + 24 * n, 64 + 10 * (n % 2), 6) for n in range(5)), torch.zeros(1))
    assert kinds(crowd) == []


def test_whoever_wears_one_colour_before_a_room_is_not_doubted() -> None:
    cloth = 100 + torch.randint(0, 6, (3, SIDE, SIDE), generator=NOISE, dtype=torch.uint8)
    assert kinds(disc(), picture=torch.where(disc() > 0, cloth, ROOM)) == []


def test_a_matte_with_nothing_or_a_faint_trace_in_it() -> None:
    [doubt] = judged(torch.zeros(SIDE, SIDE))
    assert doubt.kind == "nothing_found"
    assert doubt.seen == "nothing was found in 10 of 10 frames"
    assert kinds(0.8 * disc(radius=3)) == ["nothing_found"]


def test_a_matte_that_is_everything() -> None:
    assert kinds(torch.ones(SIDE, SIDE)) == ["everything", "overhead"]
    assert kinds(torch.ones(SIDE, SIDE), projection="flat") == ["everything"]


def test_a_matte_of_the_sky() -> None:
    picture = ROOM.clone()
    picture[:, :40] = 200
    sky = torch.zeros(SIDE, SIDE)
    sky[:38] = 1
    assert kinds(sky, picture=picture) == ["sky", "overhead"]
    assert kinds(sky, picture=picture, projection="flat") == ["sky"]
    assert kinds(sky) == ["overhead"], "leaves"
    assert kinds(sky, projection="flat") == [], "somebody who leans in"


def test_a_matte_in_scraps() -> None:
    spots = ((X // 3 + Y // 3) % 3 == 0) * (0.6 + 0.4 * (X // 6 % 2))
    assert kinds(disc() * spots) == ["scraps"]


def test_eyes_that_hold_different_mattes() -> None:
    assert kinds(disc(), torch.zeros(SIDE, SIDE)) == ["eyes_disagree"]


def test_a_strip_of_a_picture_is_measured_too() -> None:
    for height, width in ((1, 200), (2, 2), (200, 1)):
        meter = ShapeMeter("flat")
        meter.add(
            torch.zeros(1, 1, 3, height, width, dtype=torch.int16), torch.ones(1, 1, height, width)
        )
        [shape] = meter.shapes()
        assert (shape.plain, shape.faint, shape.opaque, shape.gaps) == (0.0, 0.0, 1.0, 0.0)


def test_what_reaches_its_threshold_is_doubted_and_nothing_below() -> None:
    right = MatteSums(1000, 0, 0, 100_000, 100_000, 100_000, 10_000)
    assert doubts(right, "rvm") == ()
    at: dict[DoubtKind, MatteSums] = {
        "nothing_found": MatteSums(1000, 900),
        "elsewhere": MatteSums(1000, persons=2, missed=1),
        "everything": MatteSums(1000, area=700_000),
        "eyes_disagree": MatteSums(1000, disagreeing=500),
        "sky": MatteSums(1000, sky=600_000),
        "overhead": MatteSums(1000, zenith=50_000),
        "scraps": MatteSums(1000, scraps=300_000),
    }
    assert at.keys() == THRESHOLDS.keys() == set(get_args(DoubtKind))
    for kind, sums in at.items():
        assert [doubt.kind for doubt in doubts(sums, "rvm")] == [kind]
        assert measures(sums)[kind] == THRESHOLDS[kind]
    assert doubts(MatteSums(1000, empty=899), "rvm") == ()
    assert doubts(MatteSums(), "rvm") == (), "nothing is known"


def test_an_empty_matte_is_doubted_for_that_alone() -> None:
    [doubt] = doubts(MatteSums(10, 9, 10, 1000, 1000, 1000, 1000), "rvm")
    assert doubt.seen == "no person was found in 9 of 10 frames"


@pytest.mark.parametrize("model", MODELS.names())
def test_no_model_is_advised_to_try_itself(model: str) -> None:
    for kind in get_args(DoubtKind):
        said = advice(kind, model)
        assert f"try {model} " not in said
        assert any(other in said for other in MODELS.names() if other != model)


def frames() -> st.SearchStrategy[list[FrameMeasures]]:
    share = st.floats(0, 1)
    shape = st.builds(Shape, share, share, share, share, share, share)
    areas = st.sampled_from([0.0, 0.001, 0.1, 0.9])
    frame = st.tuples(areas, areas, share, shape)
    return st.lists(frame, min_size=1, max_size=60).map(
        lambda found: [
            FrameMeasures(n, (a, b), (0.0, 0.0), (0.0, 0.0), 0.0, eyes, (None, None), shape)
            for n, (a, b, eyes, shape) in enumerate(found)
        ]
    )


@given(found=frames(), cuts=st.sets(st.integers(1, 59)), order=st.randoms())
def test_cuts_and_order_alter_nothing(
    found: list[FrameMeasures], cuts: set[int], order: object
) -> None:
    whole = doubts_of(matte_findings(found, RATE), "rvm")
    ends = sorted({0, len(found), *(cut for cut in cuts if cut < len(found))})
    parts = [matte_findings(found[a:b], RATE) for a, b in pairwise(ends)]
    order.shuffle(parts)  # type: ignore[attr-defined]
    assert doubts_of([finding for part in parts for finding in part], "rvm") == whole


def test_batches_alter_nothing() -> None:
    alpha = torch.stack([disc(30 + n) for n in range(8)])[:, None]
    rgb = ROOM.to(torch.int16).expand(8, 1, 3, SIDE, SIDE)
    found = []
    for size in (1, 3, 8):
        meter = ShapeMeter("equirect180")
        for at in range(0, 8, size):
            meter.add(rgb[at : at + size], alpha[at : at + size])
        found.append(meter.shapes())
    assert found[0] == found[1] == found[2]


def test_findings_of_other_versions_and_sources_are_passed_over() -> None:
    other = Finding("judge", "sums", 0, 9, values=(10.0, 10.0))
    theirs = Finding("upscale", "sums", 0, 9, values=(10.0,) * 8)
    assert doubts_of([other, theirs], "rvm") == ()
    sums = MatteSums(10, 10)
    assert Judged.read(Judged(sums=sums).findings(0, 10)).sums == sums
