"""Regions where nothing is kept, on their way from a person's files into the plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from orchestrator.fleet.jobs import Plan
from orchestrator.plan.discover import discover
from orchestrator.plan.places import Places
from orchestrator.plan.planner import Planner, Wanted
from pipeline.contract import EdgeSettings, KeepOut, Layout, MattingSettings, VideoSettings
from pipeline.stages.matting.plate_facts import PlateOptions
from pipeline.stages.matting.sam2.facts import Sam2Options
from tests.orchestrator.snapshots import ProbeDouble

CORNER = KeepOut(eye="left", points=((0.0, 0.0), (9.0, 0.0), (0.0, 9.0)))
GOOD = "keep_out: [{eye: left, points: [[0, 0], [9, 0], [0, 9]]}]\n"


def more_corners(count: int) -> str:
    return GOOD.replace("[9, 0]", ", ".join(["[9, 0]"] * count))


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a_LR_180.mp4", "b.mkv"):
        (folder / name).write_bytes(name.encode())
    return folder


def plan(
    videos: Path,
    *said: KeepOut,
    layout: Layout | None = None,
    edges: EdgeSettings | None = None,
    matting: MattingSettings | None = None,
) -> Plan:
    out = videos.parent / "out"
    edges = edges or EdgeSettings(keep_out=said)
    matting = matting or MattingSettings(model="chroma", edges=edges)
    planner = Planner(
        Places(out),
        wanted=lambda source: Wanted(VideoSettings(matting=matting), layout),
        probe=ProbeDouble(),
    )
    return planner.plan(discover([videos], out))


def test_those_beside_a_video_are_added_with_a_note(videos: Path) -> None:
    plain, other = plan(videos).jobs
    (videos / "a_LR_180.keep_out.yaml").write_text(GOOD)
    first, second = plan(videos).jobs
    assert first.settings.matting.edges.keep_out == (CORNER,)
    assert "1 region kept out by a_LR_180.keep_out.yaml" in first.info.notes
    assert second == other
    assert first.settings.fingerprint() != plain.settings.fingerprint()
    elsewhere = replace(CORNER, eye="both")
    both = plan(videos, elsewhere).jobs
    assert both[0].settings.matting.edges.keep_out == (elsewhere, CORNER)
    assert both[1].settings.matting.edges.keep_out == (elsewhere,)
    said_twice = plan(videos, CORNER).jobs[0]
    assert said_twice.settings.fingerprint() == first.settings.fingerprint()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must begin with `keep_out:`"),
        ("[1, 2]", "must begin with `keep_out:`"),
        ("keep_out: []", "keep_out: it should have at least 1 item"),
        ("keep_out: [{points: []}]", "keep_out, item 1, points: it should have at least 3 items"),
        (
            GOOD.replace("9]]", ".nan]]"),
            "points, item 3, item 2 = nan: it should be a finite number",
        ),
        (GOOD.replace("9]]", ".inf]]"), "points, item 3, item 2 = inf: it should be"),
        (
            GOOD.replace("9]]", "1.0e+300]]"),
            "points, item 3, item 2 = 1e+300: it should be less than",
        ),
        (GOOD.replace("left", "middle"), "keep_out, item 1, eye = 'middle': it should be 'left'"),
        (GOOD.replace("eye", "eyes"), "eyes = 'left': there is no such key"),
        (GOOD.replace("0, 9]]", "0, 9, 3]]"), "points, item 3: it should have at most 2 items"),
        (GOOD.replace("[0, 9]", "3"), "points, item 3 = 3: it should be a list"),
        (GOOD + GOOD, "line 2: this"),
        ("keep_out: {", "line 2: this is not YAML"),
        ("keep_out: !!python/object:os.system [ls]", "line 1"),
        ("[" * 100, "line 1"),
        (more_corners(300), "points: it should have at most 256 items"),
        (more_corners(20_000), "values"),
        (more_corners(1_000_000), "is too long: 1 MiB are the most"),
        (
            GOOD.replace("[0", "[960").replace("[9,", "[970,"),
            "item 1 is outside of the eye, which has 960x960 pixels",
        ),
        (GOOD.replace("9", "-9").replace("[0", "[-1"), "item 1 is outside of the eye"),
        ("\0", "is not YAML: control characters"),
    ],
)
def test_a_wrong_file_costs_its_video_one_line(videos: Path, text: str, words: str) -> None:
    (videos / "a_LR_180.keep_out.yaml").write_text(text)
    found = plan(videos)
    assert [job.name for job in found.jobs] == ["b.mkv"]
    (aside,) = found.set_aside
    assert aside.error.message.startswith(str(videos / "a_LR_180.keep_out.yaml"))
    assert words in aside.error.message
    assert "\n" not in str(aside.error)
    assert len(str(aside.error)) < 600


def test_a_link_to_nothing_is_told(videos: Path) -> None:
    (videos / "b.keep_out.yml").symlink_to("none")
    (aside,) = plan(videos).set_aside
    assert "b.keep_out.yml cannot be read: No such file" in aside.error.message


def test_regions_of_the_settings_must_fit_the_video_too(videos: Path) -> None:
    far = replace(CORNER, points=((5000, 0), (5001, 0), (5000, 9)))
    asides = plan(videos, CORNER, far).set_aside
    assert len(asides) == 2
    assert "matting.keep_out, item 2 is outside of the eye" in asides[0].error.message


def test_one_eye_has_no_right_one(videos: Path) -> None:
    right = replace(CORNER, eye="right")
    assert len(plan(videos, right).jobs) == 2
    for aside in plan(videos, right, layout="mono").set_aside:
        assert "matting.keep_out, item 1: the video has one eye" in aside.error.message
    assert plan(videos, right, layout="mono").jobs == ()
    assert len(plan(videos, CORNER, layout="mono").jobs) == 2


def picture_for(videos: Path, size: tuple[int, int], colour: str) -> Path:
    path = videos.parent / "picture.png"
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.mark.parametrize(
    ("size", "colour", "why"),
    [
        ((960, 960), "white", ""),
        ((1920, 960), "white", ""),
        ((960, 1920), "white", ""),
        ((640, 480), "white", "is 640x480, an eye of the video 960x960"),
        ((960, 960), "red", "has colours"),
    ],
)
def test_a_picture_that_is_not_of_a_video_sets_it_aside_when_planned(
    size: tuple[int, int], colour: str, why: str, videos: Path
) -> None:
    edges = EdgeSettings(keep_out_image=str(picture_for(videos, size, colour)))
    found = plan(videos, edges=edges)
    assert len(found.jobs) == (0 if why else 2)
    for aside in found.set_aside:
        assert why in aside.error.message
        assert "\n" not in str(aside.error)


@pytest.mark.parametrize(
    ("size", "why"),
    [
        ((1920, 960), ""),
        ((960, 1920), ""),
        ((960, 960), "is 960x960, the video 1920x960 or 960x1920"),
    ],
)
def test_the_empty_scene_must_be_of_the_video_when_planned(
    size: tuple[int, int], why: str, videos: Path
) -> None:
    picture = str(picture_for(videos, size, "grey"))
    plate, seeded = PlateOptions(image=picture), Sam2Options(seed="plate")
    for model, options in (("plate", (plate,)), ("sam2", (seeded, plate))):
        found = plan(videos, matting=MattingSettings(model=model, options=options))
        assert len(found.jobs) == (0 if why else 2)
        assert all(why in aside.error.message for aside in found.set_aside)
