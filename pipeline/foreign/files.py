"""Reads files that a person or another program may have written, within bounds.

Such a file may be anything: a pipe that never answers, a device without an end, a sparse file of
terabytes, text in another encoding. Whatever it is, reading it gives a value or an `Unreadable`.
The other modules of this folder do the same for what is in such files. Files whose content is
checked by a digest of ours go another way (`pipeline.files`).
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import TypeVar

from pipeline.errors import VrmatteError
from pipeline.text import printable

_Error = TypeVar("_Error", bound=VrmatteError)


class Unreadable(ValueError):
    """A file, or what is in it, cannot be used.

    Args:
        why: a sentence about the file without its subject: ``"is not a regular file"``.
        advice: what to do, or empty.
        line: of a text, from 1.
        missing: there is no such file.
    """

    def __init__(
        self, why: str, advice: str = "", line: int | None = None, *, missing: bool = False
    ) -> None:
        super().__init__(why)
        self.why = printable(why, 300)
        self.advice = advice
        self.line = line
        self.missing = missing

    def __str__(self) -> str:
        return self.why if self.line is None else f"line {self.line} {self.why}"

    def as_error(self, kind: type[_Error], what: object, advice: str = "") -> _Error:
        """The error for a person.

        Args:
            what: the file, as it is called.
            advice: where there is none of its own.
        """
        where = f"{what} {self.why}" if self.line is None else f"{what}, line {self.line}: this"
        if self.line is not None:
            where += f" {self.why}"
        return kind(where, self.advice or advice)


def open_regular(path: Path) -> io.BufferedReader:
    """A file that can be read without harm: no pipe, device, socket or folder.

    What is looked at is what was opened, so nothing can take its place in between.

    Raises:
        Unreadable: it is none, is not there, or may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        why = f"cannot be read: {error.strerror}"
        raise Unreadable(why, "check the path", missing=missing) from None
    except ValueError:  # a name that no file can have, such as one with a zero byte
        raise Unreadable(
            "cannot be read: no file has such a name", "check the path", missing=True
        ) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable("is not a regular file", "check the path")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """The content of a file of at most so many bytes.

    Raises:
        Unreadable: see `open_regular`; or it is longer, or cannot be read to its end.
    """
    with open_regular(path) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            content = b"" if size > most_bytes else file.read(most_bytes + 1)
        except OSError as error:
            raise Unreadable(f"cannot be read: {error.strerror}", "check its disk") from None
    if max(size, len(content)) > most_bytes:
        raise Unreadable(
            f"is too long: {_bytes_in_words(most_bytes)} are the most", "is it the right file?"
        )
    return content


def read_text(path: Path, most_bytes: int) -> str:
    """Text in UTF-8, without the byte order mark that some programs put before it.

    Raises:
        Unreadable: see `read_bytes`; or it is no such text, with the line.
    """
    return decoded(read_bytes(path, most_bytes))


def decoded(content: bytes) -> str:
    """Text in UTF-8, without a byte order mark. Raises Unreadable, with the line."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(
            "is not a text file in UTF-8",
            "save it as UTF-8",
            content[: error.start].count(b"\n") + 1,
        ) from None


def _bytes_in_words(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"
