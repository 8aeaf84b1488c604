"""Whom `sam2` follows: what a person says, where it is said, and what is made of it elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from structlog.testing import capture_logs
from torch import Tensor

from pipeline.pixels.batches import EyeBatch
from pipeline.pixels.labels import object_labels
from pipeline.prompts.prompts import Point, Prompt, Prompts
from pipeline.prompts.store import Said, pack
from pipeline.stages.matting.base import Prepared
from pipeline.stages.matting.sam2.load import MOST_PROMPTED, SegmentAnything
from pipeline.stages.matting.sam2.predictor import BoundedPredictor
from pipeline.stages.matting.sam2.subjects import Parts, region_of, shift_to_other
from pipeline.stages.matting.sam2.tracker import SubjectTracker
from tests.pipeline.demo_truth import Clip
from tests.pipeline.sam2_networks import random_network
from tests.pipeline.stages.matting.sam2.test_sam2 import RedIsTheSubject

SIDE, SIZE, BEGIN = 96, 64, 100
CELLS = SIZE // 4
#: rows and columns of the larger and the smaller subject in the left eye, both red.
LARGE = (slice(10, 50), slice(10, 50))
SMALL = (slice(60, 90), slice(60, 84))
IN_SMALL, NOWHERE = Point(70, 75), Point(90, 5)
#: Columns by which the right eye shows the small one farther to the left.
DISPARITY = 6

pytestmark = pytest.mark.usefixtures("one_thread")


def make_model(correct_every: int | None = None) -> SegmentAnything:
    network = random_network(
        SIZE,
        slim=True,
        max_cond_frames_in_attn=MOST_PROMPTED,
        add_all_frames_to_correct_as_cond=True,
    )
    return SegmentAnything(SubjectTracker(network, RedIsTheSubject(), correct_every=correct_every))


@pytest.fixture(scope="module")
def model() -> SegmentAnything:
    return make_model()


def clip(num_frames: int, eyes: int = 1) -> Tensor:
    """uint8 ``[T, E, 3, SIDE, SIDE]``: two red things on coarse dark noise."""
    made = torch.Generator().manual_seed(5)
    coarse = torch.randint(0, 90, (3, SIDE // 4, SIDE // 4), generator=made, dtype=torch.uint8)
    rgb = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2).repeat(num_frames, eyes, 1, 1, 1)
    for eye in range(eyes):
        rgb[:, eye, 0, *LARGE] = 255
        moved = slice(SMALL[1].start - DISPARITY * eye, SMALL[1].stop - DISPARITY * eye)
        rgb[:, eye, 0, SMALL[0], moved] = 255
        rgb[:, eye, 1, SMALL[0], moved] = 160
    return rgb


def start(model: SegmentAnything, rgb: Tensor, prompts: Sequence[Prompt], names: int = 1) -> Any:
    seen = Clip(rgb)
    seen.prompts = pack(Prompts(tuple("abc"[:names]), tuple(prompts)))
    prepared: Prepared = model.prepare(seen)
    return model.start(rgb.shape[1], SIDE, SIDE, prepared)


def matte(
    model: SegmentAnything, rgb: Tensor, prompts: Sequence[Prompt], chunk: int = 99, names: int = 1
) -> Tensor:
    state = start(model, rgb, prompts, names)
    parts = [
        model.matte(EyeBatch(rgb[at : at + chunk], BEGIN + at), state).alpha
        for at in range(0, len(rgb), chunk)
    ]
    return torch.cat(parts)


def test_without_words_it_is_all_that_is_large(model: SegmentAnything) -> None:
    rgb = clip(1)
    state = model.start(1, SIDE, SIDE, model.prepare(Clip(rgb)))
    alpha = model.matte(EyeBatch(rgb, BEGIN), state).alpha[0, 0, 0]
    assert alpha[20:40, 20:40].min() > 0.9
    assert alpha[66:84, 66:78].min() > 0.9


def mask_file(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("masks") / "mask.png"
    mask = np.zeros((SIDE // 2, SIDE // 2), np.uint8)
    mask[32:45, 30:40] = 255
    assert cv2.imwrite(str(path), mask)
    return path


@pytest.mark.parametrize("how", ["points", "box", "mask"])
@pytest.mark.parametrize("frame", [0, BEGIN + 50])
def test_the_nearest_words_say_who_of_them_is_meant(
    how: str, frame: int, model: SegmentAnything, tmp_path_factory: pytest.TempPathFactory
) -> None:
    words: dict[str, dict[str, Any]] = {
        "points": {"points": (IN_SMALL, Point(30, 30, inside=False))},
        "box": {"box": (55, 58, 90, 95)},
        "mask": {"mask": mask_file(tmp_path_factory) if how == "mask" else None},
    }
    far = Prompt(1, 0, 400, (Point(30, 30),))
    alpha = matte(model, clip(1), [Prompt(1, 0, frame, **words[how]), far])[0, 0, 0]
    assert alpha[66:84, 66:78].min() > 0.9
    assert alpha[20:40, 20:40].max() < 0.1


def test_words_that_meet_nobody_mean_the_largest_and_it_is_logged(model: SegmentAnything) -> None:
    with capture_logs() as logs:
        alpha = matte(model, clip(1), [Prompt(1, 0, 0, (NOWHERE,))])[0, 0, 0]
    assert [entry["event"] for entry in logs] == ["prompts_meet_nobody"]
    assert alpha[20:40, 20:40].min() > 0.9


class Spy:
    """What the predictor is told: (call, frame, object)."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[str, int, int]] = []
        self.points: list[Any] = []
        for name in ("add_points", "add_mask"):
            self._watch(name, patch)

    def _watch(self, name: str, patch: pytest.MonkeyPatch) -> None:
        original = getattr(BoundedPredictor, name)

        def watched(
            this: BoundedPredictor, tracking: Any, frame: int, number: int, *rest: Any
        ) -> Any:
            self.told.append((name, frame, number))
            if name == "add_points":
                self.points.append(rest)
            return original(this, tracking, frame, number, *rest)

        patch.setattr(BoundedPredictor, name, watched)


