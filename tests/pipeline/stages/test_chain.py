"""Laws of the chain: frames out are frames in, however a video is cut, whatever its stages hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.contract import EyeShape, VideoSettings
from pipeline.errors import SettingsError
from pipeline.pixels.batches import EyeBatch
from pipeline.pixels.layers import Layers
from pipeline.stages.base import ClipSampler, Prepared, Stage
from pipeline.stages.catalogue import STAGES, chosen_rows
from pipeline.stages.chain import Chain
from tests.pipeline.stages.outside_stages import AFTER, BEFORE, Doubled, Lagging

EYE = EyeShape(2, 4, 6, "equirect180", Fraction(30))


class Counting(Stage):
    """Alpha is what a state that fades has seen: right to a bit after enough frames of warm-up."""

    name: ClassVar[str] = "counting"
    warmup_frames = 4

    def start(self, eye: EyeShape, prepared: Prepared) -> list[Tensor]:
        return []

    def run(self, layers: Layers, state: list[Tensor]) -> Layers:
        alpha = []
        for rgb in layers.rgb:
            state.append(rgb[:, :1].float() / 255)
            del state[: -self.warmup_frames - 1]
            alpha.append(torch.stack(state).amax(dim=0))
        return Layers(layers.start, layers.rgb, torch.stack(alpha))


def frames(count: int) -> Tensor:
    draw = torch.Generator().manual_seed(count)
    size = (count, EYE.eyes, 3, EYE.height, EYE.width)
    return torch.randint(0, 256, size, generator=draw).to(torch.uint8)


def batches(rgb: Tensor, begin: int, end: int, size: int) -> Iterator[EyeBatch]:
    for at in range(begin, end, size):
        yield EyeBatch(rgb[at : min(end, at + size)], at)


def through(chain: Chain, rgb: Tensor, start: int, stop: int, size: int) -> list[Layers]:
    begin, end = chain.span(start, stop, len(rgb))
    run = chain.start(EYE, {})
    return list(run.layers(batches(rgb, begin, end, size), start, stop))


def joined(parts: list[Layers]) -> tuple[Tensor, ...]:
    layers = [torch.cat([part.rgb for part in parts])]
    if parts[0].alpha is not None:
        layers.append(torch.cat([part.matte.alpha for part in parts]))
    return tuple(layers)


CHAINS: dict[str, tuple[Stage, ...]] = {
    "holds back": (Lagging(),),
    "holds back twice": (Lagging(), Counting(), Lagging()),
    "doubles": (Counting(), Doubled()),
    "all": (Counting(), Lagging(), Doubled(), Lagging()),
    "none": (),
}


@given(
    st.sampled_from(sorted(CHAINS)),
    st.integers(1, 40),
    st.sets(st.integers(1, 39), max_size=6),
    st.integers(1, 7),
)
def test_any_segmentation_gives_the_same_frames(
    name: str, count: int, cuts: set[int], size: int
) -> None:
    chain = Chain(CHAINS[name])
    rgb = frames(count)
    whole = through(chain, rgb, 0, count, count)
    edges = sorted({0, count, *(cut for cut in cuts if cut < count)})
    parts = [
        layers
        for start, stop in pairwise(edges)
        for layers in through(chain, rgb, start, stop, size)
    ]
    numbers = [n for layers in parts for n in range(layers.start, layers.stop)]
    assert numbers == list(range(count))
    assert all(map(torch.equal, joined(parts), joined(whole)))


def test_warm_up_and_look_ahead_add_up() -> None:
    chain = Chain(CHAINS["all"])
    assert chain.warmup_frames == 4 + 2 * BEFORE
    assert chain.lookahead_frames == 2 * AFTER
    assert chain.span(20, 30, 100) == (10, 34)
    assert chain.span(2, 99, 100) == (0, 100)
    assert Chain(CHAINS["all"], {"counting": 0}).warmup_frames == 2 * BEFORE


def test_the_shape_that_comes_out_is_known_before() -> None:
    chain = Chain(CHAINS["all"])
    out = chain.shape(EYE)
    assert (out.height, out.width) == (8, 12)
    [*_, last] = through(chain, frames(9), 0, 9, 4)
    assert tuple(last.rgb.shape[1:]) == (2, 3, 8, 12)


class Losing(Stage):
    """Does not give the frame 5."""

    name: ClassVar[str] = "losing"

    def run(self, layers: Layers, state: None) -> Layers | None:
        return layers.part(layers.start, 5) or layers.part(6, layers.stop)


class Swelling(Doubled):
    """Says nothing of its size."""

    def shape(self, eye: EyeShape) -> EyeShape:
        return eye


@pytest.mark.parametrize(("stage", "words"), [(Losing(), "frame 5"), (Swelling(), "12x8|6x4")])
def test_a_stage_that_loses_or_resizes_frames_is_an_error(stage: Stage, words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        through(Chain([stage]), frames(9), 0, 9, 1)


def test_each_stage_is_prepared_once_and_given_its_own() -> None:
    class Looking(Stage):
        def __init__(self, name: str) -> None:
            self.name = name  # type: ignore[misc]

        def prepare(self, clip: ClipSampler) -> Prepared:
            return {self.name: torch.ones(1)}

        def start(self, eye: EyeShape, prepared: Prepared) -> Any:
            assert set(prepared) == {self.name}

        def run(self, layers: Layers, state: None) -> Layers:
            return layers

    chain = Chain([Looking("a"), Looking("b")])
    prepared = chain.prepare(None)  # type: ignore[arg-type]
    run = chain.start(EYE, prepared)
    assert len(list(run.layers(batches(frames(3), 0, 3, 2), 0, 3))) == 2


def test_the_work_of_each_stage_is_timed_by_its_name() -> None:
    entered: list[str] = []

    @contextmanager
    def at(name: str) -> Iterator[None]:
        entered.append(name)
        yield

    run = Chain([Counting(), Doubled()]).start(EYE, {}, at)
    list(run.layers(batches(frames(2), 0, 2, 2), 0, 2))
    assert entered == ["counting", "doubled"]


def test_what_is_held_back_is_asked_for_only_where_frames_are_missing() -> None:
    def entered_for(stop: int) -> list[str]:
        entered: list[str] = []

        @contextmanager
        def at(name: str) -> Iterator[None]:
            entered.append(name)
            yield

        run = Chain([Lagging(), Doubled()]).start(EYE, {}, at)
        list(run.layers(batches(frames(5), 0, 5, 5), 0, stop))
        return entered

    assert entered_for(3) == ["lagging", "doubled"]
    assert entered_for(5) == ["lagging", "doubled", "lagging", "doubled"]


def test_findings_come_in_the_order_of_the_stages() -> None:
    run = Chain([Lagging(), Counting(), Lagging()]).start(EYE, {})
    list(run.layers(batches(frames(9), 0, 9, 4), 0, 9))
    found = run.findings(0, 9)
    assert [(f.source, f.first_frame, f.last_frame) for f in found] == [("lagging", 0, 8)] * 2


def test_the_built_in_chain_gives_what_formats_need() -> None:
    rows = chosen_rows(VideoSettings())
    assert [row.name for row in rows] == ["matting", "stereo", "judge"]
    behind = ["denoise", "super_resolution", "stabilise"]
    before = ["matting", "stereo", "edges", "steady_matte", "judge"]
    assert list(STAGES.built_in) == [*before, *behind]
    assert {"alpha", "foreground"} <= set().union(*(row.gives for row in rows))


@pytest.mark.parametrize(
    ("names", "words"),
    [(("lagging",), "no stage named 'lagging'"), (("stereo",), "takes part already")],
)
def test_a_stage_that_cannot_take_part_is_one_line(names: tuple[str, ...], words: str) -> None:
    usual = VideoSettings()
    processing = type(usual.processing)(stages=names)
    with pytest.raises(SettingsError, match=words):
        chosen_rows(VideoSettings(processing=processing))
