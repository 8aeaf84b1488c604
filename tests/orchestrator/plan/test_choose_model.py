"""`--model auto`: each video gets the first model that its own frames do not speak against."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import pytest

from orchestrator.estimate.model_trial import ModelTrial, Tried
from orchestrator.estimate.trial import IndexGoneError
from orchestrator.plan.choose_model import ModelChooser
from orchestrator.plan.discover import Source
from orchestrator.plan.per_file import choose, possible_mattings
from orchestrator.plan.planner import Wanted
from orchestrator.plan.settle import settle_settings
from orchestrator.settings.overrides import Override
from orchestrator.settings.settings import load_settings, with_overrides
from pipeline.contract import AS_SOURCE, MattingSettings
from pipeline.errors import InputError, MachineError
from tests.orchestrator.run.test_run import Place, place
from tests.orchestrator.worlds import make_job

__all__ = ["place"]

A, B = (Source(Path(f"/in/{name}"), PurePath(name), "in") for name in ("a.mp4", "b.mp4"))
#: Any file: only whether there is one is looked at.
INDEX = Path(__file__)
AUTO: dict[str, Any] = {"matting": {"model": "auto"}}
INFO = make_job("a.mp4").info


def wanted(*overrides: Override, **groups: dict[str, object]) -> dict[Source, Wanted]:
    settings = load_settings(None, groups).model_copy(update={"overrides": overrides})
    settle = partial(settle_settings, device_kind="cpu", digests={})
    general = settle(with_overrides(settings, ()))
    return dict(choose(settings, general, [A, B], settle).wanted)


@dataclass
class Frames:
    """What a video's frames say of models, and which models can be had."""

    folder: Path
    answers: dict[str, bool]
    lacking: tuple[str, ...] = ()
    asked: list[list[str]] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def chooser(self) -> ModelChooser:
        return ModelChooser(self.folder, self.trial, self.fetch)

    def trial(self, trial: ModelTrial) -> Sequence[Tried]:
        # Mattes are made before anything is enhanced.
        assert {each.enhance for each in trial.candidates} <= {AS_SOURCE}
        found = []
        for settings in trial.candidates:
            name = settings.matting.model
            found.append(Tried(self.answers[name], f"{name} was looked at"))
            if found[-1].suits:
                break
        self.asked.append([each.matting.model for each in trial.candidates])
        return found

    def fetch(self, matting: MattingSettings) -> None:
        self.fetched.append(matting.model)
        if matting.model in self.lacking:
            raise MachineError("nobody answers", "wait")


@pytest.fixture
def frames(tmp_path: Path) -> Callable[..., Frames]:
    def make(*suited: str, lacking: tuple[str, ...] = ()) -> Frames:
        names = ("chroma", "rvm", "depth", "plate")
        return Frames(tmp_path / "models", {name: name in suited for name in names}, lacking)

    return make


def test_it_is_the_default_and_comes_to_one_of_four_models() -> None:
    settings = load_settings(None, {})
    assert settings.matting.model == "auto"
    names = [matting.model for matting in possible_mattings(settings)]
    assert names == ["chroma", "rvm", "depth", "plate"]


@pytest.mark.parametrize("suited", [("chroma", "rvm"), ("rvm", "depth"), ("depth",), ("plate",)])
def test_the_first_that_suits_is_taken(frames: Callable[..., Frames], suited: tuple[str]) -> None:
    chosen = frames(*suited).chooser().choose(INFO, wanted()[A].candidates, INDEX)
    names = ("chroma", "rvm", "depth", "plate")
    assert chosen.settings.matting.model == suited[0]
    passed_over = [f"{name}: {name} was looked at" for name in names[: names.index(suited[0])]]
    assert chosen.why == "; ".join([f"{suited[0]} was looked at", *passed_over])


@pytest.mark.parametrize("name", ["chroma", "rvm", "depth", "plate"])
def test_the_video_is_then_made_as_by_a_run_with_that_model(
    frames: Callable[..., Frames], name: str
) -> None:
    """Under the same fingerprint, whatever else is set."""
    groups: dict[str, dict[str, object]] = {
        "matting": {"chroma_color": "blue", "rvm_variant": "resnet50"},
        "processing": {"adaptive_scaling": {}} if name == "rvm" else {},
        "enhance": {"scale": 2, "model": "lanczos"},
    }
    chosen = frames(name).chooser().choose(INFO, wanted(**groups)[A].candidates, INDEX)
    groups["matting"]["model"] = name
    [named] = {each.settings for each in wanted(**groups).values()}
    assert chosen.settings == named
    assert chosen.settings.fingerprint() == named.fingerprint()


