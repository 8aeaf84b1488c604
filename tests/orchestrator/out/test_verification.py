"""`vrmatte verify`: a finished file is as when it was made, or is named."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli import main
from orchestrator.fleet.journal_entries import VideoDone
from orchestrator.gates.checks import CheckFailed
from orchestrator.gates.production import Finished, all_unchanged
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import Journal
from pipeline.contract import OutputFile
from pipeline.files.publish import file_digest

#: The least that a record of a run holds.
RECORD = {"fingerprint": "f" * 16, "started": "2026-01-02", "videos": [], "set_aside": []}
NAMES = ("a.webm", "day 2/b.webm", "day 2/c.webm")


@pytest.fixture
def out(tmp_path: Path) -> OutFolder:
    """Three finished files; an earlier version made the last."""
    folder = OutFolder(tmp_path / "out")
    folder.create()
    folder.write_run_file(RECORD)
    with closing(Journal.open(folder.journal)) as journal:
        for number, name in enumerate(NAMES):
            path = folder.path / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes([number]) * 10_000)
            digest = "" if number == 2 else file_digest(path)
            file = OutputFile("webm", str(path), 10_000, 30, digest)
            journal.append(VideoDone(f"{number}", "s", (file,)))
    return folder


def verify(out: OutFolder) -> tuple[int, list[str]]:
    done = CliRunner().invoke(main, ["verify", str(out.path)])
    return done.exit_code, done.stdout.splitlines()


def test_whole_files_are_whole(out: OutFolder) -> None:
    status, lines = verify(out)
    assert status == 0
    assert lines[0] == "3 of 3 files as when they were made"
    assert lines[1].startswith("of 1 file only the size was compared")
    said = all_unchanged(Finished.open(out.path))
    assert said == "3 of 3 files as when they were made; of 1 only the size is known"


def test_each_file_that_differs_or_is_missing_is_named(out: OutFolder) -> None:
    path = out.path / NAMES[0]
    content = bytearray(path.read_bytes())
    content[3000:7000] = bytes(255 - byte for byte in content[3000:7000])  # of the same size
    path.write_bytes(content)
    (out.path / NAMES[1]).unlink()
    with (out.path / NAMES[2]).open("ab") as file:
        file.write(b"more")
    status, lines = verify(out)
    assert status == 1
    assert lines[:4] == [
        "a.webm has changed",
        "day 2/b.webm is not there",
        "day 2/c.webm has changed",
        "0 of 3 files as when they were made",
    ]
    with pytest.raises(CheckFailed, match=r"0 of 3 files .*: a\.webm has changed"):
        all_unchanged(Finished.open(out.path))


def test_a_moved_folder_is_verified_where_it_is(out: OutFolder, tmp_path: Path) -> None:
    new = OutFolder(tmp_path / "new")
    out.path.rename(new.path)
    assert verify(new)[0] == 0
    (new.path / NAMES[0]).write_bytes(b"x")
    assert verify(new) == (
        1,
        [
            "a.webm has changed",
            "2 of 3 files as when they were made",
            *verify(new)[1][2:],
        ],
    )


def test_a_file_that_cannot_be_read_is_named(
    out: OutFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad_sector(path: Path) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("orchestrator.out.verification.file_digest", bad_sector)
    status, lines = verify(out)
    assert status == 1
    assert lines[0] == "a.webm is unreadable: Input/output error"


def test_a_folder_in_which_nothing_is_done_is_told_so(tmp_path: Path) -> None:
    out = OutFolder(tmp_path / "out")
    assert verify(out)[0] == 2
    out.create()
    out.write_run_file(RECORD)
    done = CliRunner().invoke(main, ["verify", str(out.path)])
    assert done.exit_code == 2
    assert "no video is done in" in done.stderr
