"""Prompts on their way from a person's file into the plan: what is pinned, refused or set aside."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from orchestrator.fleet.jobs import Plan, VideoJob
from orchestrator.plan.discover import discover
from orchestrator.plan.places import Places
from orchestrator.plan.planner import Planner, Wanted
from orchestrator.plan.prompts_for import (
    on_frames_taken,
    prompts_for,
    require_follower,
    settled_prompts,
    unused_prompts,
)
from pipeline.contract import MattingSettings, VideoSettings
from pipeline.errors import SettingsError
from pipeline.prompts.prompts import Point, Prompt, Prompts
from pipeline.prompts.store import kept_prompts, unpack
from tests.indexes import plain_index
from tests.orchestrator.snapshots import ProbeDouble, video_info
from tests.pipeline.prompts.test_store import header_of

SAM2 = MattingSettings(model="sam2")
TABLE = "scorer,s,s,s\nbodyparts,nose,nose,nose\ncoords,x,y,likelihood\n"


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a_LR_180.mp4", "b.mkv"):
        (folder / name).write_bytes(name.encode())
    (folder / "a_LR_180.prompts.yaml").write_text(written("points: [[10, 20]]"))
    return folder


def written(said: str) -> str:
    return f"objects:\n- name: dancer\n  prompts:\n  - {{frame: 3, {said}}}\n"


def plan(videos: Path, matting: MattingSettings = SAM2) -> Plan:
    settled = settled_prompts(matting)
    out = videos.parent / "out"
    planner = Planner(
        Places(out),
        wanted=lambda source: Wanted(VideoSettings(matting=settled)),
        probe=ProbeDouble(),
    )
    return planner.plan(discover([videos], out))


def job_of(videos: Path, matting: MattingSettings = SAM2) -> VideoJob:
    return plan(videos, matting).jobs[0]


def test_those_beside_the_video_are_kept_in_its_work_folder(videos: Path) -> None:
    with_prompts, without = plan(videos).jobs
    assert without.settings.prompts_sha256 is None
    sha256 = with_prompts.settings.prompts_sha256
    assert sha256 is not None
    said = unpack(kept_prompts(Path(with_prompts.work_dir), sha256))
    assert [one.points for one in said.at(3, 0)] == [(Point(10, 20),)]
    assert not Path(without.work_dir).exists()


def test_the_fingerprint_follows_what_is_said_and_not_how_it_is_written(videos: Path) -> None:
    prompts = videos / "a_LR_180.prompts.yaml"
    first = job_of(videos).settings.fingerprint()
    prompts.write_text("# said again\n" + prompts.read_text())
    assert job_of(videos).settings.fingerprint() == first
    elsewhere = videos.parent / "elsewhere.yaml"
    elsewhere.write_text(prompts.read_text())
    assert job_of(videos, replace(SAM2, prompts=str(elsewhere))).settings.fingerprint() == first
    prompts.write_text(written("points: [[10, 21]]"))
    second = job_of(videos).settings.fingerprint()
    mask = videos / "mask.png"
    prompts.write_text(written("mask: mask.png"))
    found = {first, second}
    for row in (0, 1):
        picture = np.zeros((2, 2), np.uint8)
        picture[row] = 255
        cv2.imwrite(str(mask), picture)
        found.add(job_of(videos).settings.fingerprint())
    prompts.unlink()
    found.add(job_of(videos).settings.fingerprint())
    assert len(found) == 5


@pytest.mark.parametrize("ending", [".prompts.yaml", ".prompts.yml", ".prompts.json"])
def test_prompts_that_no_model_follows_are_told_with_the_models_that_would(
    tmp_path: Path, ending: str
) -> None:
    video = tmp_path / "talk.mp4"
    video.touch()
    rvm = MattingSettings(model="rvm")
    assert unused_prompts(rvm, video) is None
    (tmp_path / f"talk{ending}").touch()
    told = unused_prompts(rvm, video)
    assert told is not None
    assert told.startswith(f"talk{ending} is not used: the model rvm follows no prompts")
    assert "sam2" in told
    assert unused_prompts(SAM2, video) is None


def test_a_wrong_file_costs_its_video_and_no_other(videos: Path) -> None:
    (videos / "a_LR_180.prompts.yaml").write_text(written("points: [[961, 20]]"))
    found = plan(videos)
    assert [job.name for job in found.jobs] == ["b.mkv"]
    (aside,) = found.set_aside
    assert aside.name == "a_LR_180.mp4"
    assert "object 'dancer', prompt 1: [961, 20] is outside" in aside.error.message
    assert "\n" not in str(aside.error)


@pytest.mark.parametrize(
    "said",
    [
        "box: !!int ''",
        "box: !!bool 'abc'",
        "mask: huge.png",
        "mask: sparse.png",
        "box: " + "[" * 20_000,
        "time: 1.0e+308, box: [1, 2, 3, 4]",
    ],
)
def test_no_file_whatever_it_holds_ends_the_run(videos: Path, said: str) -> None:
    prompts = written(said)
    if said.startswith("time"):
        prompts = prompts.replace("frame: 3, ", "")
    (videos / "a_LR_180.prompts.yaml").write_text(prompts)
    (videos / "huge.png").write_bytes(header_of(60_000, 60_000))
    (videos / "sparse.png").touch()
    os.truncate(videos / "sparse.png", 2 << 40)
    found = plan(videos)
    assert [job.name for job in found.jobs] == ["b.mkv"]
    (aside,) = found.set_aside
    assert (aside.name, aside.error.kind) == ("a_LR_180.mp4", "settings")
    assert str(videos) in aside.error.message


def test_rows_that_a_table_lacks_are_a_note_on_the_video(videos: Path) -> None:
    table = videos.parent / "talkDLC.csv"
    table.write_text(TABLE + "".join(f"{row},{row},7,0.9\n" for row in range(239)))
    job = job_of(videos, replace(SAM2, dlc_csv=str(table)))
    assert job.info.notes[-1] == "talkDLC.csv: frames without a row, and so without points: 1"


def test_what_is_named_for_all_and_wrong_for_all_ends_the_command(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("objects: 3")
    missing = tmp_path / "none"
    for matting, told in (
        (replace(SAM2, prompts=str(bad)), r"bad\.yaml: objects: "),
        (replace(SAM2, prompts=str(missing)), "none cannot be read: No such file"),
        (replace(SAM2, dlc_csv=str(missing)), "none cannot be read: No such file"),
        (replace(SAM2, dlc_csv=str(bad)), "does not begin with DeepLabCut's header rows"),
    ):
        with pytest.raises(SettingsError, match=told):
            settled_prompts(matting)


def test_a_model_that_follows_none_says_so(videos: Path) -> None:
    with pytest.raises(SettingsError, match=r"matting\.prompts: the model rvm follows no prompts"):
        require_follower(MattingSettings(prompts=str(videos)))
    require_follower(MattingSettings())
    assert job_of(videos, MattingSettings()).settings.prompts_sha256 is None


def test_a_table_overrides_a_file_and_is_of_one_video(videos: Path) -> None:
    table = videos.parent / "talkDLC.csv"
    table.write_text(TABLE + "".join(f"{row},{row},7,0.9\n" for row in range(240)))
    matting = replace(SAM2, dlc_csv=str(table), correction_interval=100)
    job = job_of(videos, matting)
    assert job.settings.prompts_sha256 is not None
    said = unpack(kept_prompts(Path(job.work_dir), job.settings.prompts_sha256))
    assert [one.points for one in said.at(17, 0)] == [(Point(17, 7),)]
    assert [frame for frame in range(240) if said.at(frame, 0)[0].corrects] == [0, 100, 200]
    table.write_text(TABLE + "0,1,7,0.9\n")
    assert [aside.error.message for aside in plan(videos, matting).set_aside] == [
        f"{table} has 1 rows, and the video 240 frames"
    ] * 2


def test_a_table_speaks_of_the_frames_of_the_source(videos: Path) -> None:
    info = replace(video_info(videos / "b.mkv", num_frames=4), source_frames=2, variable_rate=True)
    table = videos.parent / "talkDLC.csv"
    table.write_text(TABLE + "0,5,7,0.9\n1,6,7,0.9\n")
    index = videos.parent / "index.json"
    rate = info.frame_rate
    plain_index(1 / rate, np.array([0, 3]), np.array([0]), rate, 4).save(index)
    found = prompts_for(replace(SAM2, dlc_csv=str(table)), videos / "b.mkv", info, index)
    assert found is not None
    assert [prompt.points[0].x for prompt in found.prompts] == [5, 5, 6, 6]


def test_prompts_move_to_the_nearest_of_the_frames_taken(videos: Path) -> None:
    whole = video_info(videos / "b.mkv", num_frames=100)
    said = [(0, True), (3, False), (4, True), (5, False), (6, False), (99, False)]
    prompts = Prompts(
        ("a",), tuple(Prompt(1, 0, n, (Point(n, 0),), corrects=corrects) for n, corrects in said)
    )
    assert on_frames_taken(prompts, whole) == prompts
    # Taken are 1, 5, 9 ... 97.
    taken = on_frames_taken(prompts, whole.every_nth(4, 1))
    assert [(p.frame, p.points[0].x, p.corrects) for p in taken.prompts] == [
        (0, 0, True),
        (1, 5, True),
        (24, 99, False),
    ]
