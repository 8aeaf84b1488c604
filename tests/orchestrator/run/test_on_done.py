"""`--on-done`: told when a run is over and nobody may be there, and only then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import orchestrator.run.on_done
import orchestrator.run.run
from orchestrator.cli import main
from orchestrator.run.on_done import tell
from orchestrator.run.request import Request, Surroundings
from pipeline.errors import DiskError, MachineError, SettingsError
from tests.posts import taking_posts

COMMAND = 'echo "$VRMATTE_STATUS $VRMATTE_OUT $VRMATTE_REPORT" > told'


def ended(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    how: int | BaseException,
    *words: str,
    stop_reason: str | None = None,
) -> str | None:
    """What the command was told by a run that ended so."""

    def run(request: Request, around: Surroundings) -> int:
        (folder / "out").mkdir()
        report = folder / "out/report.json"
        report.write_text(json.dumps({"stop_reason": stop_reason}))
        if isinstance(how, BaseException):
            raise how
        return how

    monkeypatch.chdir(folder)
    monkeypatch.setattr(orchestrator.run.run, "run", run)
    CliRunner().invoke(main, ["run", "in", "-o", "out", "--on-done", COMMAND, *words])
    return (folder / "told").read_text() if (folder / "told").exists() else None


@pytest.mark.parametrize(
    ("how", "status"),
    [
        (0, 0),
        (1, 1),
        (2, 2),
        (MachineError("no GPU"), 3),
        (DiskError("full"), 130),
        (ValueError("x"), 1),
    ],
)
def test_it_is_told_how_the_run_ended(
    how: int | Exception, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    told = ended(monkeypatch, tmp_path, how)
    assert told == f"{status} {out} {out / 'report.json'}\n"


def test_a_run_that_a_full_disk_stopped_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ended(monkeypatch, tmp_path, 130, stop_reason="the disk is full")
    assert told is not None
    assert told.startswith("130 ")


@pytest.mark.parametrize(
    "how", [130, SettingsError("another run is using it"), KeyboardInterrupt()]
)
def test_who_is_there_needs_no_word(
    how: int | BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ended(monkeypatch, tmp_path, how) is None


def test_a_dry_run_tells_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(monkeypatch, tmp_path, 0, "--dry-run") is None


def test_those_who_are_elsewhere_are_told_before_the_machine_may_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with taking_posts() as posts:
        words = ["--notify", f"{posts.url}/hook"]

        def tell(*how: object) -> None:
            assert len(posts.taken) == 1

        monkeypatch.setattr(orchestrator.run.on_done, "tell", tell)
        ended(monkeypatch, tmp_path, MachineError("no GPU"), *words)
    told = json.loads(posts.taken[0][2])
    assert (told["event"], told["exit_status"], told["reason"]) == ("run-ended", 3, "machine")
    assert told["text"] == "out: ended by an error: the machine cannot do it"


def test_nobody_elsewhere_is_told_of_a_run_that_was_never_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with taking_posts() as posts:
        words = ["--notify", f"{posts.url}/hook"]
        ended(monkeypatch, tmp_path, SettingsError("another run is using it"), *words)
        shutil.rmtree(tmp_path / "out")
        ended(monkeypatch, tmp_path, MachineError("no GPU"), *words, "--dry-run")
    assert posts.taken == []


def test_its_own_trouble_is_said(tmp_path: Path) -> None:
    assert tell("exit 0", 0, tmp_path) is None
    assert tell("exit 3", 0, tmp_path) == "it failed (exit status 3)"
    assert tell("sleep 60", 0, tmp_path, 0.05) == "it took longer than 0 s and was ended"
