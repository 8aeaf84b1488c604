"""A batch in which random processes are killed at random moments, then run again until it is done.

VRMATTE_CHAOS_ROUNDS=100 plays more rounds, VRMATTE_CHAOS_SEED=1000 others; with ``-s`` each round
says whom it killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from tests.clips import VP9, X264, X265, ClipSpec
from tests.runs import CommandRun, command_line, files_left, outputs
from tests.shared_runs import UndisturbedRun, VideosOf

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("VRMATTE_CHAOS_ROUNDS", "1"))
FIRST_SEED = int(os.environ.get("VRMATTE_CHAOS_SEED", "0"))

CLIPS = (
    ClipSpec("one_LR.mp4", X264, num_frames=24, eye=(64, 64), audio=("aac",)),
    ClipSpec("two_LR.webm", VP9, num_frames=18, eye=(64, 64)),
    ClipSpec("three_LR.mp4", X265, num_frames=12, eye=(64, 64)),
    ClipSpec("four_LR.mkv", X264, num_frames=7, eye=(64, 64), audio=("libopus",)),
)
SETTINGS = (
    "matting: {model: chroma}\nstereo: {mode: independent}\n"
    "streaming: {segment_frames: 6}\ninput: {follow_links: true}\n"
)
OPTIONS = ("--cpu-workers", "2")

#: What a victim's command line holds; the parent is known by its number.
SIGNS = {
    "worker": "spawn_main",
    "encoder": "pipeline.encode.vp9_alpha",
    "join": "concat",
    "probe": "pipeline.source.probe_server",
}


@pytest.fixture(scope="module")
def videos(videos_of: VideosOf) -> Path:
    return videos_of(CLIPS)


@pytest.fixture(scope="module")
def undisturbed(undisturbed_run: UndisturbedRun) -> dict[str, str]:
    hashes = undisturbed_run(CLIPS, yaml.safe_load(SETTINGS)).outputs
    assert len(hashes) == len(CLIPS)
    return hashes


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + ROUNDS))
def test_whoever_is_killed_the_same_command_goes_on(
    seed: int, videos: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    dice = random.Random(seed)
    out = tmp_path / "out"
    killed: list[str] = []
    for _ in range(dice.choice((1, 1, 1, 1, 1, 2))):
        run = Attacked(videos, out)
        run.attack(dice)
        killed += run.killed
        status = run.process.wait()
        assert run.left_behind() == []
        assert "Traceback" not in run.said()
        if "parent" in run.killed:
            assert status in (-signal.SIGKILL, 0)  # 0: it had ended when the signal came
        else:
            assert status in (0, 1), run.said()
            assert (status == 0) == all_done(out), run.said()
    again = run.again_here()
    assert again.run() == 0, again.said.getvalue()
    assert outputs(out) == undisturbed
    assert files_left(out) == set()
    assert sorted((out / ".vrmatte/work").iterdir()) == []
    sys.stdout.write(f"seed {seed} killed: {' '.join(killed)}\n")


def all_done(out: Path) -> bool:
    """Whether every video is done, by the report; those that are not must have their reason."""
    videos = json.loads((out / "report.json").read_text())["videos"]
    unfinished = [video for video in videos if not video["result"].startswith("done")]
    assert all(video["error"]["message"] for video in unfinished)
    return not unfinished


class Attacked(CommandRun):
    """A batch of which processes are killed."""

    def __init__(self, videos: Path, out: Path) -> None:
        super().__init__(videos, out, SETTINGS, OPTIONS)
        self.killed: list[str] = []

    def attack(self, dice: random.Random) -> None:
        """Kill one to three processes, each at a moment of its own; the parent comes last."""
        kinds = dice.choices(("parent", *SIGNS), (6, 4, 4, 1, 1), k=dice.choice((1, 1, 2, 3)))
        for kind in sorted(kinds, key=("probe", *kinds).index):  # files are read before all else
            self._let_pass(dice, longest_s=1.0 if kind == "probe" else 12.0)
            if self._kill(kind, dice) and kind == "parent":
                return

    def _let_pass(self, dice: random.Random, longest_s: float) -> None:
        """Until a drawn number of lines was said, or for a drawn time; and a little longer."""
        if longest_s > 1 and dice.random() < 0.7:
            lines = dice.randrange(30)
            while self.goes_on(0.02) and self.said().count("\n") < lines:
                pass
            self.goes_on(dice.uniform(0, 0.3))
        else:
            self.goes_on(dice.uniform(0, longest_s))

    def _kill(self, kind: str, dice: random.Random) -> bool:
        """Wait for a victim of that kind and kill it; whether there was one."""
        while self.goes_on(0.01):
            if kind == "parent":
                victims = [psutil.Process(self.process.pid)]
            else:
                victims = [p for p in self.family() if SIGNS[kind] in command_line(p)]
            with suppress(psutil.NoSuchProcess, IndexError):
                dice.choice(victims).kill()
                self.killed.append(kind)
                return True
            if kind == "probe" and "ready" in self.said():
                return False  # all files have been read
        return False
