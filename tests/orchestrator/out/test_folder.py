"""OUT as it may be found: held by another run, read-only, linked elsewhere, full of old drafts."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.out.folder import OutFolder
from pipeline.errors import DiskError, MachineError, SettingsError
from tests.mounts import small_disk

HOLDS = """
import sys
from pathlib import Path
from orchestrator.out.folder import OutFolder
out = OutFolder(Path(sys.argv[1]))
out.create()
with out.locked():
    print("held", flush=True)
    sys.stdin.read()
"""

RUNS = (sys.executable, "-m", "orchestrator.cli", "run")


@pytest.fixture
def out(tmp_path: Path) -> OutFolder:
    out = OutFolder(tmp_path / "out")
    out.create()
    return out


@pytest.fixture
def holder(out: OutFolder) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(out.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def run(*arguments: str, command: tuple[str, ...] = RUNS) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def refused(done: subprocess.CompletedProcess[str], words: str, status: int = 2) -> None:
    """One line that says what is wrong, and one of advice."""
    assert done.returncode == status
    assert "Traceback" not in done.stderr + done.stdout
    [error] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert words in error


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "noise.mp4").write_bytes(b"noise")
    return folder


def test_a_second_run_is_refused_and_the_lock_ends_with_the_first(
    out: OutFolder, holder: subprocess.Popen[str], videos: Path
) -> None:
    refused(run(str(videos), "-o", str(out.path)), f"another run (process {holder.pid})")
    assert out.in_use()
    holder.kill()
    holder.wait()
    assert (out.state / "lock").read_text() == f"{holder.pid}\n"  # stale, and means nothing
    assert not out.in_use()
    done = run(str(videos), "-o", str(out.path))
    assert done.returncode == 1, done.stderr
    assert "noise.mp4" in done.stdout


def test_a_run_through_another_path_is_the_same_run(
    out: OutFolder, holder: subprocess.Popen[str], videos: Path, tmp_path: Path
) -> None:
    (tmp_path / "alias").symlink_to(out.path)
    refused(run(str(videos), "-o", str(tmp_path / "alias")), f"another run (process {holder.pid})")


@pytest.mark.parametrize("name", ["", ".vrmatte", ".vrmatte/work"])
def test_a_file_in_the_place_of_a_folder_is_named(name: str, tmp_path: Path, videos: Path) -> None:
    place = tmp_path / "out" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("a file")
    done = run(str(videos), "-o", str(tmp_path / "out"))
    refused(done, f"cannot write to the output folder {tmp_path / 'out'}: ")
    assert place.read_text() == "a file"


@pytest.mark.parametrize("name", ["", "work", "logs", "probed", "journal.jsonl", "lock"])
def test_what_leads_out_of_the_folder_is_refused(name: str, tmp_path: Path, videos: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "out/.vrmatte" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere / "journal.jsonl" if "." in name else elsewhere)
    done = run(str(videos), "-o", str(tmp_path / "out"))
    refused(done, str(tmp_path / "out"))
    assert list(elsewhere.iterdir()) == []


def test_a_read_only_folder_is_refused(tmp_path: Path, videos: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    with small_disk(place, "10m") as disk:
        (disk.seen / "out/.vrmatte/work").mkdir(parents=True)
        disk.remount("ro")
        for name in ("out", "new"):
            command = tuple(disk.command(RUNS))
            done = run(str(videos), "-o", str(place / name), command=command)
            refused(done, f"the output folder {place / name}: Read-only file system")


def test_a_folder_without_permission_is_refused(
    out: OutFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def open_(path: Path, *arguments: int, **options: int) -> int:
        if Path(path).name == "lock":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", open_)  # root may do everything
    with pytest.raises(SettingsError, match="Permission denied"), out.locked():
        pass


def test_a_file_system_without_locks_is_refused(
    out: OutFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(MachineError, match="cannot be locked"), out.locked():
        pass


def test_the_lock_is_held_though_the_disk_is_full(tmp_path: Path) -> None:
    script = HOLDS.replace("out.create()", "out.create(); (out.path / 'filler').touch()").replace(
        "with out.locked():", "import os; os.system(f'cat /dev/zero > {out.path}/filler 2>&-')\n"
        "with out.locked():"
    )  # fmt: skip
    with small_disk(tmp_path, "1m") as disk:
        command = disk.command([sys.executable, "-c", script, str(tmp_path)])
        done = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "held\n", "")


def test_a_disk_without_room_for_folders_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "mkdir", no_room)
    with pytest.raises(DiskError, match="no room left"):
        OutFolder(tmp_path / "out").create()


def test_a_disk_without_room_for_a_lock_is_told(
    out: OutFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", no_room)
    with pytest.raises(DiskError, match="no room left"), out.locked():
        pass


def no_room(*arguments: object, **options: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_cannot_be_forgotten_is_told(out: OutFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    (out.work / "0123456789abcdef").mkdir()

    def read_only(*arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "rmdir", read_only)
    with pytest.raises(DiskError, match="is read-only"):
        out.forget("0123456789abcdef", None)


def test_one_video_is_forgotten_and_no_other(out: OutFolder) -> None:
    asked, other = "0123456789abcdef", "fedcba9876543210"
    for video in (asked, other):
        (out.work / video / "settings").mkdir(parents=True)
    notes = [folder / f"{v}-x.json" for folder in (out.scales, out.models) for v in (asked, other)]
    for note in notes:
        note.parent.mkdir(exist_ok=True)
        note.write_bytes(b"{}")
    out.forget(asked, asked * 4)
    assert [path.name for path in out.work.iterdir()] == [other]
    assert [note.exists() for note in notes] == [False, True] * 2
    out.forget("../../elsewhere", None)


def test_what_is_damaged_is_kept_under_a_name_of_its_own(out: OutFolder) -> None:
    for content in (b"one", b"two"):
        out.ledger.write_bytes(content)
        out.set_aside(out.ledger)
    kept = sorted(out.state.glob("videos.json*"))
    assert [path.name for path in kept] == ["videos.json.damaged", "videos.json.damaged-2"]
    assert [path.read_bytes() for path in kept] == [b"one", b"two"]


def test_drafts_are_swept_and_nothing_else(out: OutFolder, tmp_path: Path) -> None:
    video = out.work / "0123456789abcdef"
    settings = video / "fedcba9876543210"
    settings.mkdir(parents=True)
    (out.state / "probed").mkdir()
    drafts = [
        settings / ".webm-000001.webm.part",
        settings / ".joined-webm.webm.part",
        settings / ".joined-webm.webm.part.txt",
        settings / ".prepared.123-0.part",
        video / ".index.json.77.part",
        out.state / "probed" / ".0123456789abcdef-v1.json.5.part",
        out.state / ".run.yaml.5.part",
        out.path / ".report.json.5.part",
        out.path / ".report.html.5.part",
    ]
    kept = [
        settings / "webm-000000.webm",
        settings / "prepared-matting.pt",
        video / "index.json",
        out.state / "probed" / "0123456789abcdef-v1.json",
        out.journal,
        out.path / ".mine.part",
        out.path / "talk_matte.webm",
        out.work / "notes" / ".mine.part",
    ]
    for path in [*drafts, *kept]:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".a.part").write_bytes(b"x")
    (video / "linked").symlink_to(outside)
    out.sweep_drafts()
    assert [path for path in drafts if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []
    assert (outside / ".a.part").exists()
