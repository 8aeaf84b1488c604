"""The bounded predictor against the stock one, bit for bit; real networks, random weights.

What the image encoder makes of a picture is computed once and then looked up by the picture's
bytes, for both predictors: but for the tiny network, where neither is spared anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor

from pipeline.stages.matting.sam2.memory import Reach
from pipeline.stages.matting.sam2.predictor import BoundedPredictor
from tests.pipeline.sam2_networks import digest, frames_of, picture, random_network

NUM_FRAMES = 84
MIDDLE = 42
LAST = NUM_FRAMES - 1

pytestmark = pytest.mark.usefixtures("one_thread")

#: Frame, objects, and a digest of the logits of each.
Answer = tuple[int, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Scenario:
    """Frames that are prompted, and then passes: (first, count, reverse)."""

    name: str
    prompted: tuple[int, ...]
    passes: tuple[tuple[int, int, bool], ...]

    def __str__(self) -> str:
        return self.name


FORWARD = Scenario("forward", (0, MIDDLE), ((0, NUM_FRAMES, False),))
REVERSE = Scenario("reverse", (LAST, MIDDLE), ((LAST, NUM_FRAMES, True),))
SHORT = Scenario("short", (0,), ((0, 18, False),))  # further than anything is read
FEW = Scenario("few", (0,), ((0, 9, False),))  # further than any memory is read
BOTH_WAYS = Scenario(
    "both ways from the middle",
    (MIDDLE, MIDDLE + 20),
    ((MIDDLE, NUM_FRAMES - MIDDLE, False), (MIDDLE, MIDDLE + 1, True)),
)


@pytest.fixture(scope="module")
def slim() -> SAM2VideoPredictor:
    network: Any = random_network(256, slim=True)
    encode, known = network.forward_image, {}

    def look_up(pictures: Tensor) -> dict[str, Any]:
        key = digest(pictures)
        if key not in known:
            known[key] = encode(pictures)
        found = known[key].items()
        return {name: list(value) if isinstance(value, list) else value for name, value in found}

    network.forward_image = look_up
    return cast(SAM2VideoPredictor, network)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frames as the stock loader wants them."""
    made = tmp_path_factory.mktemp("frames")
    for frame in range(NUM_FRAMES):
        content = np.ascontiguousarray(picture(frame, 256).permute(1, 2, 0).numpy())
        with (made / f"{frame:03}.jpg").open("wb") as file:
            Image.fromarray(content).save(file, format="PNG", compress_level=1)
    return made


def stock_answers(
    network: Any, folder: Path, scenario: Scenario, num_objects: int
) -> Iterator[Answer]:
    state = network.init_state(str(folder))
    for frame in scenario.prompted:
        network.add_new_points_or_box(state, frame, 1, points=[[60.0, 90.0]], labels=[1])
        if num_objects == 3:
            network.add_new_points_or_box(state, frame, 2, box=[100.0, 20.0, 200.0, 160.0])
            network.add_new_mask(state, frame, 3, picture(frame, 256)[0] > 127)
    for first, count, reverse in scenario.passes:
        for frame, object_ids, logits in network.propagate_in_video(
            state, first, count - 1, reverse=reverse
        ):
            yield frame, tuple(object_ids), tuple(map(digest, logits))


def our_answers(
    network: SAM2VideoPredictor, scenario: Scenario, num_objects: int
) -> Iterator[Answer]:
    predictor = BoundedPredictor(network)
    rewinds = len(scenario.passes) > 1
    tracking = predictor.start(frames_of(network, NUM_FRAMES), 256, 256, rewinds=rewinds)
    for frame in scenario.prompted:
        predictor.add_points(tracking, frame, 1, [(60.0, 90.0)], [1])
        if num_objects == 3:
            predictor.add_points(tracking, frame, 2, box=(100.0, 20.0, 200.0, 160.0))
            predictor.add_mask(tracking, frame, 3, picture(frame, 256)[0] > 127)
    for first, count, reverse in scenario.passes:
        for answer in predictor.propagate(tracking, first, count, reverse=reverse):
            yield answer.frame, answer.object_ids, tuple(map(digest, answer.logits))


@pytest.mark.parametrize(
    ("scenario", "num_objects"), [(FORWARD, 1), (REVERSE, 1), (BOTH_WAYS, 3)], ids=str
)
def test_logits_are_the_stock_ones(
    slim: SAM2VideoPredictor, folder: Path, scenario: Scenario, num_objects: int
) -> None:
    stock = list(stock_answers(slim, folder, scenario, num_objects))
    assert len(stock) >= NUM_FRAMES
    assert len({logits for _, _, logits in stock}) >= NUM_FRAMES  # another for every frame
    assert list(our_answers(slim, scenario, num_objects)) == stock


@pytest.mark.slow
def test_logits_of_the_tiny_network_are_the_stock_ones(folder: Path) -> None:
    network = random_network(256, slim=False)
    stock = list(stock_answers(network, folder, FEW, 1))
    assert list(our_answers(network, FEW, 1)) == stock


@pytest.mark.parametrize("kept_frames", [5, 7])
def test_logits_show_what_is_remembered(
    slim: SAM2VideoPredictor, monkeypatch: pytest.MonkeyPatch, kept_frames: int
) -> None:
    """Were a memory too few kept, or only seven pointers, the comparison above would tell."""
    expected = list(our_answers(slim, SHORT, 1))

    def latest(reach: Reach, frame: int, *, reverse: bool) -> tuple[set[int], set[int]]:
        return set(range(frame - kept_frames + 1, frame + 1)), set()

    monkeypatch.setattr(Reach, "needed", latest)
    assert list(our_answers(slim, SHORT, 1)) != expected


def test_a_state_has_what_a_stock_state_has(slim: SAM2VideoPredictor, folder: Path) -> None:
    stock: dict[str, Any] = slim.init_state(str(folder))
    ours = BoundedPredictor(slim).start(frames_of(slim, NUM_FRAMES), 256, 256).stock
    assert ours.keys() == stock.keys()
    same = {key for key in stock if key not in ("images", "cached_features")}
    assert {key: ours[key] for key in same} == {key: stock[key] for key in same}
    assert all(torch.equal(ours["images"][f], stock["images"][f]) for f in (0, MIDDLE, LAST))
