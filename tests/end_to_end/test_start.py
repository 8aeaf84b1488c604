"""deploy/start.sh: a run that goes on by itself when its pod comes back."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Stands for `vrmatte`: notes how it was called, ends as it is told to.
DOUBLE = """#!/bin/sh
pwd > "$CALLS/folder"
for word in "$@"; do printf '%s\\0' "$word"; done > "$CALLS/words"
exit "$(cat "$CALLS/status")"
"""


class Pod:
    """A volume that stays, and a machine that comes and goes."""

    def __init__(self, folder: Path) -> None:
        self.volume = folder / "work space"
        self.calls = folder / "calls"
        self.program = folder / "app/deploy/start.sh"
        for place in (self.volume, self.calls, self.program.parent, folder / "app/.venv/bin"):
            place.mkdir(parents=True)
        self.program.write_bytes((ROOT / "deploy/start.sh").read_bytes())
        double = folder / "app/.venv/bin/vrmatte"
        double.write_text(DOUBLE)
        for path in (self.program, double):
            path.chmod(0o755)

    def start(self, *words: str, ends: int = 0, here: Path | None = None) -> int:
        (self.calls / "status").write_text(str(ends))
        (self.calls / "words").unlink(missing_ok=True)
        told = {"VRMATTE_VOLUME": str(self.volume), "CALLS": str(self.calls)}
        done = subprocess.run(
            [self.program, *words], cwd=here or self.volume, env=os.environ | told, check=False
        )
        return done.returncode

    def called(self) -> list[str] | None:
        """The words that `vrmatte` was called with by the last start; None: it was not."""
        path = self.calls / "words"
        return path.read_text().split("\0")[:-1] if path.exists() else None


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


WORDS = ("a folder", "-o", "out", "--on-done", 'echo "$VRMATTE_STATUS"\n')


def test_the_command_is_run_word_by_word_in_its_folder(pod: Pod) -> None:
    assert pod.start(*WORDS) == 0
    assert pod.called() == ["run", *WORDS]
    assert (pod.calls / "folder").read_text() == f"{pod.volume}\n"


@pytest.mark.parametrize("status", [3, 130, 137])
def test_what_did_not_end_by_itself_goes_on(pod: Pod, tmp_path: Path, status: int) -> None:
    assert pod.start(*WORDS, ends=status) == status
    assert pod.start(here=tmp_path) == 0
    assert pod.called() == ["run", *WORDS]
    assert (pod.calls / "folder").read_text() == f"{pod.volume}\n"


@pytest.mark.parametrize("status", [0, 1, 2])
def test_what_ended_is_not_begun_again(pod: Pod, status: int) -> None:
    assert pod.start(*WORDS, ends=status) == status
    assert pod.start() == 0
    assert pod.called() is None


def test_it_can_be_forgotten(pod: Pod) -> None:
    pod.start(*WORDS, ends=130)
    pod.start("--forget")
    assert pod.start() == 0
    assert pod.called() is None


def test_while_the_noted_run_goes_on_no_other_takes_its_note(
    pod: Pod, capfd: pytest.CaptureFixture[str]
) -> None:
    pod.start(*WORDS, ends=130)
    with (pod.volume / ".vrmatte-start/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as the script does that is still there
        for words in (("others", "-o", "elsewhere"), ()):
            assert pod.start(*words) == 2
            assert pod.called() is None
            assert "goes on: wait for it" in capfd.readouterr().err
    assert pod.start() == 0
    assert pod.called() == ["run", *WORDS]


def test_without_vrmatte_it_says_so_and_keeps_the_note(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (pod.program.parents[1] / ".venv/bin/vrmatte").unlink()
    assert pod.start(*WORDS) == 3
    assert capfd.readouterr().err == "start: vrmatte is not installed: make setup\n"
    assert (pod.volume / ".vrmatte-start/command").exists()


def test_without_its_volume_it_says_so(pod: Pod, capfd: pytest.CaptureFixture[str]) -> None:
    pod.volume.rmdir()
    assert pod.start(*WORDS, here=pod.calls) == 2
    assert "attach a volume" in capfd.readouterr().err


def test_the_image_is_made_of_what_is_there() -> None:
    lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
    told = [line.split() for line in lines if line and not line.startswith(("#", " "))]
    assert [words[1] for words in told if words[0] == "USER"] == ["vrmatte", "root"]
    for name in ("start.sh", "post_start.sh"):
        assert os.access(ROOT / "deploy" / name, os.X_OK)
        assert subprocess.run(["bash", "-n", ROOT / "deploy" / name], check=False).returncode == 0
    assert "/opt/vrmatte/deploy/post_start.sh" in "\n".join(lines)
    hidden = (ROOT / ".dockerignore").read_text().split()
    assert not {"deploy", "Makefile", "pyproject.toml", "orchestrator"} & set(hidden)


def test_the_template_says_what_the_start_needs() -> None:
    template = json.loads((ROOT / "deploy/runpod-template.json").read_text())
    assert template["volumeMountPath"] == "/workspace"
    assert "deploy/start.sh" in template["readme"]


def test_image_and_template_ask_for_the_drivers_video_libraries() -> None:
    """Without "video" a container has neither NVDEC nor NVENC, whichever card it has."""
    image = (ROOT / "deploy/Dockerfile").read_text()
    template = json.loads((ROOT / "deploy/runpod-template.json").read_text())
    name, wanted = "NVIDIA_DRIVER_CAPABILITIES", "compute,utility,video"
    assert f"ENV {name}={wanted}\n" in image
    assert template["env"][name] == wanted
