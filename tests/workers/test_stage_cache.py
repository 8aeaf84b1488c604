"""Stages that a worker keeps: one for all that ask for it, few of a kind, none lost in use."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import MattingSettings, ProcessingSettings, VideoSettings
from pipeline.errors import MachineError
from pipeline.stages.base import Stage
from pipeline.stages.catalogue import StageChoice
from workers.messages import ModelChoice
from workers.stage_cache import StageCache


def choice(model: str) -> StageChoice:
    return ModelChoice(MattingSettings(model=model), ProcessingSettings()).stage


@dataclass(eq=False)
class Named:
    """As good as a model."""

    name: str


def named(model: Stage) -> str:
    return cast("Named", model).name


@dataclass
class Loader:
    """Makes models that know their name; counts, and fails for those in `broken`."""

    broken: set[str] = field(default_factory=set)
    loaded: list[str] = field(default_factory=list)
    busy: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, asked: StageChoice) -> Stage:
        assert self.busy.acquire(blocking=False), "two are loaded at a time"
        try:
            name = asked.settings.matting.model
            if name in self.broken:
                raise MachineError(f"{name} does not load")
            self.loaded.append(name)
            return cast("Stage", Named(name))
        finally:
            self.busy.release()


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abcd")), max_size=40))
def test_few_are_loaded_and_none_is_dropped_while_in_use(steps: list[tuple[int, str]]) -> None:
    """Four lanes take and leave models in any order."""
    load = Loader()
    cache = StageCache(load, most=2, give_back=lambda: None)
    lanes: dict[int, tuple[AbstractContextManager[Stage], str, Stage]] = {}
    for lane, name in steps:
        if lane in lanes:
            context, had, model = lanes.pop(lane)
            assert named(model) == had
            context.__exit__(None, None, None)
        else:
            context = cache.using(choice(name))
            model = context.__enter__()
            assert named(model) == name
            for _, other, its in lanes.values():
                assert (its is model) == (other == name), "two of the same"
            lanes[lane] = (context, name, model)
        in_use = {name for _, name, _ in lanes.values()}
        there = {place.settings.matting.model for place in cache._places}
        assert in_use <= there
        assert len(there) <= max(2, len(in_use))
    for context, _, _ in lanes.values():
        context.__exit__(None, None, None)
    cache.drop_idle()
    assert not cache._places


def test_videos_that_take_turns_load_nothing_twice() -> None:
    load = Loader()
    cache = StageCache(load, most=2, give_back=lambda: None)
    for name in "abababba":
        with cache.using(choice(name)):
            pass
    assert load.loaded == ["a", "b"]
    with cache.using(choice("c")), cache.using(choice("b")):  # a waited longest
        pass
    assert load.loaded == ["a", "b", "c", "b"]


def test_lanes_that_ask_at_once_get_the_same_one() -> None:
    load = Loader()
    cache = StageCache(load, give_back=lambda: None)
    all_there = threading.Barrier(4, timeout=30)

    def lane(name: str) -> int:
        all_there.wait()
        with cache.using(choice(name)) as model:
            all_there.wait()
            return id(model)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lane, ["a", "b", "a", "b"]))
    assert sorted(load.loaded) == ["a", "b"]
    assert (found[0], found[1]) == (found[2], found[3])


def test_stages_of_other_names_do_not_displace_each_other() -> None:
    load = Loader()
    cache = StageCache(load, most=1, give_back=lambda: None)
    other = StageChoice("another", choice("b").settings)
    for asked in (choice("a"), other, choice("a"), other):
        with cache.using(asked):
            pass
    assert load.loaded == ["a", "b"]
    cache.drop_idle()
    assert not cache._places


def test_one_that_does_not_load_costs_only_who_asked() -> None:
    load = Loader(broken={"a"})
    cache = StageCache(load, give_back=lambda: None)
    with cache.using(choice("b")):
        for _ in range(2):
            with pytest.raises(MachineError), cache.using(choice("a")):
                pass
    load.broken.clear()
    with cache.using(choice("a")) as model:
        assert named(model) == "a"


def other(value: Any) -> Any:
    return not value if isinstance(value, bool) else "other" if value is None else f"{value}x"


def test_what_makes_another_model() -> None:
    """Everything that a model may look at; not what is said of the subject, what is done to its
    matte, or the decoder's."""
    usual = ModelChoice.of(VideoSettings())
    said = {"prompts", "dlc_csv", "dlc_bodyparts", "dlc_likelihood", "edges"}
    for each in fields(MattingSettings):
        matting = replace(MattingSettings(), **{each.name: other(each.default)})
        same = ModelChoice.of(VideoSettings(matting=matting)) == usual
        assert same == (each.name in said), each.name
    unseen = {"decode_threads", "adaptive_scaling"}
    for each in fields(ProcessingSettings):
        if each.name == "stages":  # which stages take part makes none of them another one
            continue
        processing = replace(ProcessingSettings(), **{each.name: other(each.default)})
        same = ModelChoice.of(VideoSettings(processing=processing)) == usual
        assert same == (each.name in unseen), each.name
