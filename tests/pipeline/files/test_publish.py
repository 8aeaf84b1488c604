"""What the disk does to files on their way to their names: errors, order, small and full disks."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DiskError, EncodeError, OutputError
from pipeline.files import publish as module
from pipeline.files.disk import disk_error, force_folder, refusal, write_file
from pipeline.files.publish import file_digest, publish
from tests.mounts import small_disk

FAULTS = {
    errno.ENOSPC: "no room left for",
    errno.EDQUOT: "the quota is used up for",
    errno.EROFS: "is read-only",
    errno.EIO: "Input/output error",
    errno.ENOENT: "is gone",
    errno.ESTALE: "is gone",
    errno.EXDEV: "lies on another disk",
    errno.EACCES: "Permission denied",
}


@pytest.mark.parametrize("number", FAULTS)
def test_every_fault_of_the_disk_is_told_in_a_line_with_advice(number: int) -> None:
    told = disk_error(OSError(number, os.strerror(number)), Path("/out/a.webm"))
    assert isinstance(told, DiskError)
    assert FAULTS[number] in told.message
    assert "/out" in told.message
    assert told.advice
    assert "\n" not in str(told)


def test_a_file_too_large_for_its_disk_costs_only_itself() -> None:
    told = disk_error(OSError(errno.EFBIG, "File too large"), Path("/out/a.webm"))
    assert isinstance(told, EncodeError)
    assert "FAT32" in told.advice


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_fault_on_the_way_leaves_what_was_there(
    call: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft, target = tmp_path / ".a.part", tmp_path / "a.webm"
    draft.write_bytes(b"new")
    target.write_bytes(b"old")

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(DiskError):
        publish(draft, target)
    assert target.read_bytes() == b"old"


def test_a_file_is_forced_before_its_name_and_its_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        done.append(("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        fsync(descriptor)

    def record_replace(source: Path, target: Path) -> None:
        done.append(("rename", str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    draft, target = tmp_path / ".a.part", tmp_path / "day 2" / "evening" / "a.webm"
    draft.write_bytes(b"whole")
    publish(draft, target)
    order = [done.index(("fsync", str(draft))), done.index(("rename", str(target)))]
    assert order == sorted(order)
    after = done[order[1] :]
    for folder in (target.parent, target.parent.parent, tmp_path):
        assert ("fsync", str(folder)) in after
    assert target.read_bytes() == b"whole"


def test_a_file_system_without_fsync_of_folders_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def no_folders(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", no_folders)
    force_folder(tmp_path)
    write_file(tmp_path / "a.json", b"{}")
    assert (tmp_path / "a.json").read_bytes() == b"{}"


def test_a_small_file_is_whole_or_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "run.yaml"
    write_file(target, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match=r"no room left for .*run\.yaml"):
        write_file(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_a_folder_that_takes_files_has_nothing_to_say(tmp_path: Path) -> None:
    assert refusal(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    missing = refusal(tmp_path / "gone")
    assert missing is not None
    assert missing.errno == errno.ENOENT


def test_a_digest_tells_a_flipped_bit(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\0" * 10000)
    before = file_digest(path)
    assert before == hashlib.sha256(b"\0" * 10000).hexdigest()
    path.write_bytes(b"\0" * 9999 + b"\1")
    assert file_digest(path) != before


def no_such_rename(source: Path, target: Path) -> None:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def no_links(*names: object, **options: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


#: File systems, by what they lack.
FILE_SYSTEMS: dict[str, tuple[tuple[Any, str, Callable[..., None]], ...]] = {
    "all": (),
    "a rename that replaces nothing": ((module, "_rename_noreplace", no_such_rename),),
    "that and hard links": (
        (module, "_rename_noreplace", no_such_rename),
        (os, "link", no_links),
    ),
}


IN_THE_WAY: tuple[Callable[[Path], object], ...] = (
    lambda path: path.write_bytes(b"theirs"),
    lambda path: path.mkdir(),
    lambda path: path.symlink_to("gone"),
)


@pytest.mark.parametrize("lacks", FILE_SYSTEMS)
def test_a_name_that_is_taken_is_left_alone_and_the_draft_is_kept(
    lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name, double in FILE_SYSTEMS[lacks]:
        monkeypatch.setattr(place, name, double)
    draft, target = tmp_path / ".a.part", tmp_path / "new" / "a.webm"
    draft.write_bytes(b"ours")
    publish(draft, target, replace=False)
    assert target.read_bytes() == b"ours"
    assert not draft.exists()
    for number, make in enumerate(IN_THE_WAY):
        draft.write_bytes(b"ours")
        target = tmp_path / f"{number}.webm"
        make(target)
        before = (target.is_dir(), target.is_symlink(), target.stat(follow_symlinks=False).st_size)
        with pytest.raises(FileExistsError):
            publish(draft, target, replace=False)
        after = (target.is_dir(), target.is_symlink(), target.stat(follow_symlinks=False).st_size)
        assert before == after
        assert draft.read_bytes() == b"ours"


ONE_PATH = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV, errno.EISDIR, errno.ENOTDIR),
    *(errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG),
)


@pytest.mark.parametrize("number", ONE_PATH)
def test_what_is_wrong_with_one_path_is_not_the_disks_fault_while_out_takes_files(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out/.vrmatte").mkdir(parents=True)
    error = OSError(number, os.strerror(number))
    paths = ("day 2/talk.webm", "talk.webm", ".vrmatte/work/1/2/webm-000000.webm", "x" * 300 + "/a")
    for path in paths:
        told = disk_error(error, tmp_path / "out" / path)
        assert isinstance(told, OutputError)
        assert told.kind == "output"
        assert path in told.message
        assert "\n" not in str(told)
    assert list((tmp_path / "out/.vrmatte").iterdir()) == []
    read_only = OSError(errno.EROFS, os.strerror(errno.EROFS))
    monkeypatch.setattr("pipeline.files.disk.refusal", lambda folder: read_only)
    assert disk_error(error, tmp_path / "out/talk.webm").kind == "disk"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE])
def test_what_all_would_meet_is_the_disks_fault(number: int, tmp_path: Path) -> None:
    (tmp_path / ".vrmatte").mkdir()
    assert disk_error(OSError(number, os.strerror(number)), tmp_path / "talk.webm").kind == "disk"


def test_a_name_that_cannot_be_is_told_of_one_file(tmp_path: Path) -> None:
    """By the real system, as root may do everything else."""
    (tmp_path / ".vrmatte").mkdir()
    draft = tmp_path / ".a.part"
    draft.write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "nowhere").symlink_to("gone/too")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder.webm").mkdir()
    for name in ("file/a.webm", "nowhere/a.webm", "loop/a.webm", "x" * 300, "folder.webm"):
        with pytest.raises(OutputError):
            publish(draft, tmp_path / name)
        assert draft.read_bytes() == b"x"


ENCODES = """
import sys, torch
from pipeline.encode.ffmpeg_pipe import PipeEncoder, ffmpeg_command
from pipeline.errors import VrmatteError
raw = ("-f", "rawvideo", "-pix_fmt", "gray", "-video_size", "256x256", "-i", "pipe:0")
encoder = PipeEncoder(ffmpeg_command(*raw, "-f", sys.argv[2], f"file:{sys.argv[1]}/.x.part"))
try:
    for _ in range(int(sys.argv[3])):
        encoder.write(torch.randint(0, 256, (4, 256 * 256), dtype=torch.uint8))
    encoder.close()
