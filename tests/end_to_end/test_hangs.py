"""Something never ends, or memory does not suffice: the run gets over it, with real workers.

Deadlines are short here, and longer by as much as this machine is slow just now.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.clips import X264, ClipSpec
from tests.runs import HereRun, environment, files_left, journal, left_behind
from tests.shared_runs import UndisturbedRun, VideosOf
from tests.workers import hang_doubles as doubles

pytestmark = pytest.mark.slow

CLIPS = (
    ClipSpec("one_LR.mp4", X264, num_frames=24, eye=(64, 64), audio=("aac",)),
    ClipSpec("two_LR.mp4", X264, num_frames=12, eye=(64, 64)),
)
NAMES = {"one_LR_180_matte.webm", "two_LR_180_matte.webm"}
SETTINGS: dict[str, dict[str, object]] = {
    "matting": {"model": "chroma"},
    "stereo": {"mode": "independent"},
    "streaming": {"segment_frames": 12, "lanes": 1, "chunk_frames": 4},
    "workers": {"gpus": "none"},
}

#: Limits in seconds, by name.
Limits = dict[str, int]

#: On a machine where a process that needs torch starts in so many seconds.
LIMITS = {"start_s": 10, "first_frame_s": 7, "stall_s": 3, "finish_s": 4, "grace_s": 5}
START_S = 2.5


@pytest.fixture(scope="module")
def limits() -> Limits:
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    slowness = min(6.0, max(1.0, (time.monotonic() - begin) / START_S))
    return {name: math.ceil(seconds * slowness) for name, seconds in LIMITS.items()}


@pytest.fixture(scope="module")
def videos(videos_of: VideosOf) -> Path:
    return videos_of(CLIPS)


@pytest.fixture(scope="module")
def undisturbed(undisturbed_run: UndisturbedRun) -> dict[str, str]:
    hashes = undisturbed_run(CLIPS, SETTINGS).outputs
    assert set(hashes) == NAMES
    return hashes


@pytest.fixture
def place(videos: Path, limits: Limits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HereRun:
    """A run whose double strikes once, whatever the video."""
    out = tmp_path / "out"
    for name, value in environment(out).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(doubles.FOLDER, str(tmp_path))
    monkeypatch.setenv(doubles.WHEN, "once")
    return HereRun(videos, out, {**SETTINGS, "limits": {**limits}})


def lost(out: Path) -> list[tuple[str, str]]:
    """Kind and words of every error that cost an attempt or a worker."""
    entries: list[dict[str, Any]] = [line["entry"] for line in journal(out)]
    return [
        (entry["error"]["kind"], entry["error"]["message"])
        for entry in entries
        if entry["kind"] in ("task-lost", "worker-lost")
    ]


def nothing_is_left(out: Path) -> bool:
    return (
        not files_left(out) and not left_behind(out) and not list((out / ".vrmatte/work").iterdir())
    )


@pytest.mark.parametrize(
    ("work", "limit"),
    [("SleepingModel", "stall_s"), ("BlockingDecoder", "first_frame_s")],
)
def test_a_segment_that_hangs_once_is_made_again(
    work: str, limit: str, place: HereRun, undisturbed: dict[str, str], limits: Limits
) -> None:
    place.work = f"tests.workers.hang_doubles:{work}"
    assert place.run() == 0
    assert place.published() == undisturbed
    assert any(
        kind == "stalled" and f"for {limits[limit]} s" in words for kind, words in lost(place.out)
    )
    assert nothing_is_left(place.out)


def test_an_encoder_that_hangs_once_is_started_again(
    place: HereRun, undisturbed: dict[str, str], limits: Limits
) -> None:
    place.work = "tests.workers.hang_doubles:HangingEncoder"
    assert place.run() == 0
    assert place.published() == undisturbed
    words = {f"for {limits[limit]} s" for limit in ("stall_s", "first_frame_s")}
    assert any(
        kind == "stalled" and any(word in message for word in words)
        for kind, message in lost(place.out)
    )
    assert nothing_is_left(place.out)


def test_a_join_that_hangs_once_is_done_again(
    place: HereRun,
    undisturbed: dict[str, str],
    limits: Limits,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(doubles.hanging_ffmpeg(tmp_path, "concat")))
    assert place.run() == 0
    assert place.published() == undisturbed
    assert any(
        kind == "stalled" and f"for {limits['finish_s']} s" in message
        for kind, message in lost(place.out)
    )
    assert nothing_is_left(place.out)


def test_a_worker_that_never_gets_ready_is_started_again(
    place: HereRun, undisturbed: dict[str, str], limits: Limits
) -> None:
    place.work = "tests.workers.hang_doubles:EndlessLoading"
    assert place.run() == 0
    assert place.published() == undisturbed
    assert ("stalled", f"the worker did not start within {limits['start_s']} s") in lost(place.out)
    assert nothing_is_left(place.out)


@pytest.mark.parametrize("work", ["SleepingModel", "DyingAtOnce"])
def test_a_video_that_always_hangs_or_kills_costs_only_itself(
    work: str, place: HereRun, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(doubles.WHEN, "always")
    monkeypatch.setenv(doubles.VIDEO, "one_LR.mp4")
    place.work = f"tests.workers.hang_doubles:{work}"
    place.settings = {
        **place.settings,
        "workers": {"gpus": "none", "cpu_workers": 2},
        "recovery": {"attempts": 2},
    }
    assert place.run() == 1
    name = "two_LR_180_matte.webm"
    assert place.published() == {name: undisturbed[name]}
    results = {video["name"]: video for video in report(place.out)}
    assert results["two_LR.mp4"]["result"] == "done"
    assert results["one_LR.mp4"]["result"] == "failed"
    assert results["one_LR.mp4"]["error"]["kind"] == (
        "stalled" if work == "SleepingModel" else "lost"
    )
    assert not left_behind(place.out)
    # What was to blame is gone: the same command goes on.
    place.work, place.threads = "workers.work:Pipeline", True
    assert place.run() == 0
    assert place.published() == undisturbed
    assert nothing_is_left(place.out)


def test_a_hung_worker_does_not_hold_up_a_stop(
    place: HereRun, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    place.work = "tests.workers.hang_doubles:SleepingModel"
    place.settings = {**SETTINGS, "limits": {"grace_s": 1}}
    ended = threading.Event()

    def interrupt() -> None:
        while not (tmp_path / "struck").exists() and not ended.wait(0.05):
            pass
        if not ended.is_set():  # the run, which hangs, has the signal
            os.kill(os.getpid(), signal.SIGINT)

    person = threading.Thread(target=interrupt)
    person.start()
    try:
        assert place.run() == 130
    finally:
        ended.set()
        person.join()
    assert not left_behind(place.out)
    place.threads = True
    assert place.run() == 0
    assert place.published() == undisturbed
    assert nothing_is_left(place.out)


def report(out: Path) -> list[dict[str, Any]]:
    videos: list[dict[str, Any]] = json.loads((out / "report.json").read_text())["videos"]
    return videos


@pytest.mark.parametrize("frames", [2, 1])
def test_what_does_not_fit_into_memory_is_done_in_smaller_chunks(
    frames: int, place: HereRun, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(doubles.WHEN, "always")
    monkeypatch.setenv(doubles.FRAMES, str(frames))
    place.work, place.threads = "tests.workers.hang_doubles:SmallGpu", True
    assert place.run() == 0
    assert place.published() == undisturbed
    attempts = {1: 2, 2: 1}[frames]  # that fail: chunks of 4, then of 2
    # A video's other segments begin with what its first one had to learn.
    assert [kind for kind, _ in lost(place.out)] == ["resource"] * len(CLIPS) * attempts
    assert nothing_is_left(place.out)


def test_segments_that_do_not_fit_beside_each_other_are_done_alone(
    place: HereRun, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(doubles.SEGMENTS, "1")
    place.work, place.threads = "tests.workers.hang_doubles:SmallMachine", True
    place.settings = {**place.settings, "streaming": {"segment_frames": 12, "lanes": 3}}
    assert place.run() == 0
    assert place.published() == undisturbed
    assert {kind for kind, _ in lost(place.out)} == {"resource"}
    assert nothing_is_left(place.out)


def test_segments_that_get_no_session_of_nvenc_wait_for_one(
    place: HereRun, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are made, and nothing is made smaller for it; no worker is asked again at once."""
    monkeypatch.setenv(doubles.SEGMENTS, "1")
    place.work, place.threads = "tests.workers.hang_doubles:FewSessions", True
    place.settings = {**place.settings, "streaming": {"segment_frames": 12, "lanes": 3}}
    assert place.run() == 0
    assert place.published() == undisturbed
    assert [kind for kind, _ in lost(place.out)] == ["session"] * 2
    assert nothing_is_left(place.out)


def test_a_video_that_never_fits_into_memory_costs_only_itself(
    place: HereRun, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(doubles.WHEN, "always")
    monkeypatch.setenv(doubles.VIDEO, "one_LR.mp4")
    monkeypatch.setenv(doubles.FRAMES, "0")
    place.work, place.threads = "tests.workers.hang_doubles:SmallGpu", True
    assert place.run() == 1
    name = "two_LR_180_matte.webm"
    assert place.published() == {name: undisturbed[name]}
    (failed,) = [video for video in report(place.out) if video["result"] != "done"]
    assert failed["name"] == "one_LR.mp4"
    assert failed["error"]["kind"] == "resource"
    assert failed["error"]["advice"]