def test_a_choice_is_kept_and_holds_whatever_the_frames_would_say_now(
    frames: Callable[..., Frames],
) -> None:
    first = frames("depth").chooser().choose(INFO, wanted()[A].candidates, INDEX)
    later = frames("chroma")
    assert later.chooser().choose(INFO, wanted()[A].candidates, INDEX) == first
    assert not later.asked
    other = wanted(matting={"chroma_color": "blue"})[A].candidates
    assert later.chooser().choose(INFO, other, INDEX).settings.matting.model == ("chroma")
    elsewhere = replace(INFO, fingerprint="d" * 64)
    assert later.chooser().choose(elsewhere, wanted()[A].candidates, INDEX) != first


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"model": "sam3", "why": ""}', '{"why": 1}'])
def test_a_record_that_cannot_be_read_is_made_again(
    frames: Callable[..., Frames], damage: str
) -> None:
    found = frames("rvm")
    first = found.chooser().choose(INFO, wanted()[A].candidates, INDEX)
    [record] = found.folder.iterdir()
    record.write_text(damage)
    assert found.chooser().choose(INFO, wanted()[A].candidates, INDEX) == first
    assert json.loads(record.read_text())["model"] == "rvm"


def test_a_model_that_cannot_be_had_is_passed_over_and_said(
    frames: Callable[..., Frames],
) -> None:
    found = frames("rvm", "depth", lacking=("rvm",))
    chooser = found.chooser()
    chosen = chooser.choose(INFO, wanted()[A].candidates, INDEX)
    assert chosen.settings.matting.model == "depth"
    assert chosen.why == (
        "depth was looked at; chroma: chroma was looked at; rvm: cannot be had (nobody answers)"
    )
    chooser.choose(replace(INFO, fingerprint="d" * 64), wanted()[B].candidates, INDEX)
    assert found.fetched == ["rvm"]


def test_where_none_suits_the_video_is_set_aside_with_what_each_showed(
    frames: Callable[..., Frames],
) -> None:
    with pytest.raises(InputError, match=r"no model suits it.*chroma.*rvm.*depth.*plate") as caught:
        frames().chooser().choose(INFO, wanted()[A].candidates, INDEX)
    assert "--model" in str(caught.value.advice)


def test_where_none_suits_and_one_cannot_be_had_the_advice_is_how_to_have_it(
    frames: Callable[..., Frames],
) -> None:
    """Not to name one of the others: they were tried."""
    found = frames(lacking=("rvm",))
    with pytest.raises(InputError, match=r"rvm: cannot be had") as caught:
        found.chooser().choose(INFO, wanted()[A].candidates, INDEX)
    assert caught.value.advice == "for rvm: wait"


def test_an_override_may_name_a_model_for_some_videos() -> None:
    found = wanted(Override("b*", {"matting": {"model": "chroma"}}, 1))
    assert len(found[A].candidates) == 4
    assert not found[B].candidates
    assert found[B].settings.matting.model == "chroma"


def test_a_run_says_what_was_chosen_and_why_and_remembers_it(place: Place) -> None:
    place.suited = "chroma"
    assert place.run(dry_run=True, **AUTO) == 0
    assert "model chroma (as chroma would be)" in place.answers.getvalue()
    assert place.run(**AUTO) == 0
    tried = len(place.models_tried)
    assert tried
    assert "model chroma for a.mp4, sub/b.mp4: as chroma would be" in place.told.getvalue()
    videos = place.report()["videos"]
    assert isinstance(videos, list)
    assert {video["facts"]["model"] for video in videos} == {"chroma"}
    assert {video["facts"]["model_why"] for video in videos} == {"as chroma would be"}
    assert place.run(**AUTO) == 0
    assert len(place.models_tried) == tried


def test_a_run_sets_aside_what_no_model_suits_before_its_first_segment(place: Place) -> None:
    place.suited = "none"
    assert place.run(**AUTO) == 1
    videos = place.report()["videos"]
    assert isinstance(videos, list)
    assert {video["result"] for video in videos} == {"set aside"}
    assert "no model suits it" in place.answers.getvalue()


def test_a_trial_without_a_frame_index_asks_for_another_probe(
    frames: Callable[..., Frames], tmp_path: Path
) -> None:
    found = frames("rvm")
    with pytest.raises(IndexGoneError):
        found.chooser().choose(INFO, wanted()[A].candidates, tmp_path / "gone.json")
    assert not found.asked
    first = found.chooser().choose(INFO, wanted()[A].candidates, INDEX)
    again = found.chooser().choose(INFO, wanted()[A].candidates, tmp_path / "gone.json")
    assert again == first, "what is recorded needs none"


def test_a_finished_run_that_is_made_afresh_probes_and_tries_again(place: Place) -> None:
    assert place.run(**AUTO) == 0
    for index in place.out.glob(".vrmatte/work/*/index.json"):
        index.unlink()
    probed = len(place.probe.probed)
    assert place.run(**AUTO) == 0
    assert len(place.probe.probed) == probed, "all is done: nothing is read again"
    assert place.run(fresh=True, **AUTO) == 0
    assert len(place.probe.probed) == 2 * probed
