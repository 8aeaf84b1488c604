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
from orchestrator.preview.frames import chosen_frames, path_below
from orchestrator.preview.preview import preview
from orchestrator.preview.request import PreviewRequest
from orchestrator.settings.settings import load_settings, video_settings
from pipeline.contact_sheet.ruler import ABOVE, BESIDE
from pipeline.contact_sheet.sheet import GAP, LINE
from pipeline.contract import SegmentJob
from pipeline.errors import SettingsError
from pipeline.preview import preview_frames
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


def test_a_sheet_of_a_real_clip(tmp_path: Path, clip: Callable[[ClipSpec], Path]) -> None:
    path = clip(ClipSpec("tiny_LR_180.mp4", X264))
    settings = load_settings(None, {"matting": {"model": "chroma"}})
    sheet = tmp_path / "sheet.png"
    made = preview(
        PreviewRequest(path, settings, sheet, at=("0", "0.1"), width=192), lambda matting: None
    )
    assert made.frames == (0, 3)
    top, left = GAP + LINE + ABOVE, BESIDE + GAP
    rows = 2 * (LINE + ABOVE + 48 + GAP) + LINE + 96 + GAP
    with Image.open(sheet) as picture:
        assert picture.size == (BESIDE + 3 * 192 + 4 * GAP, GAP + rows)
        whole = np.asarray(picture)
    row = whole[top : top + 48]
    tiles = [row[:, left + k * (192 + GAP) :][:, :192] for k in range(3)]
    green, matte, result = tiles
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
