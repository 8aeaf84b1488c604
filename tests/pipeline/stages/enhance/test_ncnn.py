"""Networks in ncnn's format: what they compute, and files that are none."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.errors import MachineError
from pipeline.stages.enhance.ncnn import NcnnNetwork, load_ncnn, parse
from tests.pipeline.stages.enhance.nets import GRAPH, stored, weights, written

pytestmark = pytest.mark.usefixtures("one_thread")


def by_hand(picture: Tensor, given: dict[str, Tensor]) -> Tensor:
    """What `GRAPH` says."""
    value = F.silu(F.conv2d(picture, given["first"], given["first bias"], padding=1))
    value = F.conv2d(value, given["second"], given["second bias"], padding=2)
    value = F.pixel_shuffle(F.prelu(value, given["slopes"]), 2)
    return value * 0.5 + picture.repeat_interleave(2, -1).repeat_interleave(2, -2)


@pytest.mark.parametrize("half", [False, True])
def test_a_network_computes_what_its_graph_says(half: bool, tmp_path: Path) -> None:
    given = weights()
    if half:
        given |= {name: given[name].half().float() for name in ("first", "second")}
    network = load_ncnn(*written(tmp_path, data=stored(given, half=half)))
    picture = torch.rand(2, 3, 9, 7)
    assert torch.allclose(network(picture), by_hand(picture, given), atol=1e-6)
    assert (network.scale, network.radius) == (2, 3)


def test_no_pixel_depends_on_more_than_its_radius(tmp_path: Path) -> None:
    network = load_ncnn(*written(tmp_path))
    far = network.radius + 1
    picture = torch.rand(1, 3, 2 * far + 1, 2 * far + 1)
    other = torch.rand_like(picture)
    other[..., 1:-1, 1:-1] = picture[..., 1:-1, 1:-1]
    middle = slice(2 * far, 2 * far + 2)
    seen = network(picture)[..., middle, middle]
    assert torch.equal(seen, network(other)[..., middle, middle])
    nearer = picture.clone()
    nearer[..., 1, far] += 0.5
    assert not torch.equal(seen, network(nearer)[..., middle, middle])


LINE = "Convolution first  1 1 a c 0=4 1=3 4=1 5=1 6=108"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("7767517", "7767518", "does not begin"),
        ("10 12", "11 12", "10 layers instead of 11"),
        (LINE, LINE.replace("6=108", "6=109"), "without a meaning"),
        (LINE, LINE.replace("1=3", "1=4"), "without a meaning"),
        (LINE, LINE + " 9=2", "a parameter 9"),
        (LINE, LINE + " 0=x", "makes no sense"),
        (LINE, "Convolution first 1 1 zz c 0=4 1=3 4=1 5=1 6=108", "no input zz"),
        ("Swish     bend", "Softmax   bend", "of the kind Softmax"),
        ("PixelShuffle up    1 1 f g 0=2", "PixelShuffle up    1 1 f g 0=5", "without a meaning"),
        ("i h out", "i h out", ""),
    ],
)
def test_a_graph_that_is_not_understood_is_refused(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    assert old in GRAPH
    files = written(tmp_path, GRAPH.replace(old, new))
    if not said:
        load_ncnn(*files)
        return
    with pytest.raises(MachineError, match=said):
        load_ncnn(*files)


@pytest.mark.parametrize("change", [-4, -1, 4])
def test_weights_of_another_length_are_refused(change: int, tmp_path: Path) -> None:
    data = stored(weights())
    data = data[:change] if change < 0 else data + bytes(change)
    with pytest.raises(MachineError, match=r"cut off|too many"):
        load_ncnn(*written(tmp_path, data=data))


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    given = weights()
    given["first bias"][0] = float("nan")
    with pytest.raises(MachineError, match="no numbers"):
        load_ncnn(*written(tmp_path, data=stored(given)))


def test_whatever_is_changed_in_a_graph_is_told_or_harmless(tmp_path: Path) -> None:
    chance, data = random.Random(0), stored(weights())
    folder = tmp_path
    for _ in range(300):
        text = [*GRAPH]
        for _ in range(chance.randint(1, 3)):
            text[chance.randrange(len(text))] = chance.choice("0123456789=. \nabX-")
        with suppress(MachineError):
            assert load_ncnn(*written(folder, "".join(text), data)).scale in range(1, 9)


def test_a_graph_may_name_nothing_twice_as_its_input() -> None:
    two = GRAPH.replace("10 12", "11 12").replace(
        "Split ", "Input     more     0 1 more\nSplit ", 1
    )
    with pytest.raises(Exception, match="two inputs"):
        NcnnNetwork(parse(two), stored(weights()))
