"""The names that templates give: known for outputs, right for players, and each of one file."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.fleet.jobs import Plan, SetAside
from orchestrator.out.output_names import LONGEST_NAME_BYTES, OutputNames, is_output_name
from orchestrator.plan.discover import discover
from orchestrator.plan.places import Places, told_apart
from orchestrator.plan.planner import Planner, Wanted
from orchestrator.settings.name_template import name_template
from pipeline.contract import MattingSettings, ProjectionName, VideoInfo, VideoSettings
from pipeline.deliverables.formats import FORMATS
from pipeline.errors import InputError, SettingsError
from pipeline.vr_tags.in_names import read_tags
from tests.orchestrator.snapshots import ProbeDouble
from tests.orchestrator.worlds import make_job

VIDEO = replace(make_job().info, width=256, height=128)

texts = st.lists(st.sampled_from([*"aZ_- .(é", "v2", "LR", "360", "tb"]), max_size=6).map("".join)
templates = st.builds(
    lambda parts, tagged: "".join(parts) + "{tags}" * tagged,
    st.permutations(["{stem}", "{model}"]).flatmap(
        lambda fields: st.tuples(texts, st.just(fields[0]), texts, st.just(fields[1]), texts)
    ),
    st.booleans(),
)
videos = st.builds(
    lambda layout, projection, swapped: replace(
        VIDEO, layout=layout, projection=projection, right_first=swapped
    ),
    st.sampled_from(["mono", "sbs", "tb"]),
    st.sampled_from(get_args(ProjectionName)),
    st.booleans(),
)


def settings(name: str, model: str = "chroma") -> VideoSettings:
    return VideoSettings(deliverables=(name,), matting=MattingSettings(model=model))


@given(text=templates, video=videos, model=st.sampled_from(["chroma", "sam2+rvm"]))
def test_every_template_gives_names_of_outputs_that_players_read_rightly(
    text: str, video: VideoInfo, model: str
) -> None:
    try:
        names = OutputNames(name_template(text))
    except ValueError:
        assume(False)
    for row in FORMATS.built_in.values():
        if row.alpha == "packed" and not names.template.tagged:
            continue  # refused with the settings
        with suppress(InputError):
            shown = row.picture(video)
            (name,) = names.of("talk", video, settings(row.name, model))
            assert is_output_name(name)
            assert is_output_name(name.upper())
            assert "/" not in name
            assert not name.startswith(".")
            if names.template.tagged:
                read = read_tags(name.removesuffix(row.suffix))
                assert read.projection == (None if shown.projection == "flat" else shown.projection)
                flat = (shown.layout, shown.projection) == ("mono", "flat")
                assert read.layout == (None if flat else shown.layout)
                assert read.right_first == (shown.right_first and shown.layout != "mono")


def plan(folder: Path, text: str, *formats: str, model: str = "chroma") -> Plan:
    out = folder.parent / "out"
    asked = VideoSettings(deliverables=formats, matting=MattingSettings(model=model))
    planner = Planner(
        Places(out),
        wanted=lambda source: Wanted(asked),
        probe=ProbeDouble(),
        names=OutputNames(name_template(text)),
    )
    return planner.plan(discover([folder], out))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a_LR_180.mp4").write_bytes(b"a")
    return tmp_path / "in"


@pytest.mark.parametrize("text", ["{stem}_{model}{tags}", "cut {stem}", "{model}{stem}x"])
def test_outputs_are_no_sources_of_the_next_run(folder: Path, text: str) -> None:
    (job,) = plan(folder, text, "webm", "greenscreen", "matte", "prores", "hevc-alpha").jobs
    for output in job.outputs:
        Path(output).parent.mkdir(exist_ok=True)
        Path(output).touch()
        (folder / Path(output).name).touch()
    out = folder.parent / "out"
    elsewhere = folder.parent / "elsewhere"
    assert [source.name for source in discover([folder], elsewhere)] == ["a_LR_180.mp4"]
    copied = out.rename(folder.parent / "copied")
    shutil.rmtree(copied / ".vrmatte")
    with pytest.raises(SettingsError, match="no videos found"):
        discover([copied], elsewhere)


def test_a_name_has_the_model_that_the_video_gets(folder: Path) -> None:
    (job,) = plan(folder, "{stem}_{model}{tags}", "webm", "alphapack", model="plate").jobs
    assert [Path(output).name for output in job.outputs] == [
        "a_plate_LR_180_matte.webm",
        "a_plate_matte_LR_180_FISHEYE_F180_alpha.mp4",
    ]
    assert job.info.notes == plan(folder, "{stem}{tags}", "webm", "alphapack").jobs[0].info.notes


def test_names_without_tags_are_noted(folder: Path) -> None:
    (job,) = plan(folder, "{stem}", "webm", "matte").jobs
    assert [Path(output).name for output in job.outputs] == ["a_matte.webm", "a_matte_mask.mp4"]
    (note,) = [note for note in job.info.notes if "{tags}" in note]
    assert "'_LR_180'" in note


def test_two_videos_never_share_a_name() -> None:
    """With another model each, what `output_stems` tells apart may meet again."""
    names = OutputNames(name_template("{stem}{model}{tags}"))
    jobs = []
    for stem, model in (("a", "rvm"), ("b", "sam2+rvm"), ("Bsam2+", "rvm")):
        job = replace(make_job(), name=f"{stem}.mp4")
        outputs = names.of(stem, VIDEO, settings("webm", model))
        jobs.append(replace(job, outputs=tuple(f"/out/{name}" for name in outputs)))
    taken: dict[str, str] = {}
    first, second, aside = [told_apart(job, taken) for job in jobs]
    assert [first, second] == jobs[:2]
    assert isinstance(aside, SetAside)
    assert aside.error.message == (
        "Bsam2+rvm_LR_180_matte.webm would be the name of an output of b.mp4, too"
    )
    assert told_apart(aside, taken) is aside


def test_two_formats_never_share_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    webm = FORMATS.built_in["webm"]
    for name, before, ending in (("one", "_x", "_y.webm"), ("two", "", "_x_y.webm")):
        row = replace(webm, name=name, before_tags=before, ending=ending)
        monkeypatch.setitem(FORMATS.built_in, name, row)
    asked = VideoSettings(deliverables=("one", "two"))
    assert len(set(OutputNames().of("a", VIDEO, asked))) == 2
    with pytest.raises(InputError, match=r"two formats would make the file a_x_y\.webm"):
        OutputNames(name_template("{stem}")).of("a", VIDEO, asked)


@pytest.mark.parametrize("text", ["{stem}{tags}", "{stem}_{model}{tags}", "é" * 32 + "{stem}"])
def test_names_are_never_too_long(folder: Path, text: str) -> None:
    (folder / ("x" * 240 + ".mp4")).write_bytes(b"x")
    found = plan(folder, text, "webm", "greenscreen")
    names = [Path(output).name for job in found.jobs for output in job.outputs]
    assert len(names) == 4
    assert max(len(name.encode()) for name in names) <= LONGEST_NAME_BYTES


def test_a_name_that_a_model_makes_too_long_is_refused() -> None:
    names = OutputNames(name_template("{stem}_{model}{tags}"))
    with pytest.raises(InputError, match="more than 220 bytes"):
        names.of("talk", VIDEO, settings("webm", "m" * 200))
