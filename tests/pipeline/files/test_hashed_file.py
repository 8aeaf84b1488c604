"""A file that is read in any order has the digest of the whole, and gives what it holds."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from random import Random

import pytest

from pipeline.files import hashed_file
from pipeline.files.hashed_file import HashedFile


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_read_is_right_and_so_is_the_digest(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashed_file, "_GAP_BYTES", 50)
    random = Random(seed)
    content = random.randbytes(1000)
    path = tmp_path / "file"
    path.write_bytes(content)
    plain = io.BytesIO(content)
    with HashedFile(path) as file:
        for _ in range(random.randrange(40)):
            if random.random() < 0.4:
                whence = random.choice([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])
                offset = random.randrange(0, 1000) - (0 if whence == os.SEEK_SET else 500)
                offset = max(
                    offset, {os.SEEK_CUR: -plain.tell(), os.SEEK_END: -1000}.get(whence, 0)
                )
                assert file.seek(offset, whence) == plain.seek(offset, whence)
            elif random.random() < 0.5:
                size = random.randrange(-1, 200)
                assert file.read(size) == plain.read(size)
            else:
                buffers = bytearray(100), bytearray(100)
                assert file.readinto(memoryview(buffers[0])) == plain.readinto(buffers[1])
                assert buffers[0] == buffers[1]
            assert file.tell() == plain.tell()
        for _ in range(2):
            assert file.digest() == hashlib.sha256(content).hexdigest()


def test_a_file_read_in_order_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 40)
    with HashedFile(path) as file:
        file.seek(-100, os.SEEK_END)  # an index at the end is looked at first
        file.read(100)
        file.seek(0)
        while file.read(1000):
            pass
        assert file._hashed == path.stat().st_size
        monkeypatch.setattr(file, "_file", None)  # nothing more is read of it
        monkeypatch.setattr(file, "_size", lambda: file._hashed)
        assert file.digest() == hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.undo()