except VrmatteError as error:
    encoder.abort()
    print(error.kind, error)
"""

JOINS = """
import sys
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.errors import VrmatteError
noise = ("-f", "lavfi", "-i", "nullsrc=s=256x256:d=4,geq=random(1)*255:128:128")
command = ffmpeg_command(*noise, "-c:v", "rawvideo", "-f", "nut", f"file:{sys.argv[1]}/.x.part")
try:
    run_ffmpeg(command)
except VrmatteError as error:
    print(error.kind, error)
"""


def say(disk: Path, command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(disk) in done.stdout or not done.stdout
    return done.stdout


@pytest.mark.parametrize(
    ("form", "batches"),
    # rawvideo fails in the middle, through the pipe; matroska with little more than the disk holds
    # may fail when the file is closed.
    [("rawvideo", 200), ("matroska", 200), ("rawvideo", 5)],
)
def test_an_encoder_on_a_full_disk_is_the_disks_fault(
    form: str, batches: int, tmp_path: Path
) -> None:
    with small_disk(tmp_path, "1m") as disk:
        command = [sys.executable, "-c", ENCODES, str(tmp_path), form, str(batches)]
        said = say(tmp_path, disk.command(command))
    assert said.startswith("disk no room left for ")


def test_an_encoder_that_may_not_write_so_large_a_file_costs_only_that_file(tmp_path: Path) -> None:
    program = [sys.executable, "-c", ENCODES, str(tmp_path), "rawvideo", "50"]
    said = say(tmp_path, ["sh", "-c", 'ulimit -f 1000; exec "$@"', "sh", *program])
    assert said.startswith("encode ")
    assert "larger than its disk lets a file be" in said


def test_ffmpeg_on_a_full_disk_is_the_disks_fault(tmp_path: Path) -> None:
    with small_disk(tmp_path, "1m") as disk:
        said = say(tmp_path, disk.command([sys.executable, "-c", JOINS, str(tmp_path)]))
    assert said.startswith("disk no room left for ")


def test_an_encoder_on_a_disk_that_is_read_only_now(tmp_path: Path) -> None:
    with small_disk(tmp_path, "50m") as disk:
        disk.remount("ro")
        command = [sys.executable, "-c", ENCODES, str(tmp_path), "rawvideo", "50"]
        said = say(tmp_path, disk.command(command))
    assert said.startswith("disk the disk of ")
    assert "read-only" in said


def test_an_encoder_whose_folder_is_gone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENCODES, str(tmp_path / "gone"), "rawvideo", "50"]
    said = say(tmp_path, command)
    assert said.startswith("disk the folder of ")
    assert "is gone" in said
