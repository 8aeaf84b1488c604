"""`output.per_object`: which files are planned for the objects that prompts name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.fleet.jobs import Plan
from orchestrator.out.output_names import OutputNames, is_output_name
from orchestrator.plan.discover import discover
from orchestrator.plan.per_object import names_in_files, require_objects
from orchestrator.plan.places import Places
from orchestrator.plan.planner import Planner, Wanted
from orchestrator.settings.name_template import name_template
from orchestrator.settings.settings import load_settings, video_settings
from pipeline.contract import EncodingSettings, MattingSettings, VideoSettings
from pipeline.errors import SettingsError
from pipeline.vr_tags.in_names import read_tags
from tests.orchestrator.snapshots import ProbeDouble

PROMPTS = "objects:\n" + "".join(
    f"- name: {name}\n  prompts:\n  - {{frame: 3, points: [[10, 20]]}}\n"
    for name in ("anna", "her dog")
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("a_LR_180.mp4", "b.mp4"):
        (tmp_path / "in" / name).write_bytes(name.encode())
    (tmp_path / "in/a_LR_180.prompts.yaml").write_text(PROMPTS)
    return tmp_path / "in"


def plan(folder: Path, *formats: str, model: str = "sam2", pages: str = "alpha") -> Plan:
    asked = VideoSettings(
        deliverables=formats,
        matting=MattingSettings(model=model),
        encoding=EncodingSettings(tiff_pages=pages),  # type: ignore[arg-type]
        per_object=True,
    )
    planner = Planner(
        Places(folder.parent / "out"),
        wanted=lambda source: Wanted(asked),
        probe=ProbeDouble(),
        names=OutputNames(name_template("{stem}_{model}{tags}")),
    )
    return planner.plan(discover([folder], folder.parent / "out"))


def test_a_file_for_each_object_and_format(folder: Path) -> None:
    found = plan(folder, "webm", "alphapack")
    (job,) = found.jobs
    assert job.settings.deliverables == ("webm.1", "alphapack.1", "webm.2", "alphapack.2")
    assert [Path(output).name for output in job.outputs] == [
        "a_sam2_anna_LR_180_matte.webm",
        "a_sam2_anna_matte_LR_180_FISHEYE_F180_alpha.mp4",
        "a_sam2_her_dog_LR_180_matte.webm",
        "a_sam2_her_dog_matte_LR_180_FISHEYE_F180_alpha.mp4",
    ]
    (aside,) = found.set_aside
    assert aside.name == "b.mp4"
    assert aside.error.message == "output.per_object: no prompts name the objects of this video"


def test_labels_tell_objects_apart_in_one_file(folder: Path) -> None:
    (job,) = plan(folder, "webm", "tiff", pages="labels").jobs
    assert job.settings.deliverables == ("tiff", "webm.1", "webm.2")
    (job,) = plan(folder, "tiff").jobs
    assert job.settings.deliverables == ("tiff.1", "tiff.2")


@pytest.mark.parametrize("model", ["rvm", "auto"])
def test_another_model_is_refused_in_one_line(model: str, folder: Path) -> None:
    asked = load_settings(None, {"output": {"per_object": True}, "matting": {"model": model}})
    with pytest.raises(SettingsError) as caught:
        require_objects(video_settings(asked))
    assert (
        caught.value.message == f"output.per_object: the model {model} does not tell objects apart"
    )
    assert [aside.error.message for aside in plan(folder, "webm", model="chroma").set_aside] == [
        "output.per_object: the model chroma does not tell objects apart"
    ] * 2


def test_what_other_settings_ask_for_is_the_same_work_as_before() -> None:
    usual = VideoSettings()
    assert VideoSettings(per_object=True).fingerprint() == usual.fingerprint()
    assert VideoSettings(deliverables=("webm.1",)).fingerprint() != usual.fingerprint()


@given(st.lists(st.text(min_size=1, max_size=100), min_size=1, max_size=6, unique=True))
def test_objects_in_names_of_files_are_distinct_and_mislead_nobody(names: list[str]) -> None:
    found = names_in_files(names)
    assert len({name.casefold() for name in found}) == len(names)
    for name in found:
        assert len(name.encode()) <= 64
        assert "/" not in name
        assert read_tags(f"talk_{name}").words == ()
        assert is_output_name(f"talk_{name}_LR_180_matte.webm")


def test_names_that_would_meet_or_mean_something_else() -> None:
    assert names_in_files(["Anna", "anna", "LR", "2", "a/b", "../..", "é è"]) == [
        *("Anna", "anna_object2", "object3", "object4", "a_b", "object6", "é_è"),
    ]


@given(st.lists(st.text(max_size=12), max_size=6))
@example(["a", "A_object3", "A"])
@example(["object2", "🎸"])
def test_no_two_objects_have_one_name(names: list[str]) -> None:
    found = [name.casefold() for name in names_in_files(names)]
    assert len(set(found)) == len(names)
    assert all(found)
