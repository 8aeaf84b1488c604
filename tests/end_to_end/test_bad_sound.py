"""A track of sound that cannot be decoded, from the command line: the video is made without it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clips import X264, ClipSpec, read_frames, read_numbers, read_sounds
from tests.runs import CommandRun
from tests.shared_runs import GetClip
from tests.sounds import damage

pytestmark = pytest.mark.slow

CLIP = ClipSpec("two_LR.mp4", X264, num_frames=24, audio=("aac", "aac"))
SETTINGS = (
    "matting: {model: chroma}\nstreaming: {segment_frames: 12}\n"
    "output: {formats: [webm, matte]}\nencoding: {codec: h264}\n"
)
NOTE = "audio stream 2 (aac) is left out: it cannot be decoded"


def test_a_bad_track_does_not_cost_the_picture(clip: GetClip, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    damage(clip(CLIP), videos / CLIP.name, 1, "noise")
    run = CommandRun(videos, tmp_path / "out", SETTINGS, ("--lanes", "1"))
    run.process.wait()
    words = " ".join(run.said().split())
    assert run.process.returncode == 0, words
    assert f"{CLIP.name}: {NOTE}" in words
    report = json.loads((tmp_path / "out/report.json").read_text())
    [video] = report["videos"]
    assert (video["result"], video["retries"]) == ("done", 0)
    assert NOTE in video["notes"]
    [webm, matte] = [tmp_path / "out" / output["path"] for output in video["outputs"]]
    assert [sound.language for sound in read_sounds(webm)] == ["eng"]
    assert read_sounds(matte) == []
    assert read_numbers(read_frames(webm))[0] == list(range(CLIP.num_frames))
