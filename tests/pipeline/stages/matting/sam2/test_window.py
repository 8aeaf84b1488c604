"""SAM 2 in a window that follows the subject: nobody is lost, and nothing gets out of place.

Most tests put a double in the predictor's place, which finds colours exactly (`colours.py`), so
that the truth is known. The last ones run SAM 2's own code, with random weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import MattingSettings, VideoSettings
from pipeline.contract.fingerprint import pixel_fingerprint
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.pixels.labels import object_labels
from pipeline.prompts.prompts import Point, Prompt, Prompts
from pipeline.prompts.store import pack
from pipeline.stages.matting.sam2.facts import Sam2Options
from pipeline.stages.matting.sam2.load import SegmentAnything
from pipeline.stages.matting.sam2.tracker import SubjectTracker
from pipeline.stages.matting.sam2.window import Extent, Window, Windows, carried
from tests.pipeline.demo_truth import Clip
from tests.pipeline.sam2_networks import random_network
from tests.pipeline.stages.matting.sam2.colours import ColourPredictor
from tests.pipeline.stages.matting.sam2.test_sam2 import RedIsTheSubject
from tests.render import CPU

HEIGHT, WIDTH, SIZE = 256, 288, 96
RADIUS, DISPARITY, BEGIN = 16, 7, 100
RED, GREEN = (250, 30, 30), (30, 250, 30)

pytestmark = pytest.mark.usefixtures("one_thread")

#: Where the middle of a disc is in the left eye, x and y; None: nowhere.
Way = Callable[[int], tuple[int, int] | None]


def make_model(*, follow: bool = True, correct_every: int | None = None) -> SegmentAnything:
    nothing: Any = SimpleNamespace(training=False, device=CPU, image_size=SIZE)
    seed = RedIsTheSubject()
    tracker = SubjectTracker(nothing, seed, correct_every=correct_every, follow=follow)
    tracker._sight._predictor = ColourPredictor()  # type: ignore[assignment]
    return SegmentAnything(tracker)


def predictor(model: SegmentAnything) -> ColourPredictor:
    found = model._tracker._sight._predictor
    assert isinstance(found, ColourPredictor)
    return found


def still(x: int, y: int) -> Way:
    return lambda t: (x, y)


def clip(count: int, *ways: tuple[Way, tuple[int, int, int]]) -> tuple[Tensor, Tensor]:
    """Pictures uint8 ``[T, 2, 3, H, W]``, and where each disc is: bool ``[T, 2, N, H, W]``."""
    made = torch.Generator().manual_seed(5)
    coarse = torch.randint(0, 60, (3, HEIGHT // 8, WIDTH // 8), generator=made, dtype=torch.uint8)
    room = coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)
    rgb = room.repeat(count, 2, 1, 1, 1)
    truth = torch.zeros(count, 2, len(ways), HEIGHT, WIDTH, dtype=torch.bool)
    rows, columns = torch.arange(HEIGHT)[:, None], torch.arange(WIDTH)[None]
    for t in range(count):
        for number, (way, colour) in enumerate(ways):
            place = way(t)
            for eye in range(2 if place else 0):
                assert place is not None
                x, y = place[0] - DISPARITY * eye, place[1]
                disc = (columns - x) ** 2 + (rows - y) ** 2 < RADIUS**2
                truth[t, eye, number] = disc
                rgb[t, eye] = torch.where(disc, torch.tensor(colour)[:, None, None], rgb[t, eye])
    return rgb, truth


def matte(
    model: SegmentAnything,
    rgb: Tensor,
    prompts: Sequence[Prompt] = (),
    names: int = 1,
    chunk: int = 99,
) -> MatteBatch:
    seen = Clip(rgb)
    if prompts:
        seen.prompts = pack(Prompts(tuple("abc"[:names]), tuple(prompts)))
    state = model.start(2, HEIGHT, WIDTH, model.prepare(seen))
    parts = [
        model.matte(EyeBatch(rgb[at : at + chunk], BEGIN + at), state)
        for at in range(0, len(rgb), chunk)
    ]
    objects = [part.objects for part in parts if part.objects is not None]
    return MatteBatch(torch.cat([part.alpha for part in parts]), None, BEGIN, torch.cat(objects))


def overlap(alpha: Tensor, truth: Tensor) -> list[float]:
    """Intersection over union in each frame, both eyes together."""
    inside, there = alpha[:, :, 0] > 0.5, truth.any(dim=2)
    both, either = (inside & there).sum((1, 2, 3)), (inside | there).sum((1, 2, 3))
    return (both / either.clamp(min=1)).tolist()


def seen(found: MatteBatch) -> Tensor:
    """Where the object is by the network's answer alone, as alpha is ``[T, 2, 1, H, W]``."""
    assert found.objects is not None
    large = F.interpolate(found.objects.flatten(0, 1), size=(HEIGHT, WIDTH), mode="bilinear")
    return (large > 0).float().reshape(-1, 2, 1, HEIGHT, WIDTH)