def test_words_about_the_first_frame_are_taken_as_they_are(
    model: SegmentAnything, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy, rgb = Spy(monkeypatch), clip(2)
    outside = Point(12, 24, inside=False)
    state = start(model, rgb, [Prompt(1, 0, BEGIN, (Point(48, 96), outside), (24, 0, 96, 48))])
    model.matte(EyeBatch(rgb, BEGIN), state)
    assert spy.told == [("add_points", 0, 1)]
    assert spy.points == [([(8, 16), (2, 4)], [1, 0], (4, 0, 16, 8))]
    assert state.seed == []  # nobody else was asked


def test_each_object_is_pointed_out_by_its_own_words(
    model: SegmentAnything, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy, rgb = Spy(monkeypatch), clip(5)
    prompts = [
        Prompt(1, 0, BEGIN + 300, (Point(30, 30),)),
        Prompt(2, 0, BEGIN, (IN_SMALL,)),
        Prompt(3, 0, BEGIN + 3, (NOWHERE,)),
    ]
    matte(model, rgb, prompts, names=3)
    assert spy.told == [("add_points", 0, 2), ("add_mask", 0, 1), ("add_points", 3, 3)]


def test_objects_are_labelled_by_the_words_about_them(model: SegmentAnything) -> None:
    """By their order in the person's file, in every frame; the edge is the matte's."""
    prompts = [Prompt(1, 0, 0, (IN_SMALL,)), Prompt(2, 0, 0, (Point(30, 30),))]
    rgb = clip(3)
    seen = model.matte(EyeBatch(rgb, BEGIN), start(model, rgb, prompts, 2))
    assert seen.objects is not None
    assert seen.objects.shape == (3, 1, 2, CELLS, CELLS)
    first = object_labels(seen, 0)[0, 0]
    assert set(first[LARGE].flatten().tolist()) <= {0, 2}
    assert set(first[SMALL].flatten().tolist()) <= {0, 1}
    assert (first[20:40, 20:40] == 2).all()
    assert (first[66:84, 66:78] == 1).all()
    for t in range(3):
        assert torch.equal(object_labels(seen, t) > 0, seen.alpha[t] >= 0.5)
    exchanged = [Prompt(3 - one.object_id, 0, 0, one.points) for one in prompts]
    other = model.matte(EyeBatch(rgb, BEGIN), start(model, rgb, exchanged, 2))
    assert torch.equal(other.alpha, seen.alpha)
    assert other.objects is not None
    assert torch.equal(other.objects, seen.objects.flip(2))


def test_words_inside_a_segment_correct_from_their_frame_on(model: SegmentAnything) -> None:
    rgb = clip(7)
    first = Prompt(1, 0, BEGIN, (IN_SMALL,))
    later = Prompt(1, 0, BEGIN + 4, (Point(30, 30),), (8, 8, 52, 52))
    plain, corrected = matte(model, rgb, [first]), matte(model, rgb, [first, later])
    assert torch.equal(plain[:4], corrected[:4])
    assert not torch.equal(plain[4], corrected[4])
    assert not torch.equal(plain[5], corrected[5])
    for chunk in (1, 3):
        assert torch.equal(matte(model, rgb, [first, later], chunk), corrected)
    only_begins = Prompt(1, 0, BEGIN + 4, later.points, later.box, corrects=False)
    assert torch.equal(matte(model, rgb, [first, only_begins]), plain)


@pytest.mark.parametrize("frame", [BEGIN, 0])
def test_words_about_one_eye_are_carried_to_the_other(
    frame: int, model: SegmentAnything, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy, rgb = Spy(monkeypatch), clip(1, eyes=2)
    box = (SMALL[1].start, SMALL[0].start, SMALL[1].stop, SMALL[0].stop)
    alpha = matte(model, rgb, [Prompt(1, 0, frame, box=box)])
    if frame == BEGIN:
        left, right = (rest[2] for rest in spy.points)
        moved = DISPARITY * CELLS / SIDE
        assert right == pytest.approx((left[0] - moved, left[1], left[2] - moved, left[3]))
        return
    for eye in (0, 1):
        at = 70 - DISPARITY * eye
        assert alpha[0, eye, 0, 66:84, at - 6 : at + 8].min() > 0.9
        assert alpha[0, eye, 0, 20:40, 20:40].max() < 0.1


@pytest.mark.parametrize("eye", [0, 1])
def test_the_shift_of_a_region_is_its_disparity(eye: int) -> None:
    rgb = clip(1, eyes=2)[0]
    left, right = (edge - DISPARITY * eye for edge in (SMALL[1].start, SMALL[1].stop))
    region = region_of(Said(1, 0, 0, True, box=(left, 60, right, 90)), SIDE, SIDE)
    shift = shift_to_other(rgb[eye], rgb[1 - eye], region, eye)
    assert shift == (-DISPARITY if eye == 0 else DISPARITY)


def test_the_seed_points_the_subject_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    spy, rgb = Spy(monkeypatch), clip(9)
    monkeypatch.setattr(Parts, "like", lambda parts, mask: parts.largest())
    matte(make_model(correct_every=4), rgb, [Prompt(1, 0, 0, (IN_SMALL,))])
    assert spy.told == [("add_mask", frame, 1) for frame in (0, 4, 8)]


def test_only_what_is_alike_corrects() -> None:
    alpha = torch.zeros(SIDE, SIDE)
    alpha[LARGE] = 1
    half, most = (
        torch.zeros(SIDE, SIDE, dtype=torch.bool),
        torch.zeros(SIDE, SIDE, dtype=torch.bool),
    )
    half[10:28, 10:50] = True
    most[14:50, 12:50] = True
    assert Parts(alpha).like(half) is None
    found = Parts(alpha).like(most)
    assert found is not None
    assert torch.equal(found, alpha > 0)


def test_prompted_frames_are_bounded() -> None:
    model, rgb = make_model(), clip(1)
    prompts = [Prompt(1, 0, frame, (IN_SMALL,)) for frame in range(BEGIN, BEGIN + 30)]
    state = start(model, rgb, prompts)
    held = []
    for number in range(30):
        model.matte(EyeBatch(rgb, BEGIN + number), state)
        outputs = state.eyes[0].tracking.stock["output_dict_per_obj"][0]
        held.append(len(outputs["cond_frame_outputs"]))
    assert held[20] == held[-1] < 20  # those within the network's 15 frames, and the nearest
