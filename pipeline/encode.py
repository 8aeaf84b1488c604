"""The last stage: planes of pixels -> a file, through a pipe to imageio-ffmpeg's ffmpeg.

It knows commands and bytes, not what is in them.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

from torch import Tensor

from pipeline.errors import EncodeError

_LAST_WORDS = 2000  # bytes of ffmpeg's own messages that an error carries
_CLOSE_TIMEOUT_S = 600.0


class Encoder(Protocol):
    """Writes one file; belongs to one thread."""

    def write(self, planes: Tensor) -> None:
        """Write frames, uint8 ``[T, bytes of a frame]`` on the host."""
        ...

    def close(self) -> None:
        """Finish the file. Raises EncodeError when it is not whole."""
        ...

    def abort(self) -> None:
        """Give up at once; the file is worthless. Never raises."""
        ...


def ffmpeg_path() -> str:
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def ffmpeg_command(*arguments: str) -> list[str]:
    """A call of ffmpeg that says only errors, asks nothing and writes nothing of the moment."""
    return [
        ffmpeg_path(),
        *("-hide_banner", "-nostdin", "-loglevel", "error", "-y"),
        *arguments,
    ]


class PipeEncoder:
    """ffmpeg reading raw frames from its standard input.

    If this process dies the pipe closes, and ffmpeg ends by itself.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._messages,
        )

    def write(self, planes: Tensor) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(planes.contiguous().numpy().data.cast("B"))
        except BrokenPipeError:
            self._process.wait(_CLOSE_TIMEOUT_S)
            self._close_pipe()
            raise self._failure() from None

    def close(self) -> None:
        self._close_pipe()
        if self._process.wait(_CLOSE_TIMEOUT_S) != 0:
            raise self._failure()
        self._messages.close()

    def abort(self) -> None:
        self._process.kill()
        self._process.wait()
        self._close_pipe()
        self._messages.close()

    def _close_pipe(self) -> None:
        assert self._process.stdin is not None
        # Closing writes what is buffered; whether it arrived is told by the exit status.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _failure(self) -> EncodeError:
        self._messages.seek(0, 2)
        self._messages.seek(max(0, self._messages.tell() - _LAST_WORDS))
        words = self._messages.read()
        self._messages.close()
        return _failure(self._command, self._process.returncode, words)


def run_ffmpeg(command: Sequence[str], *, cwd: Path | None = None) -> None:
    """Run ffmpeg to its end. Raises EncodeError with its exit status and last words."""
    done = subprocess.run(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0:
        raise _failure(command, done.returncode, done.stderr[-_LAST_WORDS:])


def _failure(command: Sequence[str], status: int, words: bytes) -> EncodeError:
    lines = [line for line in words.decode(errors="replace").splitlines() if line.strip()]
    said = lines[-1][:300] if lines else "no message"
    error = EncodeError(f"ffmpeg ended with status {status}: {said}")
    error.add_note("command: " + " ".join(command))
    error.add_note("messages: " + "\n".join(lines))
    return error
