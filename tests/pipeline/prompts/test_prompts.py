"""Files of prompts: what they may say, and what is told where they are wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.contract import StoredView
from pipeline.errors import InputError, SettingsError
from pipeline.prompts.deeplabcut import as_prompts, read_tracks
from pipeline.prompts.prompts import Point, Prompt, Prompts, find_prompts, read_prompts
from pipeline.prompts.store import pack
from pipeline.text import printable
from tests.orchestrator.snapshots import video_info
from tests.texts import mutated

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
        ("{frame: 0, boxes: [1, 2, 3, 4]}", "object 1, prompt 2: no key 'boxes'"),
        ("{frame: -1, box: [1, 2, 3, 4]}", "greater than or equal to 0"),
        ("{frame: .inf, box: [1, 2, 3, 4]}", "object 1, prompt 2, frame: "),
        ("{time: 1.0e+308, box: [1, 2, 3, 4]}", "there is no 1e+308 s; the video has 240 frames"),
        ("{time: .nan, box: [1, 2, 3, 4]}", "object 1, prompt 2, time: "),
        ("{frame: 0x" + "f" * 5000 + ", box: [1, 2, 3, 4]}", "line 5: this holds a number of 5002"),
        ("{frame: 1" + ":1" * 500 + ", box: [1, 2, 3, 4]}", "line 5: this holds a number of"),
        ("{frame: 1" + "0" * 38 + ", box: [1, 2, 3, 4]}", "there is no frame 1000"),
        ("{frame: 0, points: [[1" + "0" * 38 + ", 5]]}", "outside of the eye"),
        ("{frame: !!int '', box: [1, 2, 3, 4]}", "line 5: this is no value of YAML"),
        ("{frame: !!bool 'abc', box: [1, 2, 3, 4]}", "line 5: this is no value of YAML"),
        ("{frame: !!python/name:os.x , box: [1, 2, 3, 4]}", "line 5: this is not YAML that"),
        ("{frame: 0, frame: 1, box: [1, 2, 3, 4]}", "line 5: this names 'frame' twice"),
        ("{frame: 0, mask: '" + "x" * 5000 + "'}", "there is no mask"),
        ('{frame: 0, mask: "\\0"}', "there is no mask"),
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
    ("text", "told"),
    [
        ("objects:\n- nmae: a\n", "object 1: no key 'nmae' (did you mean 'name'?)"),
        ("object:\n- name: a\n", "no key 'object' (did you mean 'objects'?)"),
        (
            "objects:\n- name: a\n  prompts: [{frme: 1, box: [1, 2, 3, 4]}]\n",
            "object 1, prompt 1: no key 'frme' (did you mean 'frame'?)",
        ),
        ("objects: [{name: a, colour: red}]", "object 1: no key 'colour' (known: name, prompts)"),
    ],
)
def test_a_misspelt_key_is_named_and_not_the_one_that_is_missing(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "a.prompts.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        read_prompts(path, VIDEO)
    assert str(error.value) == f"{path}: {told}"


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "objects: []", "objects: [{name: a}]", "{", "a: &b [*b]", "objects: 3", "\x00"),
        *("[" * 20_000, '{"a":' * 20_000, "- " * 2000, "? " * 2000, "a: 1\n---\na: 1", "\ufeff"),
        *('{"objects": NaN}', '{"objects": 1e999}', '{"objects": ' + "9" * 5000 + "}"),
    ],
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
labeled-data/talk/img017.png,10,20
labeled-data/talk/img118.png,,
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "talkDLC_resnet50.csv"


def test_a_table_of_one_animal(table: Path) -> None:
    table.write_text(SINGLE)
    (track,) = read_tracks(table, [], 0.6, 3).tracks
    assert track.points == {0: ((10.5, 20.25),), 1: ((11, 21),), 2: ((32, 42),)}
    (nose,) = read_tracks(table, ["nose"], 0.0, 3).tracks
    assert nose.points == {0: ((10.5, 20.25),), 1: ((11, 21),), 2: ((12, 22),)}


def test_a_table_that_lacks_a_row_or_two_says_which_frames_it_has(table: Path) -> None:
    table.write_text(SINGLE)
    short = read_tracks(table, [], 0.6, 5)
    assert set(short.tracks[0].points) == {0, 1, 2}
    assert short.notes == (f"{table.name}: frames without a row, and so without points: 2",)
    table.write_text(SINGLE.replace("1,11,21,0.98,,,\n", ""))
    assert set(read_tracks(table, [], 0.6, 3).tracks[0].points) == {0, 2}
    assert as_prompts(short, replace(VIDEO, num_frames=5), range(5)).notes == short.notes


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(("ends", "point"), [(",", "."), (";", "."), (";", ","), ("\t", ",")])
def test_a_table_may_be_saved_by_a_spreadsheet(
    table: Path, mark: str, ends: str, point: str
) -> None:
    text = SINGLE.replace(",", "|").replace(".", point).replace("|", ends)
    table.write_text(mark + text, encoding="utf-8", newline="\r\n")
    (track,) = read_tracks(table, [], 0.6, 3).tracks
    assert track.points == {0: ((10.5, 20.25),), 1: ((11, 21),), 2: ((32, 42),)}


def test_a_table_of_several_animals_leaves_out_what_belongs_to_none(table: Path) -> None:
    table.write_text(SEVERAL)
    anna, bo = read_tracks(table, [], 0.6, 2).tracks
    assert (anna.name, bo.name) == ("anna", "bo")
    assert anna.points == {0: ((10, 20),), 1: ((11, 21),)}
    assert bo.points == {0: ((970, 30),)}
    (corner,) = read_tracks(table, ["corner"], 0.6, 2).tracks
    assert corner.name == "single"


def test_a_table_that_a_person_labelled_has_no_likelihood(table: Path) -> None:
    table.write_text(LABELLED)
    (track,) = read_tracks(table, [], 0.9, 200).tracks
    assert track.points == {17: ((10, 20),)}
    three_cells = "".join(
        line.replace(",", ",,,", 1) if line[0] in "sbc" else line.replace("/", ",")
        for line in LABELLED.splitlines(keepends=True)
    )
    table.write_text(three_cells)
    found = read_tracks(table, ["nose"], 0.9, 200)
    assert (found.tracks, found.notes) == ((track,), ())


@pytest.mark.parametrize(
    ("text", "parts", "least", "rows", "told"),
    [
        (SINGLE, ["tail"], 0.6, 3, "has no body part 'tail' (it has: nose, hip)"),
        (SINGLE, [], 0.995, 3, "no point has a likelihood of 0.995 or more"),
        (SINGLE, [], 0.6, 6, "has 3 rows, and the video 6 frames"),
        (SINGLE, [], 0.6, 2, "line 6: this is for frame 2, and the video has 2 frames"),
        (SINGLE.replace("2,12", "9,12"), [], 0.6, 10, "line 6: this is for frame 9, and 7 frames"),
        (SINGLE.replace("2,12", "1,12"), [], 0.6, 3, "line 6: this is for frame 1, after one for"),
        (SINGLE.replace("2,12", "two,12"), [], 0.6, 3, "line 6: this begins with 'two', which is"),
        (SINGLE.replace("10.5", "10,5"), [], 0.6, 3, "line 4: this has 8 cells, and the header 7"),
        (SINGLE.replace("10.5", '"10,5"'), [], 0.6, 3, "line 4: this holds '20.25', and numbers"),
        (SINGLE.replace("0.99", "99"), [], 0.6, 3, "line 4: this has a likelihood of 99"),
        (SINGLE.replace("nose,nose,nose", "hip,hip,hip"), [], 0.6, 3, "names two columns alike"),
        (SINGLE.replace("10.5", '"10.5'), [], 0.6, 3, "this is not a table in CSV"),
        (
            LABELLED.replace("talk/img118", "other/img118"),
            [],
            0.6,
            200,
            "line 5: this is for another video",
        ),
        (CROWD, [], 0.6, 1, "follows 65 animals; 64 are the most"),
        (SINGLE.replace(",0.2\n", "\n"), [], 0.6, 3, "line 4: this has 6 cells, and the header 7"),
        (SINGLE.replace("0.99", "high"), [], 0.6, 3, "line 4: this holds 'high' where a number"),
        (SINGLE.replace("hip,hip,hip", "hip"), [], 0.6, 3, "has header rows that differ in length"),
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


def test_a_link_to_nothing_and_what_is_no_file_are_told(tmp_path: Path) -> None:
    """None of them is read: a pipe never answers, and /dev/zero has no end."""
    path = tmp_path / "talk.prompts.yaml"
    ways: list[tuple[Callable[[], object], str]] = [
        (lambda: path.symlink_to(tmp_path / "none"), "cannot be read: No such file"),
        (lambda: path.symlink_to("/dev/zero"), "is not a regular file"),
        (lambda: os.mkfifo(path), "is not a regular file"),
        (path.mkdir, "is not a regular file"),
    ]
    for make, told in ways:
        make()
        assert find_prompts(None, tmp_path / "talk.mp4") == path
        with pytest.raises(SettingsError, match=told):
            read_prompts(path, VIDEO)
        with pytest.raises(SettingsError, match=told):
            read_tracks(path, [], 0.6, None)
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_file_that_seems_to_have_terabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    os.truncate(path, 2 << 40)
    ways: list[Callable[[], object]] = [
        lambda: read_prompts(path, VIDEO),
        lambda: read_tracks(path, [], 0.6, None),
        lambda: pack(Prompts(("hoop",), (Prompt(1, 0, 0, mask=path),))),
    ]
    for read in ways:
        with pytest.raises(SettingsError, match=r"is too long: \d+ MiB are the most"):
            read()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | mutated(WHOLE.encode()) | mutated(SINGLE.encode()))
def test_whatever_is_in_a_file_it_is_prompts_or_a_reason(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    ways: list[Callable[[], object]] = [
        lambda: read_prompts(path, VIDEO),
        lambda: read_tracks(path, [], 0.6, 3),
    ]
    for read in ways:
        told = ""
        try:
            read()
        except SettingsError as error:
            told = str(error)
        assert printable(told) == told
