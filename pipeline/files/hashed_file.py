"""`HashedFile`: a file that another library reads in its own order, hashed on the way.

What is hashed are the very bytes that the reader was given, and the file is read once.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

#: A reader that skips so much at the most is followed: a gap is read for the digest alone. One that
#: goes further, as to an index at the end, is expected back.
_GAP_BYTES = 1 << 20


class HashedFile(io.RawIOBase):
    """A readable, seekable file; close it, or use it as a context.

    Raises (when made): OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.name = str(path)
        self._file = path.open("rb", buffering=0)
        self._hash = hashlib.sha256()
        self._hashed = 0  # so many bytes from the beginning on
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, all that follow if it is negative; none at the end."""
        if size < 0:
            size = max(0, self._size() - self._at)
        content = os.pread(self._file.fileno(), size, self._at)
        if self._hashed < self._at <= self._hashed + _GAP_BYTES:
            self._fill(self._at)
        fresh = self._at + len(content) - self._hashed
        if self._at <= self._hashed and fresh > 0:
            self._hash.update(memoryview(content)[len(content) - fresh :])
            self._hashed += fresh
        self._at += len(content)
        return content

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read some bytes into `buffer`; how many, 0 at the end."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begins = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size()}
        self._at = max(0, begins[whence] + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def digest(self) -> str:
        """sha256 of the whole file, hexadecimal; what no reader has asked for is read now.

        Raises:
            OSError: it cannot be read.
        """
        self._fill(self._size())
        return self._hash.copy().hexdigest()

    def close(self) -> None:
        self._file.close()
        super().close()

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def _fill(self, stop: int) -> None:
        while self._hashed < stop:
            wanted = min(_GAP_BYTES, stop - self._hashed)
            piece = os.pread(self._file.fileno(), wanted, self._hashed)
            if not piece:
                return
            self._hash.update(piece)
            self._hashed += len(piece)
