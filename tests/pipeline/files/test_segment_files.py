"""Where a segment's files are written, and how they get to their names."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DiskError, EncodeError
from pipeline.files.disk import disk_error
from pipeline.files.segment_files import commit, segment_drafts

CONTENT = os.urandom(3_000_001)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """One life's folder in a local folder."""
    folder = tmp_path / "nvme" / "vrmatte-pod-1-0badcafe-w0-1-0123abcd"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work" / "webm-000000.webm"


def made(target: Path, scratch: Path | None) -> str:
    """What becomes of a file that is written as a segment is."""
    with segment_drafts([target], scratch) as [draft]:
        draft.write_bytes(CONTENT)
        assert not target.exists()
        return commit(draft, target)


@pytest.mark.parametrize("with_scratch", [False, True])
def test_a_file_is_whole_and_nothing_else_is_left(
    with_scratch: bool, target: Path, scratch: Path
) -> None:
    target.with_name(f".{target.name}.part").write_bytes(b"what a killed one left")
    assert made(target, scratch if with_scratch else None) == hashlib.sha256(CONTENT).hexdigest()
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("with_scratch", [False, True])
def test_of_one_that_fails_nothing_is_left(with_scratch: bool, target: Path, scratch: Path) -> None:
    def fail() -> None:
        with segment_drafts([target], scratch if with_scratch else None) as [draft]:
            draft.write_bytes(CONTENT)
            raise EncodeError("it is not whole")

    with pytest.raises(EncodeError, match="not whole"):
        fail()
    assert list(target.parent.iterdir()) == []
    assert list(scratch.iterdir()) == []


def test_two_segments_of_one_name_do_not_meet_in_scratch(tmp_path: Path, scratch: Path) -> None:
    """Of two videos: their work folders differ, their files' names do not."""
    targets = [tmp_path / name / "webm-000000.webm" for name in ("a", "b")]
    with segment_drafts(targets[:1], scratch) as [a], segment_drafts(targets[1:], scratch) as [b]:
        assert a != b


class Meddling:
    """`open` for which a write of that name goes wrong: with an error, or by one flipped bit."""

    def __init__(self, name: str, error: int | None) -> None:
        self._name = name
        self._error = error

    def __call__(self, file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if "w" not in mode or Path(file).name != self._name:
            return REAL_OPEN(file, mode, *rest, **options)
        error = self._error

        class Meddled(io.FileIO):
            def write(self, data: Any) -> int:
                if error is not None:
                    raise OSError(error, os.strerror(error))
                return super().write(bytes(data[:-1]) + bytes([data[-1] ^ 1]))

        return Meddled(file, "w")


REAL_OPEN = io.open


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (None, EncodeError, "is not what was copied there"),
        (errno.ENOSPC, DiskError, "no room left for .*work"),
        (errno.EIO, DiskError, "cannot write .*work"),
    ],
)
def test_a_copy_that_goes_wrong_gets_no_name_and_is_outs_fault(
    error: int | None,
    raised: type[Exception],
    words: str,
    target: Path,
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with segment_drafts([target], scratch) as [draft]:
        draft.write_bytes(CONTENT)
        monkeypatch.setattr(io, "open", Meddling(f".{target.name}.part", error))
        with pytest.raises(raised, match=words):
            commit(draft, target)
        monkeypatch.undo()
    assert list(target.parent.iterdir()) == []
    assert list(scratch.iterdir()) == []


def test_a_draft_that_cannot_be_read_is_the_local_folders_fault(
    target: Path, scratch: Path
) -> None:
    with (
        pytest.raises(DiskError, match=f"the local folder {scratch.parent}, or what was in it"),
        segment_drafts([target], scratch) as [draft],
    ):
        commit(draft, target)
    assert list(target.parent.iterdir()) == []


def test_a_copy_takes_no_more_memory_than_a_piece_of_it(target: Path, scratch: Path) -> None:
    size = 24 << 20
    with segment_drafts([target], scratch) as [draft]:
        draft.touch()
        os.truncate(draft, size)
        tracemalloc.start()
        try:
            commit(draft, target)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert target.stat().st_size == size
    assert peak < 4 << 20


@pytest.mark.parametrize(
    ("number", "words"),
    {
        errno.ENOSPC: "no room left in the local folder ",
        errno.EDQUOT: "the quota is used up in the local folder ",
        errno.EROFS: "the disk of the local folder .* is read-only",
        errno.EIO: "cannot use the local folder .*: Input/output error",
        errno.ENOENT: "the local folder .* is gone",
        errno.EACCES: "cannot use the local folder .*: Permission denied",
        errno.EFBIG: "larger than the disk of the local folder",
    }.items(),
)
def test_a_fault_of_the_scratch_disk_names_it_and_not_out(
    number: int, words: str, scratch: Path
) -> None:
    error = disk_error(OSError(number, os.strerror(number)), scratch / "x" / ".webm.part")
    assert isinstance(error, EncodeError if number == errno.EFBIG else DiskError)
    with pytest.raises(type(error), match=words):
        raise error
    assert str(scratch.parent) in error.message
    assert scratch.name not in error.message
    assert "output.local_folder" in error.advice
    assert "\n" not in str(error)
