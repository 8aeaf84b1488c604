"""The group `matting`: flat in a settings file, objects of options in the program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.settings.keys import KEYS
from orchestrator.settings.matting_group import DEFAULT_MATTING, MattingGroup, flattened, gathered
from orchestrator.settings.settings import Settings, as_mapping, load_settings, video_settings
from pipeline.contract import NO_MODEL
from pipeline.stages.matting.catalogue import AUTO, MODELS, option_classes
from pipeline.stages.matting.plate_facts import PlateOptions
from pipeline.stages.matting.sam2.facts import Sam2Options, Sam2Size
from tests.their_package import ENTRY_POINTS, install_theirs

#: As people have them in files: no name may change.
NAMES = {
    "model", "prompts", "dlc_csv", "dlc_bodyparts", "dlc_likelihood", "continuous_correction",
    "correction_interval", "region", "subject_pixels", "rvm_variant", "rvm_repo",
    "rvm_weights", "rvm_weights_sha256",
    "rvm_sources", "rvm_registry",
    "sam2_size", "sam2_checkpoint", "sam2_checkpoint_sha256", "sam2_image_size", "sam2_region",
    "sam2_compile", "sam2_seed", "sam2_edge", "chroma_color", "plate_image", "plate_image_sha256",
    "choke", "feather", "gamma", "despill", "keep_out", "keep_out_image", "keep_out_image_sha256",
}  # fmt: skip

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from([*MODELS.built_in]),
    "dlc_bodyparts": st.lists(st.sampled_from(["nose", "tail"]), max_size=2),
    "region": st.sampled_from(["auto", "whole"]),
    "subject_pixels": st.integers(256, 1024),
    "rvm_variant": st.sampled_from(["mobilenetv3", "resnet50"]),
    "rvm_weights": st.sampled_from([None, "a.pth"]),
    "rvm_sources": st.sampled_from([["hub"], ["registry", "local"]]),
    "sam2_size": st.sampled_from(get_args(Sam2Size)),
    "sam2_image_size": st.sampled_from([64, 1024]),
    "sam2_region": st.sampled_from(["whole", "auto"]),
    "sam2_compile": st.booleans(),
    "sam2_seed": st.sampled_from(["rvm", "chroma"]),
    "chroma_color": st.sampled_from(["auto", "#00ff00"]),
    "plate_image": st.sampled_from([None, "empty.png"]),
    "choke": st.sampled_from([-50.0, 0.0, 2.5]),
    "keep_out": st.sampled_from(
        [[], [{"eye": "left", "points": [[0.0, 0.0], [9.5, 0.0], [0.0, 9.0]]}]]
    ),
    "keep_out_image": st.sampled_from([None, "mask.png"]),
}


def test_the_names_are_those_of_people_s_files() -> None:
    assert set(KEYS["matting"]) == NAMES
    assert as_mapping(Settings())["matting"].keys() == NAMES


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_what_is_written_is_read_and_written_again(written: dict[str, Any]) -> None:
    settings = load_settings(None, {"matting": written})
    said = as_mapping(settings)["matting"]
    assert said == as_mapping(Settings())["matting"] | written
    assert load_settings(None, {"matting": said}) == settings
    for kind in option_classes():
        for key, name in kind.fields_by_key().items():
            value = getattr(settings.matting.of(kind), name)
            assert (list(value) if isinstance(value, tuple) else value) == said[key]
    for key in ("choke", "keep_out_image"):
        assert getattr(settings.matting.edges, key) == said[key]
    assert len(settings.matting.edges.keep_out) == len(said["keep_out"])
    assert gathered(flattened(settings.matting)) == settings.matting


def test_the_defaults_are_those_of_the_classes() -> None:
    assert Settings().matting == DEFAULT_MATTING == load_settings(None, {}).matting
    assert all(options == type(options)() for options in DEFAULT_MATTING.options)
    assert {each.name for each in fields(MattingGroup)} == NAMES


def test_a_job_has_what_is_said_of_boxes_only_where_its_model_takes_them() -> None:
    for model, region in (("rvm", "whole"), ("depth", "auto")):
        settings = load_settings(None, {"matting": {"model": model, "region": "whole"}})
        assert video_settings(settings).matting.region == region


def test_a_job_has_the_options_of_models_that_take_part() -> None:
    written = {"model": "sam2", "sam2_seed": "plate", "plate_image": "e.png", "rvm_weights": "w"}
    matting = video_settings(load_settings(None, {"matting": written})).matting
    assert matting.options == (Sam2Options(seed="plate"), PlateOptions(image="e.png"))


# -- with another package installed --------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_theirs(tmp_path_factory.mktemp("theirs"))


#: Runs command lines, a JSON list each, and prints status, output and errors of each.
TYPED = """
import contextlib, io, json, sys
from orchestrator.cli import main
for line in sys.stdin:
    said, errors, status = io.StringIO(), io.StringIO(), 0
    sys.argv = ["vrmatte", *json.loads(line)]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
    print(json.dumps([status, said.getvalue(), errors.getvalue()]), flush=True)
