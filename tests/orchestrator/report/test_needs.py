"""What a person is told to do: only settings that exist, in overrides that can be copied."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path, PurePath
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.commands.redo import redo
from orchestrator.redo.settings import typed_values
from orchestrator.report.advice import (
    AT_A_BORDER,
    doubt_values,
    flag_advice,
    left_out_advice,
    override_text,
    pattern_of,
    redo_text,
)
from orchestrator.report.needs import FLAGS, needs, reasons
from orchestrator.settings.keys import KEYS
from orchestrator.settings.overrides import Override, Values, may_differ
from orchestrator.settings.settings import load_settings, settings_for
from pipeline.contract import Layout
from pipeline.judge.doubt import Doubt, DoubtKind
from pipeline.stages.matting.catalogue import MODELS
from pipeline.text import printable
from tests.orchestrator.pages import HOSTILE, flag, video

MODEL_NAMES = (*MODELS.built_in, "another_packages")


def all_values() -> list[Values]:
    """Everything that is ever suggested."""
    layouts: tuple[Layout, ...] = get_args(Layout)
    found = [AT_A_BORDER.values, left_out_advice(("alphapack",), ("webm", "matte")).values]
    for model in MODEL_NAMES:
        found += [
            flag_advice(kind, model, wrong).values
            for kind in FLAGS
            for wrong in (None, True, False)
        ]
        found += [
            doubt_values(kind, model, layout) for kind in get_args(DoubtKind) for layout in layouts
        ]
    return [
        values for number, values in enumerate(found) if values and values not in found[:number]
    ]


@pytest.mark.parametrize("values", all_values(), ids=str)
def test_what_is_suggested_can_be_copied_into_a_settings_file(
    values: Values, tmp_path: Path
) -> None:
    name = "interviews [1]/a * b?.mp4"
    for group, members in values.items():
        assert all(key in KEYS[group] and may_differ(group, key) for key in members)
    file = tmp_path / "settings.yaml"
    file.write_text(override_text(name, values))
    settings = load_settings(file, {})
    assert settings_for(settings, PurePath(name)) != settings_for(settings, PurePath("b.mp4"))


@pytest.mark.parametrize("values", all_values(), ids=str)
@pytest.mark.parametrize("name", ["a talk's [1].mp4", "-a.mp4"])
def test_what_is_suggested_can_be_typed_as_a_redo(name: str, values: Values) -> None:
    command = redo_text(name, values, (1.0, 1.0))
    if not values.keys().isdisjoint(("input", "output")):  # which files there are
        assert command == ""
        return
    program, chosen, *words = shlex.split(command)
    assert (program, chosen) == ("vrmatte", "redo")
    typed = redo.make_context("redo", words).params
    assert (typed["out"], typed["video"]) == (Path("OUT"), name)
    assert (typed["begin"], typed["end"]) == ("1.00", "1.01")
    assert typed_values(typed["model"], typed["assignments"]) == values


@given(st.text(min_size=1, max_size=40))
@example(HOSTILE[0])
@example("- &a *b: [c]\n#.mp4")
def test_the_override_is_that_of_the_video(name: str) -> None:
    if name.startswith("/") or name.endswith("/") or any(p in ("", ".") for p in name.split("/")):
        return
    assert Override(pattern_of(printable(name)), {}).matches(PurePath(name))
    shown = PurePath(printable(name) + "x")
    assert not Override(pattern_of(printable(name)), {}).matches(shown)


def test_every_reason_comes_with_what_to_do() -> None:
    doubt = Doubt("sky", "the matte is smooth", "try rvm")
    flags = (flag("jump", 30, 31), flag("jump", 90, 91), flag("touches_edge", 40, 50))
    made = replace(
        video(0, "a.mp4", flags=flags),
        doubts=(doubt,),
        left_out=("alphapack",),
        concealed_frames=2,
    )
    found = list(needs(made))
    assert len(found) == len(list(reasons(made)))
    assert [need.words for need in found] == [
        "Doubtful: the matte is smooth",
        "alphapack cannot be made of it",
        "the matte's area jumps",
        "the subject is cut off at the edge",
        "2 frames could not be decoded",
    ]
    assert all(need.advice for need in found)
    assert [bool(need.override) for need in found] == [True, True, True, False, False]
    assert [bool(need.redo) for need in found] == [True, False, True, False, False]
    assert "--from 1.00 --to 3.07" in found[2].redo
    assert "formats:\n    - webm\n    - greenscreen\n" in found[1].override
    assert [flag.times for flag in found[2].flags] == ["0:01.00", "0:03.00"]


def test_a_flag_from_the_first_frame_to_the_last_reads_whole_video() -> None:
    whole, part = flag("touches_edge", 0, 2399, 0), flag("empty", 0, 2398)
    made = {need.words: need.flags for need in needs(video(0, "a.mp4", flags=(whole, part)))}
    assert made["the subject is cut off at the edge"][0].times == "whole video"
    assert made["the subject is cut off at the edge"][0].where == "left eye"
    assert made["nothing is matted"][0].times.startswith("0:00.00 to ")


def test_a_jump_where_segments_meet_is_told_as_one() -> None:
    made = replace(video(0, "a.mp4", flags=(flag("jump", 599, 600),)), segment_starts=(0, 600))
    [need] = needs(made)
    assert AT_A_BORDER.words in need.advice
    assert "warmup_frames" in need.override
    [need] = needs(replace(made, segment_starts=(0, 700)))
    assert AT_A_BORDER.words not in need.advice


def test_the_eye_that_is_right_mends_the_other() -> None:
    for wrong, right in ((0, "right"), (1, "left")):
        [need] = needs(video(0, "a.mp4", flags=(flag("eyes_disagree", 5, 50, wrong),)))
        assert f"master_eye: {right}" in need.override
