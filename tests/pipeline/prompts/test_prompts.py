"""Files of prompts: what they may say, and what is told where they are wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.contract import StoredView
from pipeline.errors import InputError, SettingsError
from pipeline.prompts.deeplabcut import as_prompts, read_tracks
from pipeline.prompts.prompts import Point, Prompt, Prompts, find_prompts, read_prompts
from tests.orchestrator.snapshots import video_info

VIDEO = video_info(Path(__file__))  # 240 frames of 1920x960 at 29.97, two eyes side by side

WHOLE = """
objects:
  - name: dancer
    prompts:
      - {frame: 0, points: [[100, 200], [110.5, 220]], outside: [[5, 5]]}
      - {time: 2.0, eye: right, box: [10, 20, 300, 400]}
  - name: hoop
    prompts:
      - {frame: 0, box: [1, 2, 3, 4], points: [[2, 3]]}
      - {frame: 9, mask: masks/hoop.png}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/hoop.png").write_bytes(b"png")
    path = tmp_path / "talk.prompts.yaml"
    path.write_text(WHOLE)
    return path


def test_a_file_says_points_boxes_and_masks_by_object_eye_and_frame_or_time(file: Path) -> None:
    found = read_prompts(file, VIDEO)
    inside = (Point(100, 200), Point(110.5, 220), Point(5, 5, inside=False))
    assert found == Prompts(
        ("dancer", "hoop"),
        (
            Prompt(1, 0, 0, inside),
            Prompt(1, 1, 60, box=(10, 20, 300, 400)),
            Prompt(2, 0, 0, (Point(2, 3),), (1, 2, 3, 4)),
            Prompt(2, 0, 9, mask=file.parent / "masks/hoop.png"),
        ),
    )


def test_json_says_the_same(file: Path) -> None:
    import yaml

    other = file.with_suffix(".json")
    other.write_text(json.dumps(yaml.safe_load(WHOLE)))
    assert read_prompts(other, VIDEO) == read_prompts(file, VIDEO)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("{frame: 240, box: [1, 2, 3, 4]}", "object 'a', prompt 2: there is no frame 240"),
        ("{time: 8.1, box: [1, 2, 3, 4]}", "there is no 8.1 s; the video has 240 frames, 8.0 s"),
        ("{frame: 0, points: [[961, 5]]}", "[961, 5] is outside of the eye, which has 960x960"),
        (
            "{frame: 0, box: [5, 2, 3, 4]}",
            "object 1, prompt 2: a box is [left, top, right, bottom]",
        ),
        ("{frame: 0, box: [1, 2, 3]}", "object 1, prompt 2, box: "),
        ("{frame: 0}", "say points, box or mask"),
        ("{box: [1, 2, 3, 4]}", "say either frame or time"),
        ("{frame: 0, time: 1.0, box: [1, 2, 3, 4]}", "say either frame or time"),
        ("{frame: 0, eye: middle, box: [1, 2, 3, 4]}", "object 1, prompt 2, eye: it should be"),
        ("{frame: 0, mask: none.png}", "there is no mask"),
        ("{frame: 0, mask: a.png, box: [1, 2, 3, 4]}", "leave out points and box"),
        ("{frame: 0, boxes: [1, 2, 3, 4]}", "object 1, prompt 2, boxes: "),
        ("{frame: -1, box: [1, 2, 3, 4]}", "greater than or equal to 0"),
        ("{frame: .inf, box: [1, 2, 3, 4]}", "object 1, prompt 2, frame: "),
    ],
)
def test_what_cannot_be_is_told_with_its_place(tmp_path: Path, wrong: str, told: str) -> None:
    path = tmp_path / "a.prompts.yaml"
    path.write_text(
        f"objects:\n- name: a\n  prompts:\n  - {{frame: 1, box: [1, 2, 3, 4]}}\n  - {wrong}\n"
    )
    with pytest.raises(SettingsError) as error:
        read_prompts(path, VIDEO)
    assert told in error.value.message
    assert str(path) in error.value.message
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "objects: []", "objects: [{name: a}]", "{", "a: &b [*b]", "objects: 3", "\x00"],
)
def test_rubbish_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.prompts.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        read_prompts(path, VIDEO)
    assert str(error.value).count("\n") == 0


def test_an_eye_that_is_not_there_and_a_doubled_name_are_refused(file: Path) -> None:
    with pytest.raises(SettingsError, match="object 'dancer', prompt 2: the video has one eye"):
        read_prompts(file, replace(VIDEO, layout="mono"))
    file.write_text(WHOLE.replace("hoop\n", "dancer\n"))
    with pytest.raises(SettingsError, match="two objects are called 'dancer'"):
        read_prompts(file, VIDEO)


def test_prompts_are_found_beside_the_video_or_where_it_is_said(file: Path) -> None:
    video = file.parent / "talk.mp4"
    assert find_prompts(None, video) == file
    assert find_prompts(None, file.parent / "other.mp4") is None
    assert find_prompts(file, file.parent / "other.mp4") == file
    assert find_prompts(file.parent, Path("/elsewhere/talk.mkv")) == file


SINGLE = """scorer,DLC_resnet50,DLC_resnet50,DLC_resnet50,DLC_resnet50,DLC_resnet50,DLC_resnet50
bodyparts,nose,nose,nose,hip,hip,hip
coords,x,y,likelihood,x,y,likelihood
0,10.5,20.25,0.99,30,40,0.2
1,11,21,0.98,,,
2,12,22,0.4,32,42,0.9
"""

