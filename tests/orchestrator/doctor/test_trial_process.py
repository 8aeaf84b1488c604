"""Trials in a child: one that hangs or crashes costs itself, and the next has a fresh child."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from imageio_ffmpeg import get_ffmpeg_exe, get_ffmpeg_version

from orchestrator.doctor import trial_child
from orchestrator.doctor.room import disk_finding
from orchestrator.doctor.trial_child import try_disk
from orchestrator.doctor.trial_process import TrialProcess
from orchestrator.doctor.trials import DecodeTrial, DiskTrial

DEADLINE_S, AT_ONCE_S = 60.0, 0.3


@pytest.fixture
def trials() -> Iterator[TrialProcess]:
    process = TrialProcess("cpu", "tests.orchestrator.doctor.trial_doubles")
    yield process
    process.close()
    children = psutil.Process().children(recursive=True)
    assert not [c for c in children if "trial_doubles" in " ".join(c.cmdline())]


def asked(what: str, folder: Path) -> DecodeTrial:
    return DecodeTrial(what, 4, str(folder))


def test_one_child_serves_until_something_goes_wrong(trials: TrialProcess, tmp_path: Path) -> None:
    first = trials.run(asked("work", tmp_path), DEADLINE_S)
    assert (first.outcome, first.words["device"]) == ("works", "cpu")
    assert trials.run(asked("work", tmp_path), DEADLINE_S).figures == first.figures
    assert trials.run(asked("fail", tmp_path), DEADLINE_S).outcome == "failed"
    assert trials.run(asked("work", tmp_path), DEADLINE_S).figures != first.figures


def test_what_hangs_is_left_after_its_deadline(trials: TrialProcess, tmp_path: Path) -> None:
    assert trials.run(asked("work", tmp_path), DEADLINE_S).outcome == "works"
    tried = trials.run(asked("hang", tmp_path), AT_ONCE_S)
    assert (tried.outcome, tried.said) == ("hung", "it did not end within 0.3 s")
    assert trials.run(asked("work", tmp_path), DEADLINE_S).outcome == "works"


def test_what_crashes_is_told_by_its_last_words(trials: TrialProcess, tmp_path: Path) -> None:
    tried = trials.run(asked("crash", tmp_path), DEADLINE_S)
    assert tried.outcome == "crashed"
    assert tried.said == "its process failed (killed by SIGSEGV): double free or corruption"
    tried = trials.run(asked("leave", tmp_path), DEADLINE_S)
    assert (tried.outcome, tried.said) == ("crashed", "its process failed (exit status 7)")


def test_a_disk_is_really_written_and_read(tmp_path: Path) -> None:
    trials = TrialProcess("cpu")
    finding = disk_finding(tmp_path / "not/there/yet", trials)
    assert finding.level in ("ok", "warning")
    assert str(tmp_path / "not/there/yet") in finding.said
    assert list(tmp_path.iterdir()) == []
    finding = disk_finding(Path("/proc"), trials)
    assert (finding.level, "cannot be written" in finding.said) == ("broken", True)
    assert disk_finding(Path("/proc"), trials, is_out=False).level == "warning"
    trials.close()


def test_a_file_is_no_place_for_outputs(tmp_path: Path) -> None:
    file = tmp_path / "talk.mp4"
    file.touch()
    for place in (file, file / "out"):
        tried = try_disk(DiskTrial(str(place), 1 << 20))
        assert (tried.outcome, tried.said) == ("failed", f"{file} is not a folder")
    assert try_disk(DiskTrial(str(tmp_path / "later/out"), 1 << 20)).outcome == "works"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, "it cannot be started: No such file or directory"),
        ("exit 3", "it did not tell its version (exit status 3)"),
        ("exec sleep 1000", "it did not tell its version within 0 s"),
    ],
)
def test_an_ffmpeg_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, why: str
) -> None:
    monkeypatch.setattr(trial_child, "_VERSION_DEADLINE_S", 0.3)
    program = tmp_path / "ffmpeg"
    if script is not None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    assert trial_child.asked_for_its_version(str(program)) == {"no_ffmpeg": why}


def test_our_own_ffmpeg_tells_its_version() -> None:
    told = trial_child.asked_for_its_version(get_ffmpeg_exe())
    assert told == {"ffmpeg": get_ffmpeg_version()}
