"""Makes the n-th write, fsync, rename, spawn, send or ffmpeg of this process fail.

Files count that are in a watched folder; processes and lines are this process's, whatever for; a
worker that is a thread counts as a process. A write that fails leaves half of it, and a send has
lost its line, as a broken pipe has.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from orchestrator.backends.local import ThreadBackend
from pipeline.files import publish

#: What each kind may fail with: the errors that a person's machine really gives.
ERRNOS = {
    "open": (errno.EMFILE, errno.ENOSPC, errno.EIO),
    "write": (errno.ENOSPC, errno.EIO),
    "fsync": (errno.EIO, errno.ENOSPC),
    "rename": (errno.EIO, errno.ENOSPC),
    "spawn": (errno.EAGAIN, errno.EMFILE, errno.ENOMEM),
    "send": (errno.EPIPE,),
}

#: How an ffmpeg may end. `half` says that all went well.
FFMPEG_ENDS = ("at once", "status", "killed", "half")


@dataclass
class Fault:
    """The n-th operation of a kind fails, and all after it if it `stays`; counted from 1.

    Attributes:
        hits: how many operations failed.
    """

    kind: str
    number: int
    error: int = 0
    stays: bool = False
    seen: int = 0
    hits: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, kind: str) -> None:
        """Raises OSError when it is the turn of an operation of that kind to fail."""
        if kind != self.kind:
            return
        with self._lock:
            self.seen += 1
            if self.seen < self.number or (self.hits and not self.stays):
                return
            self.hits += 1
        raise OSError(self.error, os.strerror(self.error))


@contextmanager
def injected(fault: Fault, folder: Path) -> Iterator[None]:
    """Let `fault` happen to this process; files only count in `folder` or below."""
    with pytest.MonkeyPatch.context() as patch:
        opened = _opener(fault, str(folder))
        patch.setattr(builtins, "open", opened)
        patch.setattr(io, "open", opened)
        patch.setattr(os, "fsync", _fsync(fault, str(folder)))
        patch.setattr(os, "replace", _before(fault, "rename", os.replace))
        patch.setattr(os, "rename", _before(fault, "rename", os.rename))
        new = _before(fault, "rename", publish._rename_noreplace)
        patch.setattr(publish, "_rename_noreplace", new)
        patch.setattr(subprocess, "Popen", _popen(fault))
        launch = ThreadBackend.launch
        patch.setattr(ThreadBackend, "launch", _before(fault, "spawn", launch))
        patch.setattr(socket.socket, "sendall", _sendall(fault), raising=False)
        yield


def _fsync(fault: Fault, folder: str) -> Callable[[int], None]:
    real = os.fsync

    def failing(descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        if _place(number).startswith(folder):
            fault.check("fsync")
        real(descriptor)

    return failing


def _before(fault: Fault, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def failing(*arguments: Any, **options: Any) -> Any:
        fault.check(kind)
        return real(*arguments, **options)

    return failing


def _popen(fault: Fault) -> type[subprocess.Popen[Any]]:
    class FailingPopen(subprocess.Popen[Any]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self._child_created = False  # what __del__ asks for
            self.returncode = None
            fault.check("spawn")
            super().__init__(*arguments, **options)

    return FailingPopen


def _sendall(fault: Fault) -> Callable[..., None]:
    real = socket.socket.sendall

    def failing(line: socket.socket, message: bytes, flags: int = 0) -> None:
        try:
            fault.check("send")
        except OSError:
            real(line, message[: len(message) // 2], flags)
            line.shutdown(socket.SHUT_RDWR)
            raise
        real(line, message, flags)

    return failing


def _opener(fault: Fault, folder: str) -> Callable[..., Any]:
    real = io.open

    class FailingFile(io.FileIO):
        def write(self, data: Any) -> int:
            try:
                fault.check("write")
            except OSError:
                view = memoryview(data).cast("B")
                super().write(view[: len(view) // 2])
                raise
            return super().write(data)

    def opened(
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        if not set(mode) & set("wax+") or not _place(file).startswith(folder):
            return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if not isinstance(file, int):  # a descriptor has been opened before
            fault.check("open")
        raw = FailingFile(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, encoding, errors, newline, line_buffering=buffering == 1)

    return opened


def _place(file: Any) -> str:
    return (
        str(Path(f"/proc/self/fd/{file}").readlink()) if isinstance(file, int) else os.fspath(file)
    )


class FfmpegDouble:
    """Stands for ffmpeg and lets the n-th call end badly; calls are counted from 1.

    After ``--instead-of`` it stands for the program that is named there.

    Args:
        folder: where it keeps its program and its count.
        end: one of FFMPEG_ENDS.
    """

    def __init__(self, folder: Path, number: int, end: str) -> None:
        self.path = folder / "ffmpeg"
        self._calls = folder / "calls"
        self._calls.write_text("")
        real = imageio_ffmpeg.get_ffmpeg_exe()
        self.path.write_text(
            f"#!{sys.executable} -IS\n"
            f"calls, number, end, real = {str(self._calls)!r}, {number}, {end!r}, {real!r}\n"
            f"{_FFMPEG}"
        )
        self.path.chmod(0o755)

    @property
    def calls(self) -> int:
        return len(self._calls.read_text())


# Everything but "at once" is a call that did its work, of which then only half is there.
_FFMPEG = """
import os, subprocess, sys
command = sys.argv[2:] if sys.argv[1] == "--instead-of" else [real, *sys.argv[1:]]
with open(calls, "a") as file:
    file.write("x")
if os.path.getsize(calls) != number:
    os.execv(command[0], command)
if end == "at once":
    sys.stderr.write("ffmpeg: a double that gives up\\n")
    sys.exit(1)
status = subprocess.run(command).returncode
target = sys.argv[-1].removeprefix("file:")
os.truncate(target, os.path.getsize(target) // 2)
if end == "killed":
    os.kill(os.getpid(), 9)
sys.exit(1 if end == "status" else status)
"""