SEVERAL = """scorer,s,s,s,s,s,s,s,s,s
individuals,anna,anna,anna,bo,bo,bo,single,single,single
bodyparts,nose,nose,nose,nose,nose,nose,corner,corner,corner
coords,x,y,likelihood,x,y,likelihood,x,y,likelihood
0,10,20,0.9,970,30,0.9,1,1,1
1,11,21,0.9,,,,1,1,1
"""

CROWD = "\n".join(
    ",".join([name, *cells])
    for name, cells in {
        "scorer": ["s"] * 130,
        "individuals": [f"mouse{number // 2}" for number in range(130)],
        "bodyparts": ["nose"] * 130,
        "coords": ["x", "y"] * 65,
        "0": ["1"] * 130,
    }.items()
)

LABELLED = """scorer,me,me
bodyparts,nose,nose
coords,x,y
labeled-data/talk/img000.png,10,20
labeled-data/talk/img001.png,,
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "talkDLC_resnet50.csv"


def test_a_table_of_one_animal(table: Path) -> None:
    table.write_text(SINGLE)
    (track,) = read_tracks(table, [], 0.6, 3)
    assert track.points == (((10.5, 20.25),), ((11, 21),), ((32, 42),))
    (nose,) = read_tracks(table, ["nose"], 0.0, 3)
    assert nose.points == (((10.5, 20.25),), ((11, 21),), ((12, 22),))


def test_a_table_of_several_animals_leaves_out_what_belongs_to_none(table: Path) -> None:
    table.write_text(SEVERAL)
    anna, bo = read_tracks(table, [], 0.6, 2)
    assert (anna.name, bo.name) == ("anna", "bo")
    assert anna.points == (((10, 20),), ((11, 21),))
    assert bo.points == (((970, 30),), ())
    (corner,) = read_tracks(table, ["corner"], 0.6, 2)
    assert corner.name == "single"


def test_a_table_that_a_person_labelled_has_no_likelihood(table: Path) -> None:
    table.write_text(LABELLED)
    (track,) = read_tracks(table, [], 0.9, 2)
    assert track.points == (((10, 20),), ())
    three_cells = "".join(
        line.replace(",", ",,,", 1) if line[0] in "sbc" else line.replace("/", ",")
        for line in LABELLED.splitlines(keepends=True)
    )
    table.write_text(three_cells)
    assert read_tracks(table, ["nose"], 0.9, 2) == (track,)


@pytest.mark.parametrize(
    ("text", "parts", "least", "rows", "told"),
    [
        (SINGLE, ["tail"], 0.6, 3, "has no body part 'tail' (it has: nose, hip)"),
        (SINGLE, [], 0.995, 3, "no point has a likelihood of 0.995 or more"),
        (SINGLE, [], 0.6, 4, "has 3 rows, and the video 4 frames"),
        (CROWD, [], 0.6, 1, "follows 65 animals; 64 are the most"),
        (SINGLE.replace(",0.2\n", "\n"), [], 0.6, 3, "row of frame 0 is cut off"),
        (SINGLE.replace("0.99", "high"), [], 0.6, 3, "row of frame 0 is cut off or holds no"),
        (SINGLE.replace("hip,hip,hip", "hip"), [], 0.6, 3, "header rows differ in length"),
        ("frame,x,y\n0,1,2\n", [], 0.6, 1, "does not begin with DeepLabCut's header rows"),
        ("", [], 0.6, 1, "does not begin with DeepLabCut's header rows"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    table: Path, text: str, parts: list[str], least: float, rows: int, told: str
) -> None:
    table.write_text(text)
    with pytest.raises(SettingsError) as error:
        read_tracks(table, parts, least, rows)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_table_of_a_picture_that_is_resampled_is_refused(table: Path) -> None:
    table.write_text(SEVERAL)
    tracks = read_tracks(table, [], 0.6, 2)
    video = replace(VIDEO, stored=StoredView(640, 960, "tb", False, 2, mesh_sha256="00"))
    with pytest.raises(InputError, match="are of the picture in the file, which is resampled"):
        as_prompts(tracks, video, [0])


def test_points_of_the_whole_picture_are_those_of_the_eye_that_they_lie_in(table: Path) -> None:
    table.write_text(SEVERAL)
    tracks = read_tracks(table, [], 0.6, 2)
    found = as_prompts(tracks, replace(VIDEO, num_frames=3), [0, 0, 1])  # the first frame twice
    anna = [
        Prompt(1, 0, frame, (Point(x, y),))
        for frame, x, y in ((0, 10, 20), (1, 10, 20), (2, 11, 21))
    ]
    bo = [Prompt(2, 1, frame, (Point(10, 30),)) for frame in (0, 1)]
    assert found == Prompts(("anna", "bo"), (*anna, *bo))
    exchanged = as_prompts(tracks, replace(VIDEO, right_first=True), [0])
    assert [p.eye for p in exchanged.prompts] == [1, 0]
    stacked = as_prompts(tracks, replace(VIDEO, layout="tb"), [0])
    assert [(p.eye, p.points[0]) for p in stacked.prompts] == [
        (0, Point(10, 20)),
        (0, Point(970, 30)),
    ]
