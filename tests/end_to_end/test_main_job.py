"""The main job from the command line, with real processes: law 1, resume, and what one death costs.

Frames are compared decoded, picture by picture.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from orchestrator.watch.standing import read_standing
from tests.clips import SVT_AV1, X264, X265, ClipSpec, read_frames, read_numbers, read_sounds
from tests.runs import files_left, journal, outputs
from tests.shared_runs import GetClip, Undisturbed, UndisturbedRun, VideosOf

pytestmark = pytest.mark.slow

CLIPS = (
    ClipSpec("one_LR.mp4", X264, num_frames=32, audio=("aac",)),
    ClipSpec("two_LR.mkv", SVT_AV1, num_frames=20, audio=("libopus", "aac", "libvorbis")),
    ClipSpec("day 2/three_LR.mp4", X265, "yuv420p10le", num_frames=14),
)
SETTINGS = "input: {follow_links: true}\nmatting: {model: chroma}\nstreaming: {segment_frames: 8}\n"


@pytest.fixture(scope="module")
def videos(videos_of: VideosOf) -> Path:
    return videos_of(CLIPS, links=True)


def command(videos: Path, out: Path, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "orchestrator.cli", "run", str(videos), "-o", str(out)),
        *("--config", str(settings_file(out)), "--gpus", "none", *options),
    ]


def settings_file(out: Path) -> Path:
    path = out.with_suffix(".yaml")
    path.write_text(SETTINGS)
    return path


def run(videos: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(videos, out, *options),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.fixture(scope="module")
def undisturbed(undisturbed_run: UndisturbedRun) -> Undisturbed:
    return undisturbed_run(CLIPS, SETTINGS, "--cpu-workers", "1", "--lanes", "1", links=True)


def test_all_frames_eyes_and_tracks_of_all_videos(undisturbed: Undisturbed) -> None:
    out = undisturbed.out
    for spec, name in zip(CLIPS, ("one_LR", "two_LR", "day 2/three_LR"), strict=True):
        path = out / f"{name}_360_matte.webm"
        left, right = read_numbers(read_frames(path))
        assert left == right == list(range(spec.num_frames))
        sounds = read_sounds(path)
        assert len(sounds) == len(spec.audio)
        assert all(abs(s.end_s - spec.num_frames / 30) <= 1 / 30 for s in sounds)
    assert files_left(out) == set()
    assert not list((out / ".vrmatte/work").rglob("*.webm"))


def test_the_report_names_every_video_and_output(undisturbed: Undisturbed) -> None:
    out = undisturbed.out
    report = json.loads((out / "report.json").read_text())
    named = {o["path"] for video in report["videos"] for o in video["outputs"]}
    assert named == set(undisturbed.outputs), "relative to the report's folder"


def test_who_looks_in_sees_how_it_ended_and_what_it_took(undisturbed: Undisturbed) -> None:
    out = undisturbed.out
    standing = read_standing(out)
    assert standing is not None
    assert (standing.phase, standing.share_done) == ("ended", 1.0)
    assert {video.status for video in standing.snapshot.videos} == {"done"}
    load = json.loads((out / "report.json").read_text())["load"]
    assert max(point["cpu"] for point in load) > 0
    assert max(device["rss_bytes"] for point in load for device in point["devices"]) > 50e6


def test_workers_and_lanes_do_not_alter_the_frames(
    videos: Path, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run(videos, out, "--cpu-workers", "2", "--lanes", "2")
    assert done.returncode == 0, done.stderr
    assert outputs(out) == undisturbed.outputs


def test_a_second_run_does_nothing_again(
    videos: Path, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    out = shutil.copytree(undisturbed.out, tmp_path / "out", symlinks=True)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.webm")}
    done = run(videos, out)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.webm")} == before
    assert outputs(out) == undisturbed.outputs


@pytest.mark.parametrize("victim", ["parent", "worker", "encoder"])
def test_killed_in_the_middle_and_run_again(
    victim: str,
    videos: Path,
    undisturbed: Undisturbed,
    tmp_path: Path,
) -> None:
    """Segments are written in a local folder; of what was killed nothing is left there."""
    out, scratch = tmp_path / "out", tmp_path / "nvme"
    scratch.mkdir()
    process = subprocess.Popen(
        command(videos, out, "--cpu-workers", "1", "--lanes", "2", "--local-folder", str(scratch)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    children: list[psutil.Process] = []
    killed = False
    for _ in process.stderr:  # it says a line for every change
        if killed or not (out / ".vrmatte/journal.jsonl").exists():
            continue
        if sum(line["entry"]["kind"] == "segment" for line in journal(out)) < 2:
            continue
        children = psutil.Process(process.pid).children(recursive=True)
        killed = _kill(victim, process.pid, children)
    process.stderr.close()
    status = process.wait()
    assert killed, "it ended before two segments were committed"
    psutil.wait_procs(children, timeout=10)
    assert not [child for child in children if child.is_running()], "an orphan is left"
    if victim == "parent":
        assert status == -signal.SIGKILL
        assert outputs(out) != undisturbed.outputs
        [left] = scratch.iterdir()
        assert left.name.startswith("vrmatte-")
        options = ("--cpu-workers", "2", "--lanes", "1", "--local-folder", str(scratch))
        done = run(videos, out, *options)
        assert done.returncode == 0, done.stderr
    else:
        assert status == 0
    assert outputs(out) == undisturbed.outputs
    assert files_left(out) == set()
    assert list(scratch.iterdir()) == []


def _kill(victim: str, parent: int, children: list[psutil.Process]) -> bool:
    if victim == "parent":
        os.kill(parent, signal.SIGKILL)
        return True
    sought = "pipeline.encode.vp9_alpha" if victim == "encoder" else "spawn_main"
    for child in children:
        try:
            if sought in " ".join(child.cmdline()):
                child.kill()
                return True
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue  # an encoder that has just ended; the next one will do
    return False


def test_a_broken_file_costs_only_itself(clip: GetClip, tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    (videos / "good_LR.mp4").symlink_to(clip(CLIPS[2]))
    whole = clip(CLIPS[0]).read_bytes()
    (videos / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    (videos / "noise.mkv").write_bytes(os.urandom(5000))
    done = run(videos, out)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert "Traceback" not in (out / "report.json").read_text()
    report = json.loads((out / "report.json").read_text())
    results = {video["name"]: video["result"] for video in report["videos"]}
    assert results == {"good_LR.mp4": "done", "cut.mp4": "set aside", "noise.mkv": "set aside"}
    assert list(outputs(out)) == ["good_LR_360_matte.webm"]
