"""An OUT keeps what it holds, and shows it, whatever a later run in it is asked for."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.out.folder import OutFolder
from orchestrator.report.rebuild import found_in
from orchestrator.watch.status import show_status
from tests.clips import X264, ClipSpec, read_frames, read_numbers
from tests.runs import HereRun, outputs
from tests.shared_runs import VideosOf

pytestmark = pytest.mark.slow

ONE = ClipSpec("one_LR_180.mp4", X264, num_frames=18)
TWO = replace(ONE, name="two_LR_180.mp4")
FILE = "one_LR_180_matte.webm"

Run = Callable[..., HereRun]


@pytest.fixture
def videos(videos_of: VideosOf, tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    shutil.copytree(videos_of((ONE, TWO)), folder)
    return folder


@pytest.fixture
def run(videos: Path, tmp_path: Path) -> Run:
    def make(what: Path = videos, *, fresh: bool = False, **groups: Any) -> HereRun:
        settings = {
            "matting": {"model": "chroma"},
            "stereo": {"mode": "independent"},
            "streaming": {"segment_frames": 6, "lanes": 1},
            **groups,
        }
        return HereRun(what, tmp_path / "out", settings, threads=True, fresh=fresh)

    return make


def finished(run: Run, expected: int = 0, **given: Any) -> str:
    """What a run says."""
    job = run(**given)
    assert job.run() == expected, job.said.getvalue()
    return job.said.getvalue()


def report_of(out: Path) -> dict[str, dict[str, Any]]:
    videos = json.loads((out / "report.json").read_text())["videos"]
    return {video["name"]: video for video in videos}


def status_of(out: Path) -> str:
    said = io.StringIO()
    show_status(out, Console(file=said, width=100))
    return said.getvalue()


def test_a_finished_file_is_not_replaced_by_a_shorter_one(
    run: Run, videos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    finished(run)
    before = outputs(out)
    for given, part in (
        ({"max_frames": 4}, "4: frames 0 to 3 "),
        ({"every": 3}, "6: one frame of every 3 "),
        ({"start_frame": 9}, "9: from frame 9 "),
    ):
        said = finished(run, 1, what=videos / ONE.name, input=given)
        assert f"{FILE} is finished and has 18 frames; it is not replaced by {part}" in said
        assert "choose another output folder" in said
        assert outputs(out) == before
    # Not with other settings either, but as long a one is.
    finished(run, 1, what=videos / ONE.name, input={"max_frames": 4}, stereo={"mode": "fuse"})
    assert outputs(out) == before
    finished(run, what=videos / ONE.name, encoding={"vp9_crf": 40})
    assert outputs(out)[FILE] != before[FILE]
    finished(run, what=videos / ONE.name, fresh=True, input={"max_frames": 4})
    left, _ = read_numbers(read_frames(out / FILE))
    assert left == [0, 1, 2, 3]
    finished(run, what=videos / ONE.name)  # a longer one replaces it
    assert len(read_numbers(read_frames(out / FILE))[0]) == 18


def test_a_source_that_was_cut_is_another_source(run: Run, videos: Path, tmp_path: Path) -> None:
    from tests.clips import make_clip

    finished(run)
    (videos / ONE.name).unlink()
    make_clip(videos, replace(ONE, num_frames=5))
    finished(run)
    assert len(read_numbers(read_frames(tmp_path / "out" / FILE))[0]) == 5


def test_a_part_is_not_replaced_by_another_part(run: Run, videos: Path, tmp_path: Path) -> None:
    finished(run, what=videos / ONE.name, input={"max_frames": 9})
    before = outputs(tmp_path / "out")
    said = finished(run, 1, what=videos / ONE.name, input={"start_frame": 9})
    assert f"{FILE} is finished and has 9 frames; it is not replaced by 9: from frame 9" in said
    assert outputs(tmp_path / "out") == before
    finished(run, what=videos / ONE.name, fresh=True, input={"every": 2})
    finished(run, 1, what=videos / ONE.name, input={"max_frames": 12})  # more frames, less time


def test_what_was_changed_since_is_not_replaced_either(
    run: Run, videos: Path, tmp_path: Path
) -> None:
    finished(run)
    os.utime(videos / ONE.name, (1, 1))  # the same content
    with (tmp_path / "out" / FILE).open("ab") as file:
        file.write(b"a person's own")
    before = outputs(tmp_path / "out")
    finished(run, 1, what=videos / ONE.name, input={"max_frames": 4})
    assert outputs(tmp_path / "out") == before


def test_a_file_of_another_source_is_kept_while_that_is_there(
    run: Run, videos: Path, videos_of: VideosOf, tmp_path: Path
) -> None:
    finished(run, what=videos / ONE.name)
    before = outputs(tmp_path / "out")
    elsewhere = videos_of((replace(ONE, num_frames=20),))
    said = finished(run, 1, what=elsewhere)
    assert f"{FILE} is the finished file of {videos / ONE.name}" in said
    assert outputs(tmp_path / "out") == before
    (videos / ONE.name).unlink()
    finished(run, what=elsewhere)
    assert outputs(tmp_path / "out") != before


def test_a_run_of_one_video_lets_the_others_be_seen(
    run: Run, videos: Path, videos_of: VideosOf, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    finished(run)
    three = videos_of((replace(ONE, name="three_LR_180.mp4"),))
    said = finished(run, what=three)
    assert "2 other videos of earlier runs: vrmatte status" in said
    assert "one_LR_180" not in said
    status = status_of(out)
    assert "3 of 3 videos done" in status
    told = report_of(out)
    assert {name: (v["result"], v["of_this_run"]) for name, v in told.items()} == {
        "three_LR_180.mp4": ("done", True),
        "one_LR_180.mp4": ("done earlier", False),
        "two_LR_180.mp4": ("done earlier", False),
    }
    assert told["one_LR_180.mp4"]["outputs"][0]["path"] == FILE
    # And without a report: of what is recorded.
    (out / "report.json").unlink()
    again = found_in(OutFolder(out), datetime.now().astimezone()).state.report
    assert {v.name: v.result for v in again.videos} == {
        "three_LR_180.mp4": "done",
        "one_LR_180.mp4": "done earlier",
        "two_LR_180.mp4": "done earlier",
    }
    # Planned again, each is there once; a file that was refused is there as what it was.
    finished(run, 1, what=videos / ONE.name, input={"max_frames": 4})
    assert (
        status_of(out).count("one_LR_180.mp4") == 2
    )  # its row, and why the short one was not made
    finished(run)
    assert [v["of_this_run"] for v in report_of(out).values()].count(True) == 2
    assert len(report_of(out)) == 3


def test_what_was_begun_and_not_asked_for_again_is_shown_as_begun(
    run: Run, videos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    finished(run, what=videos / TWO.name)
    lines = (out / ".vrmatte/journal.jsonl").read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b"video-done" not in line]
    (out / ".vrmatte/journal.jsonl").write_bytes(b"".join(kept))
    (out / "two_LR_180_matte.webm").unlink()
    finished(run, what=videos / ONE.name)
    assert "begun" in status_of(out)
    assert report_of(out)["two_LR_180.mp4"]["result"] == "not finished"


def test_formats_that_cannot_be_made_cost_no_other(run: Run, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mono = {"layout": "mono"}
    formats = {"formats": ["alphapack", "webm"]}
    said = finished(run, 1, what=videos / ONE.name, input=mono, output=formats)
    assert "alphapack is not made: an alpha-packed fisheye cannot be made of" in said
    [video] = report_of(out).values()
    assert (video["result"], video["left_out"]) == ("done", ["alphapack"])
    assert [output["deliverable"] for output in video["outputs"]] == ["webm"]
    assert len(list(out.glob("*.webm"))) == 1
    said = finished(run, 1, what=videos / ONE.name, input=mono, output=formats)
    assert report_of(out)[ONE.name]["result"] == "done earlier"
    said = finished(run, 1, what=videos / TWO.name, input=mono, output={"formats": ["alphapack"]})
    assert "set aside: an alpha-packed fisheye cannot be made of" in said
