"""A range in times and every third frame of it, from files to files: numbers are read off them."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from pathlib import Path

import pytest

from orchestrator.out.folder import OutFolder
from orchestrator.report.rebuild import found_in
from tests.clips import X264, ClipSpec, read_frames, read_numbers, read_sounds
from tests.runs import HereRun
from tests.shared_runs import VideosOf

pytestmark = pytest.mark.slow

CLIP = ClipSpec("talk_LR_180.mp4", X264, audio=("aac",))  # 50 frames, 30 a second


def groups(**given: object) -> dict[str, dict[str, object]]:
    streaming: dict[str, object] = {"segment_frames": 5, "lanes": 2}
    return {"matting": {"model": "chroma"}, "streaming": streaming, "input": given}


def test_a_range_in_times_every_third_frame_of_it(videos_of: VideosOf, tmp_path: Path) -> None:
    videos = videos_of((CLIP,))
    # 0.34 s is within frame 10, 1.4 s is where frame 42 begins.
    asked = groups(start="0:00.34", end="1.4", every=3)
    run = HereRun(videos, tmp_path / "out", asked, threads=True, page=True)
    assert run.run() == 0, run.said.getvalue()
    target = tmp_path / "out/talk_LR_180_matte.webm"
    left, right = read_numbers(read_frames(target))
    assert left == right == list(range(11, 42, 3))
    [sound] = read_sounds(target)
    assert abs(sound.begin_s) <= 0.02
    assert abs(sound.end_s - len(left) / 10) <= 1 / 30

    report = json.loads((tmp_path / "out/report.json").read_text())
    [video] = report["videos"]
    assert "only frames 11 to 41 (0:00.37 to 0:01.40), one of every 3" in video["notes"]
    facts = video["facts"]
    assert (video["frames"], facts["frame_rate"]) == (11, 10.0)
    assert (facts["first_frame"], facts["every"], facts["phase"]) == (3, 3, 2)

    # What is left of a run that was killed says the same.
    (tmp_path / "out/report.json").unlink()
    [again] = found_in(OutFolder(tmp_path / "out"), datetime.now().astimezone()).state.report.videos
    assert again.facts is not None
    assert dataclasses.asdict(again.facts) == facts
    assert again.notes[0] == video["notes"][0]

    # The same in frames is the same work.
    in_frames = groups(start_frame=11, max_frames=31, every=3)
    assert HereRun(videos, tmp_path / "out", in_frames, threads=True).run() == 0
    [video] = json.loads((tmp_path / "out/report.json").read_text())["videos"]
    assert video["result"] == "done earlier"

    # All frames of the range are other work, in the same place.
    whole = HereRun(videos, tmp_path / "out", groups(start="0:00.34"), threads=True)
    assert whole.run() == 0
    assert read_numbers(read_frames(target))[0] == list(range(11, 50))
    [sound] = read_sounds(target)
    assert abs(sound.end_s - 39 / 30) <= 1 / 30


def test_a_start_after_the_end_sets_the_video_aside(videos_of: VideosOf, tmp_path: Path) -> None:
    asked = groups(start="1:00")
    run = HereRun(videos_of((CLIP,)), tmp_path / "out", asked, threads=True)
    assert run.run() == 1
    told = "talk_LR_180.mp4 ends at 0:01.67; the range begins at 1:00 (begin earlier (--start))"
    lines = [line for line in run.said.getvalue().splitlines() if "ends at" in line]
    assert lines
    assert all(told in line for line in lines)
