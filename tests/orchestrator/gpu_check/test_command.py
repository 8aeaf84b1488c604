"""What is typed: names of steps, and mistakes, which are one line and start nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orchestrator.gpu_check import __main__ as command
from orchestrator.gpu_check.catalogue import STEPS
from orchestrator.gpu_check.machine import Machine
from orchestrator.gpu_check.site import ROOT
from tests.orchestrator.gpu_check.step_doubles import ADA


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["gpu_check", *words])
    return command.run_main()


def test_the_script_lists_all_steps_and_begins_nothing(tmp_path: Path) -> None:
    script = ROOT / "deploy/gpu_check.sh"
    done = subprocess.run([script, "--list"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0].strip("+") or line.split()[1] for line in done.stdout.splitlines()] == [
        step.name for step in STEPS
    ]
    assert list(tmp_path.iterdir()) == []


def test_the_script_installs_nothing() -> None:
    lines = (ROOT / "deploy/gpu_check.sh").read_text().splitlines()
    commands = [line for line in lines if line.strip() and not line.startswith("#")]
    assert not [line for line in commands if "make" in line and "echo" not in line]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "error: there is no step 'nothing'\n--list names all\n"),
        (["--nope"], "error: No such option '--nope'.\n--help shows what there is\n"),
        (["--rehearse", "--out", "/dev/null/x"], "error: /dev/null/x cannot be written: "),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert typed(monkeypatch, *words) == 2
    assert capsys.readouterr().err.startswith(said)


def test_without_a_gpu_the_status_is_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "this_machine", lambda: Machine((), "", None, 2))
    assert typed(monkeypatch) == 3
    assert "there is no GPU here" in capsys.readouterr().err


def test_a_folder_of_clips_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "this_machine", lambda: ADA)
    monkeypatch.setenv(command.CLIPS, str(tmp_path / "none"))
    assert typed(monkeypatch, "--out", str(tmp_path / "out")) == 2
    assert "is no folder" in capsys.readouterr().err