"""


class Typed:
    """Command lines with their package installed, one after the other in one process."""

    def __init__(self, place: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", TYPED],
            env={**os.environ, "PYTHONPATH": str(place)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Status, standard output and standard error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        status, said, errors = json.loads(self._process.stdout.readline())
        return status, said, errors

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def typed(place: Path) -> Iterator[Typed]:
    command = Typed(place)
    yield command
    command.end()


def test_their_options_stand_beside_ours(typed: Typed, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    assert typed("config", "init", str(path))[0] == 0
    text = path.read_text()
    assert "  # alpha everywhere, 0 to 1\n  theirs_level: 0.5\n" in text
    assert yaml.safe_load(text)["matting"]["theirs_places"] == ["here", "there"]
    assert typed("config", "check", str(path)) == (0, f"{path} is right\n", "")
    schema = json.loads(typed("config", "schema")[1])
    members = schema["$defs"]["MattingSettings"]["properties"]
    assert members["theirs_level"]["maximum"] == 1
    assert {"theirs", "theirs-bare"} <= set(members["model"]["examples"])
    assert "theirs" in members["sam2_seed"]["enum"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("matting: {theirs_levl: 1}", "no key 'matting.theirs_levl'\ndid you mean 'matting.theirs"),
        ("matting: {theirs_level: 2}", "matting.theirs_level = 2: it should be less than or equal"),
        ("matting: {model: thers}", "there is no model named 'thers'\ndid you mean 'theirs'?"),
        ("matting: {model: theirs-raises}", "package their-models cannot be loaded: RuntimeError"),
        ("matting: {model: theirs-clash}", "theirs-clash' have names that others have already"),
        ("matting: {sam2_seed: theirs-odd}", "matting.sam2_seed: the model 'theirs-odd' of"),
        ('overrides: [{match: "*", matting: {theirs_level: x}}]', "matting.theirs_level = 'x'"),
        ('overrides: [{match: "*", model: theirs, matting: {theirs_level: 0.1}}]', ""),
        ("matting: {model: theirs, theirs_places: [a], sam2_seed: theirs}", ""),
        ("preset: quest\nmatting: {model: theirs-bare}", ""),
    ],
)  # fmt: skip
def test_their_options_are_checked_like_ours(
    typed: Typed, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    status, said, errors = typed("config", "check", str(path))
    if not message:
        assert (status, said, errors) == (0, f"{path} is right\n", "")
        return
    assert status == 2
    assert message in errors
    assert errors.startswith(f"error: {path}, line 1: ")
    assert len(errors.splitlines()) == 2


def test_their_models_are_listed_and_broken_ones_with_the_reason(typed: Typed) -> None:
    models = typed("models", "list")[1].partition("\n\n")[0]
    said = dict(line.split(maxsplit=1) for line in models.splitlines())
    assert said["theirs"] == "the same alpha everywhere; needs nothing (MIT)"
    assert said["theirs-bare"] == (
        "installed by another package; needs what its package says (that of its package)"
    )
    assert said["theirs-raises"].startswith("unusable: the model 'theirs-raises' of package")
    assert set(said) == {AUTO, NO_MODEL, *MODELS.built_in, *ENTRY_POINTS}
