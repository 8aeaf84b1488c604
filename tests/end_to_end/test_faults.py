"""Every write, fsync, rename, spawn, send and ffmpeg of a run fails once, one run after the other.

Each such run must end as done, as stopped and resumable, or with the video set aside and its
reason; and the same command must give the right frames afterwards. The run is the real one, but
its worker is a thread and its probe runs in this process, so that both can be made to fail.

In CI each of the first `EACH` operations of a kind fails once, and every other one after them, with
a drawn error, and with it all that follow or none of them; VRMATTE_ALL_FAULTS=1 lets each of them
fail, with every error, both ways. ``-s`` shows how each run ended.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.encode import vp9_alpha
from pipeline.errors import VrmatteError
from tests.clips import X264, ClipSpec
from tests.faults import ERRNOS, FFMPEG_ENDS, Fault, FfmpegDouble, injected
from tests.runs import HereRun, files_left
from tests.shared_runs import UndisturbedRun, VideosOf

pytestmark = pytest.mark.slow

ALL = bool(os.environ.get("VRMATTE_ALL_FAULTS"))
EACH = 20
CLIP = ClipSpec("tiny_LR.mp4", X264, num_frames=8, eye=(32, 32), audio=("aac",))
SETTINGS: dict[str, dict[str, object]] = {
    "matting": {"model": "chroma"},
    "streaming": {"segment_frames": 4, "lanes": 1},
    "workers": {"gpus": "none"},
    "limits": {"start_s": 20, "first_frame_s": 20, "stall_s": 20, "finish_s": 20, "grace_s": 5},
}

DONE, SET_ASIDE, STOPPED = 0, 1, 130


@pytest.fixture(scope="module")
def videos(videos_of: VideosOf) -> Path:
    return videos_of([CLIP])


@pytest.fixture(scope="module")
def undisturbed(undisturbed_run: UndisturbedRun) -> dict[str, str]:
    hashes = undisturbed_run([CLIP], SETTINGS).outputs
    assert len(hashes) == 1
    return hashes


@pytest.fixture
def place(videos: Path, tmp_path: Path) -> HereRun:
    return HereRun(videos, tmp_path / "out", SETTINGS, threads=True)


def check(place: HereRun, how: int | VrmatteError, hashes: dict[str, str]) -> str:
    """How a run with a fault ended, in a word; and that nothing is lost by it."""
    found = place.published()
    assert found in ({}, hashes), "a file bears its final name and is not right"
    if isinstance(how, VrmatteError):
        assert how.message
        assert "\n" not in how.message
        word = "refused"
    elif how == DONE:
        assert found == hashes
        word = "done"
    elif how == STOPPED:
        word = "stopped"
    else:
        assert how == SET_ASIDE
        (video,) = json.loads((place.out / "report.json").read_text())["videos"]
        assert video["result"] in ("failed", "set aside")
        assert video["error"]["message"]
        word = "set aside"
    again = place.run()
    assert again == DONE, f"the fault is gone, and yet: {again}"
    assert place.published() == hashes
    assert files_left(place.out) == set()
    assert list((place.out / ".vrmatte/work").iterdir()) == []
    return word


def variants(kind: str, number: int) -> Iterator[tuple[int, bool]]:
    """Errors to try for the n-th operation of a kind, and whether they stay."""
    every = [(error, stays) for error in ERRNOS[kind] for stays in (False, True)]
    yield from every if ALL else [random.Random(f"{kind} {number}").choice(every)]


@pytest.mark.timeout(3000 if ALL else 600)
@pytest.mark.parametrize("kind", sorted(ERRNOS))
def test_every_operation_may_fail(kind: str, place: HereRun, undisturbed: dict[str, str]) -> None:
    ends: Counter[str] = Counter()
    wrong: list[str] = []
    number, reached = 0, True
    while reached:
        number += 1 if ALL or number < EACH else 2
        for error, stays in variants(kind, number):
            place.empty()
            fault = Fault(kind, number, error, stays)
            what = f"{kind} {number}, {os.strerror(error)}{', and it stays' * stays}"
            say(what)
            word = "wrong"
            try:
                with injected(fault, place.out):
                    how = place.run()
                word = check(place, how, undisturbed)
                say(f" -> {word}: {how}\n")
            except Exception as trouble:  # all of them are told, not the first alone
                say(f" -> {trouble!r}\n")
                wrong.append(f"{what}: {trouble!r}")
            reached = fault.hits > 0
            ends[word] += reached
    say(f"{kind}: up to operation {number - 1}, {dict(ends)}\n")
    assert wrong == []
    assert number > 3, "nothing was made to fail"


def test_there_may_be_no_room_for_another_thread(
    place: HereRun, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "line" and not refused:  # the first one that a worker needs
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        real(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        how = place.run()
    assert refused
    assert check(place, how, undisturbed) == "done"


@pytest.mark.parametrize("end", FFMPEG_ENDS)
def test_every_ffmpeg_may_end_badly(
    end: str,
    place: HereRun,
    undisturbed: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number, reached = 0, True
    while reached:
        number += 1
        place.empty()
        double = FfmpegDouble(tmp_path, number, end)
        with monkeypatch.context() as patch:
            patch.setenv("IMAGEIO_FFMPEG_EXE", str(double.path))
            patch.setattr(vp9_alpha, "command", instead(vp9_alpha.command, double))
            how = place.run()
        reached = double.calls >= number
        word = check(place, how, undisturbed)
        say(f"ffmpeg {number}, {end} -> {word}\n")
        assert word == "done"
    assert number > 3, "no ffmpeg was made to fail"


def instead(command: Callable[..., list[str]], double: FfmpegDouble) -> Callable[..., list[str]]:
    return lambda *arguments: [str(double.path), "--instead-of", *command(*arguments)]


def say(text: str) -> None:
    """For ``pytest -s``; runs take the logging handlers of pytest away."""
    sys.stdout.write(text)
    sys.stdout.flush()
