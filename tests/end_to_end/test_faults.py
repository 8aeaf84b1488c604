"""Every write, fsync, rename, spawn, send and ffmpeg of a run fails once, one run after the other.

Each such run must end as done, as stopped and resumable, or with the video set aside and its
reason; and the same command must give the right frames afterwards. The run is the real one, but
its worker is a thread and its probe runs in this process, so that both can be made to fail.
It makes `matte`, whose encoder is one cheap child, but `webm` in the places named by `WEBM`.
Runs that leave an equal OUT go on alike, so the same command is run again once for each of them.

In CI each of the first `EACH` operations of a kind fails once, and every third one after them, with
a drawn error, and with it all that follow or none of them; VRMATTE_ALL_FAULTS=1 lets each of them
fail, with every error, both ways. ``-s`` shows how each run ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from pipeline.encode import vp9_alpha
from pipeline.errors import VrmatteError
from tests.clips import X264, ClipSpec
from tests.faults import ERRNOS, FFMPEG_ENDS, Fault, FfmpegDouble, injected
from tests.runs import HereRun
from tests.shared_runs import VideosOf

pytestmark = pytest.mark.slow

ALL = bool(os.environ.get("VRMATTE_ALL_FAULTS"))
EACH = 12
CLIP = ClipSpec("tiny_LR.mp4", X264, num_frames=8, eye=(32, 32), audio=("aac",))
#: Kinds of operations, and ends of an ffmpeg, for which the format is WebM, which has sound.
WEBM = ("spawn", "half")
SETTINGS: dict[str, dict[str, object]] = {
    "matting": {"model": "chroma"},
    "stereo": {"mode": "independent"},
    "streaming": {"segment_frames": 4, "lanes": 1},
    "workers": {"gpus": "none"},
    "limits": {"start_s": 20, "first_frame_s": 20, "stall_s": 20, "finish_s": 20, "grace_s": 5},
}

DONE, SET_ASIDE, STOPPED = 0, 1, 130


@pytest.fixture(scope="module")
def videos(videos_of: VideosOf) -> Path:
    return videos_of([CLIP])


@dataclass
class Place:
    """Runs of one format in one OUT.

    Attributes:
        undisturbed: the outputs of a run without a fault, by name -> hash of the whole file.
        gone_on: digests of the OUTs from which the same command was seen to go on.
    """

    here: HereRun
    undisturbed: dict[str, str] = field(default_factory=dict)
    gone_on: set[str] = field(default_factory=set)

    def run(self) -> int | VrmatteError:
        return self.here.run()

    def outputs(self) -> dict[str, str]:
        """Hashes of all files that are outputs by their names."""
        return {name: digest for name, digest in self.files().items() if not name.startswith(".")}

    def files(self) -> dict[str, str]:
        """Hashes of all files of OUT but for the run's own folder and the report."""
        return {
            str(path.relative_to(self.here.out)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.here.out.rglob("*")
            if path.is_file()
            and path.name not in ("report.json", "report.html")
            and ".vrmatte" not in path.relative_to(self.here.out).parts
        }

    def state(self) -> str:
        """A digest of OUT, names and contents, but for the logs, which no run reads."""
        digest = hashlib.sha256()
        for path in sorted(self.here.out.rglob("*")):
            name = path.relative_to(self.here.out)
            if name.parts[:2] != (".vrmatte", "logs"):
                content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
                digest.update(f"{name}\0{content}\n".encode())
        return digest.hexdigest()


@pytest.fixture(scope="module")
def place_of(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Place]:
    """The place for a kind of fault or an end of ffmpeg, with an empty OUT."""
    places: dict[str, Place] = {}

    def get(what: str) -> Place:
        name = "webm" if what in WEBM else "matte"
        if name not in places:
            out = tmp_path_factory.mktemp(name) / "out"
            output: dict[str, object] = {"formats": [name]}
            here = HereRun(videos, out, {**SETTINGS, "output": output}, threads=True)
            place = Place(here)
            assert place.run() == DONE
            place.undisturbed = place.files()
            assert len(place.undisturbed) == 1
            places[name] = place
        places[name].here.empty()
        return places[name]

    return get


def check(place: Place, how: int | VrmatteError) -> str:
    """How a run with a fault ended, in a word; and that nothing is lost by it."""
    found = place.outputs()
    assert found in ({}, place.undisturbed), "a file bears its final name and is not right"
    if isinstance(how, VrmatteError):
        assert how.message
        assert "\n" not in how.message
        word = "refused"
    elif how == DONE:
        assert found == place.undisturbed
        word = "done"
    elif how == STOPPED:
        word = "stopped"
    else:
        assert how == SET_ASIDE
        (video,) = json.loads((place.here.out / "report.json").read_text())["videos"]
        assert video["result"] in ("failed", "set aside")
        assert video["error"]["message"]
        word = "set aside"
    state = place.state()
    if state not in place.gone_on:
        again = place.run()
        assert again == DONE, f"the fault is gone, and yet: {again}"
        assert place.files() == place.undisturbed
        assert list((place.here.out / ".vrmatte/work").iterdir()) == []
        place.gone_on.add(state)
    return word


def grouped(names: Iterable[str]) -> list[ParameterSet]:
    """Parameters that `--dist loadgroup` may spread over processes."""
    return [pytest.param(name, marks=pytest.mark.xdist_group(f"fault {name}")) for name in names]


def variants(kind: str, number: int) -> Iterator[tuple[int, bool]]:
    """Errors to try for the n-th operation of a kind, and whether they stay."""
    every = [(error, stays) for error in ERRNOS[kind] for stays in (False, True)]
    yield from every if ALL else [random.Random(f"{kind} {number}").choice(every)]


@pytest.mark.timeout(3000 if ALL else 600)
@pytest.mark.parametrize("kind", grouped(sorted(ERRNOS)))
def test_every_operation_may_fail(kind: str, place_of: Callable[[str], Place]) -> None:
    place = place_of(kind)
    ends: Counter[str] = Counter()
    wrong: list[str] = []
    number, reached = 0, True
    while reached:
        number += 1 if ALL or number < EACH else 3
        for error, stays in variants(kind, number):
            place.here.empty()
            fault = Fault(kind, number, error, stays)
            what = f"{kind} {number}, {os.strerror(error)}{', and it stays' * stays}"
            say(what)
            word = "wrong"
            try:
                with injected(fault, place.here.out):
                    how = place.run()
                word = check(place, how)
                say(f" -> {word}: {how}\n")
            except Exception as trouble:  # all of them are reported, not only the first
                say(f" -> {trouble!r}\n")
                wrong.append(f"{what}: {trouble!r}")
            reached = fault.hits > 0
            ends[word] += reached
    say(f"{kind}: up to operation {number - 1}, {dict(ends)}\n")
    assert wrong == []
    assert number > 3, "nothing was made to fail"


def test_there_may_be_no_room_for_another_thread(
    place_of: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of("thread")
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
    assert check(place, how) == "done"


@pytest.mark.parametrize("end", grouped(FFMPEG_ENDS))
def test_every_ffmpeg_may_end_badly(
    end: str,
    place_of: Callable[[str], Place],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = place_of(end)
    number, reached = 0, True
    while reached:
        number += 1
        place.here.empty()
        double = FfmpegDouble(tmp_path, number, end)
        with monkeypatch.context() as patch:
            patch.setenv("IMAGEIO_FFMPEG_EXE", str(double.path))
            patch.setattr(vp9_alpha, "command", instead(vp9_alpha.command, double))
            how = place.run()
        reached = double.calls >= number
        word = check(place, how)
        say(f"ffmpeg {number}, {end} -> {word}\n")
        assert word == "done"
    assert number > 3, "no ffmpeg was made to fail"


def instead(command: Callable[..., list[str]], double: FfmpegDouble) -> Callable[..., list[str]]:
    return lambda *arguments: [str(double.path), "--instead-of", *command(*arguments)]


def say(text: str) -> None:
    """For ``pytest -s``; runs take the logging handlers of pytest away."""
    sys.stdout.write(text)
    sys.stdout.flush()