def circling(t: int) -> tuple[int, int]:
    return round(140 + 75 * np.cos(t / 2)), round(127 + 75 * np.sin(t / 2))


WAYS: dict[str, Way] = {
    "still": still(165, 135),
    "walking": lambda t: (50 + 22 * t, 135),
    "circling": circling,
    "darting": lambda t: (75 + 125 * (t % 2), 80 + 75 * (t // 2 % 2)),
    "to the upper edge": lambda t: (135, 66 - 7 * t),
}


@pytest.mark.parametrize("way", WAYS)
def test_who_is_followed_is_seen_larger_and_never_cut_off(way: str) -> None:
    rgb, truth = clip(9, (WAYS[way], RED))
    whole, found = (matte(make_model(follow=follow), rgb) for follow in (False, True))
    assert min(overlap(found.alpha, truth)) > 0.8
    coarse, fine = (sum(overlap(seen(each), truth)) for each in (whole, found))
    if way != "darting":  # who does is seen in the whole eye as often as not
        assert fine > coarse + 0.05 * len(rgb)


def test_a_window_stays_as_long_as_the_subject_is_inside() -> None:
    model = make_model()
    rgb, _ = clip(8, (lambda t: (165 + t, 135), RED))
    matte(model, rgb)
    assert len(predictor(model).begun) == 4, "of either eye: the whole, then one window"
    assert predictor(model).tracked == 2 * (8 + 1)


@pytest.mark.parametrize("chunk", [1, 3, 5])
def test_chunks_do_not_matter(chunk: int) -> None:
    rgb, _ = clip(9, (circling, RED))
    expected, found = (matte(make_model(), rgb, chunk=size) for size in (99, chunk))
    assert torch.equal(found.alpha, expected.alpha)
    assert found.objects is not None
    assert expected.objects is not None
    assert torch.equal(found.objects, expected.objects)


def mask_file(folder: Any, x: int, y: int) -> Any:
    mask = np.zeros((HEIGHT // 2, WIDTH // 2), np.uint8)
    cv2.circle(mask, (x // 2, y // 2), RADIUS // 2 - 1, 255, -1)
    assert cv2.imwrite(str(folder / "mask.png"), mask)
    return folder / "mask.png"


@pytest.mark.parametrize("how", ["points", "box", "mask"])
@pytest.mark.parametrize("later", [0, 3])
def test_prompts_are_read_where_they_stand(
    how: str, later: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In the first frame, and in a later one, when a window is elsewhere."""
    words: dict[str, dict[str, Any]] = {
        "points": {"points": (Point(200, 73),)},
        "box": {"box": (187, 60, 213, 86)},
        "mask": {"mask": mask_file(tmp_path_factory.mktemp("m"), 200, 73) if how == "mask" else 0},
    }
    rgb, truth = clip(6, (still(75, 187), RED), (still(200, 73), GREEN))
    prompts = [Prompt(1, 0, BEGIN, (Point(75, 187),))]
    prompts.append(Prompt(2, 0, BEGIN + later, **words[how]))
    found = matte(make_model(), rgb, prompts, names=2)
    assert overlap(found.alpha[:later], truth[:later, :, :1]) == pytest.approx([1] * later, abs=0.2)
    assert min(overlap(found.alpha[later:], truth[later:])) > 0.8
    for t in range(later, 6):
        labels = object_labels(found, t)[:, 0]
        assert set(labels[truth[t, :, 0]].tolist()) <= {0, 1}
        assert set(labels[truth[t, :, 1]].tolist()) <= {0, 2}
        assert (labels[truth[t, :, 1]] == 2).float().mean() > 0.8


def test_a_correction_inside_the_window_leaves_it() -> None:
    model = make_model()
    rgb, truth = clip(5, (still(165, 135), RED))
    prompts = [Prompt(1, 0, BEGIN, (Point(165, 135),)), Prompt(1, 0, BEGIN + 3, (Point(169, 138),))]
    assert min(overlap(matte(model, rgb, prompts).alpha, truth)) > 0.8
    assert len(predictor(model).begun) == 4
    assert [told.told for told in predictor(model).begun[2:]] == [[(0, 1), (3, 1)]] * 2


def test_the_seed_model_corrects_inside_a_window() -> None:
    model = make_model(correct_every=4)
    rgb, truth = clip(9, (still(165, 135), RED))
    assert min(overlap(matte(model, rgb).alpha, truth)) > 0.8
    assert [told.told for told in predictor(model).begun[2:]] == [[(0, 1), (4, 1), (8, 1)]] * 2


def test_who_was_out_of_sight_is_found_wherever_they_come_back() -> None:
    def hiding(t: int) -> tuple[int, int] | None:
        return (70, 66) if t < 4 else None if t < 7 else (215, 190)

    model = make_model()
    rgb, truth = clip(10, (hiding, RED))
    found = matte(model, rgb)
    assert found.alpha[4:7].max() < 0.1
    assert min(overlap(found.alpha[7:], truth[7:])) > 0.5
    assert min(overlap(found.alpha[8:], truth[8:])) > 0.8, "in a window again"


@pytest.mark.parametrize("x", [20, WIDTH - 12])
def test_who_reaches_a_side_of_the_eye_is_seen_with_all_of_it(x: int) -> None:
    """In a picture of 360 degrees they may go on at the other side."""
    model = make_model()
    rgb, _ = clip(4, (lambda t: (140 if t < 2 else x, 130), RED))
    state = model.start(2, HEIGHT, WIDTH, {})
    model.matte(EyeBatch(rgb[:2], BEGIN), state)
    assert state.window != state.windows.whole
    model.matte(EyeBatch(rgb[2:], BEGIN + 2), state)
    assert state.window == state.windows.whole


def test_an_eye_no_larger_than_the_input_is_seen_whole() -> None:
    made = torch.Generator().manual_seed(3)
    rgb = torch.randint(0, 90, (3, 2, 3, SIZE, SIZE), generator=made, dtype=torch.uint8)
    rgb[..., 0, 20:40, 20:40] = 255
    alphas = []
    for follow in (False, True):
        model = make_model(follow=follow)
        alphas.append(model.matte(EyeBatch(rgb, 0), model.start(2, SIZE, SIZE, {})).alpha)
    assert torch.equal(*alphas)


# -- geometry ------------------------------------------------------------------------------------


def test_windows_lie_in_the_eye_and_enlarge_nothing() -> None:
    windows = Windows(2000, 2000, 1024, 256)
    for extent in (
        Extent(900, 900, 960, 1000),
        Extent(300, 5, 800, 900),
        Extent(10, 1500, 60, 2000),
        Extent(100, 100, 1700, 400),
    ):
        window = windows.around(extent)
        assert min(window.width, window.height) >= 1024
        assert 0 <= window.left <= window.right <= 2000
        assert 0 <= window.top <= window.bottom <= 2000
        assert window.left <= extent.left < extent.right <= window.right
        assert window.top <= extent.top < extent.bottom <= window.bottom


def test_planes_are_carried_to_where_they_were() -> None:
    eye, part = Window(0, 0, 128, 128), Window(32, 64, 64, 64)
    made = torch.Generator().manual_seed(1)
    planes = torch.rand((2, 32, 32), generator=made)
    inside = carried(planes, eye, part, (16, 16), -9.0)
    assert torch.allclose(inside, planes[:, 16:32, 8:24], atol=1e-5)
    back = carried(inside, part, eye, (32, 32), -9.0)
    assert torch.allclose(back[:, 16:32, 8:24], inside, atol=1e-5)
    assert (back[:, :16] == -9).all()
    assert (back[:, :, 24:] == -9).all()


# -- SAM 2's own code ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own() -> SegmentAnything:
    network = random_network(64, slim=True)
    return SegmentAnything(SubjectTracker(network, RedIsTheSubject(), follow=True))


def test_its_own_predictor_is_told_in_a_window_what_is_said_of_the_eye(
    own: SegmentAnything,
) -> None:
    """Weights are random: only frames that are prompted by a mask say what is there."""
    rgb, truth = clip(1, (still(165, 135), RED))
    state = own.start(2, HEIGHT, WIDTH, {})
    found = own.matte(EyeBatch(rgb, BEGIN), state)
    assert state.window.width < WIDTH / 2
    assert overlap(found.alpha, truth)[0] > 0.9


def test_its_own_predictor_moves_from_window_to_window(own: SegmentAnything) -> None:
    rgb, _ = clip(7, (circling, RED))
    at_once, cut = matte(own, rgb), matte(own, rgb, chunk=2)
    assert torch.equal(at_once.alpha, cut.alpha)
    assert at_once.alpha.std() > 0


def test_windows_are_asked_for_and_leave_other_work_as_it_is() -> None:
    def of(options: Sam2Options) -> str:
        matting = MattingSettings(model="sam2", options=(options,))
        return pixel_fingerprint(VideoSettings(matting=matting))

    assert Sam2Options().region == "whole"
    assert of(Sam2Options(region="auto")) != of(Sam2Options())
