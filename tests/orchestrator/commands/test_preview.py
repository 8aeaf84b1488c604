"""`vrmatte preview`: which frames, and what is on the sheet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np
import pytest
import torch
from PIL import Image

from orchestrator.demo.demo import make_demo
from orchestrator.plan.discover import discover
from orchestrator.preview import PreviewRequest, chosen_frames, path_below, preview
from orchestrator.settings.settings import load_settings, video_settings
from pipeline.contact_sheet import Mark, Row, contact_sheet, over_checkerboard
from pipeline.contract import SegmentJob
from pipeline.errors import SettingsError
from pipeline.preview import Shown, preview_frames
from pipeline.prompts.prompts import Point, Prompt, Prompts
from pipeline.source.probe import probe_video
from tests.clips import GREEN, X264, ClipSpec
from tests.orchestrator.snapshots import video_info

INFO = replace(video_info(Path(__file__)), num_frames=30000)  # 1001 s


def test_frames_are_those_asked_for_or_those_with_prompts_or_some_of_all_parts() -> None:
    prompts = Prompts(("a",), tuple(Prompt(1, 0, f, (Point(0, 0),)) for f in (9, 5, 9, 700)))
    assert chosen_frames(INFO, (), None) == (2999, 14999, 26999)
    assert chosen_frames(INFO, (), prompts) == (5, 9, 700)
    assert chosen_frames(INFO, ("0:16.5", "0", "1.001", "0:00:01.001"), prompts) == (0, 30, 494)
    assert chosen_frames(replace(INFO, num_frames=1), (), None) == (0,)
    assert chosen_frames(INFO.every_nth(3), ("0", "1.001", "1.2"), None) == (0, 10, 11)


@pytest.mark.parametrize("text", ["-1", "1:60:00", "x", "", "1:2:3:4", "1e3", "nan"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is no time"):
        chosen_frames(INFO, (text,), None)


def test_a_time_after_the_end_is_refused() -> None:
    with pytest.raises(SettingsError, match="16:42 is after the end of test_preview"):
        chosen_frames(INFO, ("16:42",), None)


def test_what_is_transparent_shows_the_checkerboard_and_what_is_opaque_does_not() -> None:
    foreground = np.full((24, 24, 3), 77, np.uint8)
    alpha = np.zeros((24, 24), np.uint8)
    alpha[:, :6] = 255
    shown = over_checkerboard(foreground, alpha)
    assert (shown[:, :6] == 77).all()
    assert set(np.unique(shown[:, 6:])) == {140, 200}


def test_prompts_are_drawn_where_their_eye_is_and_on_the_source_alone() -> None:
    grey = torch.full((3, 100, 200), 128, dtype=torch.uint8)
    shown = Shown(0, grey, grey, torch.zeros(100, 200, dtype=torch.uint8))
    marks = [Mark(Prompt(1, 1, 0, (Point(50, 50),), box=(10, 10, 90, 90)), 100, 0, 100, 100)]
    plain = np.asarray(contact_sheet([Row("", shown)], 200)).astype(int)
    marked = np.asarray(contact_sheet([Row("", shown, marks)], 200)).astype(int)
    rows, columns = np.nonzero(np.abs(plain - marked).sum(axis=2))
    top, left = 22 + 6, 6
    assert (rows.min() - top, columns.min() - left) == (9, 109)  # OpenCV draws the box 3 wide
    assert (rows.max() - top, columns.max() - left) == (91, 191)
    assert np.abs(plain - marked).sum(axis=2)[top + 50, left + 150] > 0


def test_a_mask_of_another_size_is_drawn_where_it_is_meant(tmp_path: Path) -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[4:16, 6:12] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    grey = torch.full((3, 100, 200), 128, dtype=torch.uint8)
    shown = Shown(0, grey, grey, torch.zeros(100, 200, dtype=torch.uint8))
    marks = [Mark(Prompt(1, 1, 0, mask=tmp_path / "mask.png"), 100, 0, 100, 100)]
    plain = np.asarray(contact_sheet([Row("", shown)], 200)).astype(int)
    marked = np.asarray(contact_sheet([Row("", shown, marks)], 200)).astype(int)
    rows, columns = np.nonzero(np.abs(plain - marked).sum(axis=2))
    # The outline is 2 wide, and on its outermost pixels.
    for found, expected in (
        (rows - (22 + 6), (20, 79)),
        (columns - (6 + 100), (30, 59)),
    ):
        assert abs(found.min() - expected[0]) <= 1
        assert abs(found.max() - expected[1]) <= 1


def test_a_sheet_of_a_real_clip(tmp_path: Path, clip: Callable[[ClipSpec], Path]) -> None:
    path = clip(ClipSpec("tiny_LR_180.mp4", X264))
    settings = load_settings(None, {"matting": {"model": "chroma"}})
    sheet = tmp_path / "sheet.png"
    made = preview(
        PreviewRequest(path, settings, sheet, at=("0", "0.1"), width=192), lambda matting: None
    )
    assert made.frames == (0, 3)
    with Image.open(sheet) as picture:
        assert picture.size == (3 * 192 + 4 * 6, 2 * (22 + 48 + 6) + 6)
        row = np.asarray(picture)[28 : 28 + 48]
    green, matte, result = row[:, 6:198], row[:, 204:396], row[:, 402:594]
    assert np.abs(green[-1, 0].astype(int) - GREEN).max() < 10
    assert matte[-1, 0].max() == 0
    assert set(result[-1, 0]) <= {140, 200}
    assert matte.max() == 255  # the marks on the green
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_frames_that_are_worked_on_at_once_are_the_same(tmp_path: Path) -> None:
    path = make_demo(tmp_path, seconds=0.5, eye_size=256)[0]
    index = tmp_path / "index.json"
    info = probe_video(path, index)
    settings = video_settings(load_settings(None, {"matting": {"model": "depth"}}))
    job = SegmentJob(info, settings, 0, 0, info.num_frames, str(index), str(tmp_path))
    one, three = (
        list(preview_frames(job, (1, 4, 7), torch.device("cpu"), at_once)) for at_once in (1, 3)
    )
    assert [shown.number for shown in three] == [1, 4, 7]
    # Of every third frame from frame 1 on, these are the first three.
    thirds = info.every_nth(3, 1)
    third = replace(job, video=thirds, settings=replace(settings, every=3), stop=thirds.num_frames)
    third_frames = list(preview_frames(third, (0, 1, 2), torch.device("cpu")))
    for some, every in zip(one, third_frames, strict=True):
        assert torch.equal(some.source, every.source)
    for alone, beside in zip(one, three, strict=True):
        assert torch.equal(alone.source, beside.source)
        assert torch.equal(alone.alpha, beside.alpha)
        assert torch.equal(alone.foreground, beside.foreground)


def test_overrides_see_a_video_as_a_run_on_the_folder_does(tmp_path: Path) -> None:
    video = tmp_path / "in/talks/one.mp4"
    video.parent.mkdir(parents=True)
    video.touch()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert path_below(None, video) == PurePath("one.mp4")
    for folder in (tmp_path / "in", tmp_path / "link"):
        [source] = discover([folder], tmp_path / "out")
        for given in (video, tmp_path / "link/talks/one.mp4"):
            assert path_below(folder, given) == source.relative
    for wrong in (tmp_path / "out", video):
        with pytest.raises(SettingsError, match="does not lie below"):
            path_below(wrong, video)


def test_a_sheet_that_cannot_be_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    settings = load_settings(None, {})
    (tmp_path / "sheets.png").mkdir()
    for name, told in (
        ("none/a.png", "there is no folder"),
        ("a.gif", "is no name of a picture"),
        ("sheets.png", "is a folder"),
    ):
        with pytest.raises(SettingsError, match=told):
            preview(
                PreviewRequest(tmp_path / "no.mp4", settings, tmp_path / name), lambda matting: None
            )
