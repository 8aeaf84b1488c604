"""Enhancement from files to files: sizes, sound, tags, any segments, kill and resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orchestrator.commands.enhance import enhance
from orchestrator.commands.run import run as run_command
from pipeline.errors import SettingsError
from pipeline.source.video_info import read_video
from tests.clips import X264, ClipSpec, read_frames, read_numbers, read_sounds
from tests.runs import HereRun
from tests.shared_runs import VideosOf

pytestmark = pytest.mark.slow

CLIP = ClipSpec("talk_LR_180.mp4", X264, num_frames=20, audio=("aac",))
PLAIN = {"scale": 2, "model": "lanczos"}


def groups(formats: list[str], model: str = "none", **enhance: object) -> dict[str, dict[str, Any]]:
    return {
        "matting": {"model": model},
        "output": {"formats": formats},
        "streaming": {"segment_frames": 7, "lanes": 2},
        "encoding": {"encoder": "software", "codec": "h264"},
        "enhance": {**PLAIN, **enhance},
    }


def test_twice_as_large_with_sound_and_tags(videos_of: VideosOf, tmp_path: Path) -> None:
    videos = videos_of((CLIP,))
    asked = groups(["video"], stabilise=1, denoise="auto")
    run = HereRun(videos, tmp_path / "out", asked, threads=True)
    assert run.run() == 0, run.said.getvalue()
    target = tmp_path / "out/talk_LR_180_enhanced.mp4"
    source = read_video(videos / CLIP.name, tmp_path / "a.json", None)
    made = read_video(target, tmp_path / "b.json", None)
    assert (made.width, made.height) == (2 * source.width, 2 * source.height)
    assert (made.num_frames, made.frame_rate) == (20, source.frame_rate)
    assert (made.layout, made.projection) == ("sbs", "equirect180")
    assert len(read_sounds(target)) == 1
    report = json.loads((tmp_path / "out/report.json").read_text())
    [video] = report["videos"]
    assert video["result"] == "done"
    assert any(note.startswith("enlarged to 768x192 by lanczos") for note in video["notes"])
    assert HereRun(videos, tmp_path / "out", asked, threads=True).run() == 0
    [video] = json.loads((tmp_path / "out/report.json").read_text())["videos"]
    assert video["result"] == "done earlier"


def test_a_matte_and_its_enhanced_picture_in_one_run(videos_of: VideosOf, tmp_path: Path) -> None:
    videos = videos_of((CLIP,))
    run = HereRun(videos, tmp_path / "out", groups(["webm", "matte"], "chroma"), threads=True)
    assert run.run() == 0, run.said.getvalue()
    source = read_video(videos / CLIP.name, tmp_path / "a.json", None)
    for ending in ("matte.webm", "matte_mask.mp4"):
        made = read_video(tmp_path / f"out/talk_LR_180_{ending}", tmp_path / "b.json", None)
        assert made.width == 2 * source.width
    frames = [frame[::2, ::2] for frame in read_frames(tmp_path / "out/talk_LR_180_matte.webm")]
    left, right = read_numbers(frames)
    assert left == right == list(range(20))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scale", "3"], "'3' is neither 2 nor 4"),
        (["--upscaler", "spam"], "there is no upscaler named 'spam'"),
        (["--upscaler", "x.pth"], "there is no file x.pth"),
        (["--preset", "fast"], "fast"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    asked = [str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--gpus", "none", *words]
    result = CliRunner().invoke(enhance, asked)
    assert result.exit_code != 0
    assert said in f"{result.output} {result.exception}"


def test_a_picture_too_large_for_its_codec_is_refused_before_work(
    videos_of: VideosOf, tmp_path: Path
) -> None:
    large = ClipSpec("wide_LR_180.mp4", X264, num_frames=2, eye=(4400, 96))
    run = HereRun(videos_of((large,)), tmp_path / "out", groups(["video"], scale=4), threads=True)
    assert run.run() == 1
    assert "35200x384 is too large for H.264" in run.said.getvalue().replace("\n", " ")


def test_nobody_is_cut_out_and_a_matte_is_asked_for(videos_of: VideosOf, tmp_path: Path) -> None:
    run = HereRun(videos_of((CLIP,)), tmp_path / "out", groups(["webm"]), threads=True)
    error = run.run()
    assert isinstance(error, SettingsError)
    assert error.message == "the format 'webm' needs alpha, which no stage gives"


def test_a_dry_run_foretells_size_and_time(videos_of: VideosOf, tmp_path: Path) -> None:
    """By trials of the very stages, in a process of their own, as a person's run does."""
    config = tmp_path / "settings.json"
    config.write_text(json.dumps(groups(["video"], stabilise=1)))
    source = videos_of((CLIP,)) / CLIP.name
    words = [str(source), "-o", str(tmp_path / "out"), "--config", str(config), "--gpus", "none"]
    result = CliRunner().invoke(run_command, [*words, "--dry-run", "--json"])
    assert result.exception is None, result.output
    events = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    [plan] = [event for event in events if event["event"] == "plan"]
    [video] = plan["videos"]
    assert (video["problem"], plan["will_fail"]) == (None, [])
    assert (video["model"], video["output_bytes_by"]) == ("none", "trial")
    assert video["fps"] > 0
    assert 5_000 < plan["output_bytes"] < 200_000
