"""Encodes planes of pixels to a file, through a pipe to imageio-ffmpeg's ffmpeg.

It knows commands and bytes, not what is in them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from pipeline.encode.ffmpeg_cause import cause_of
from pipeline.encode.nvenc_library import is_session_refused, nvenc_cause
from pipeline.encode.pipe_size import widened
from pipeline.encode.raw_pictures import RawPictures
from pipeline.errors import EncodeError, SessionRefused, VrmatteError
from pipeline.files.child import own_environment, tied
from pipeline.files.child_failure import ChildFailure
from pipeline.files.disk import disk_error, refusal

if TYPE_CHECKING:  # the process that leads a run asks for encoders, and loads no torch
    from torch import Tensor

_CLOSE_TIMEOUT_S = 600.0

#: Of what ffmpeg says so much is kept at the most; it has a line for every damaged packet.
_KEPT_BYTES = 8192
_LINE_BYTES = 4096

#: ffmpeg can only mean the file that it writes: it says them last, and ends with their number.
_DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


class Encoder(Protocol):
    """Writes one file; belongs to one thread."""

    def write(self, planes: Tensor) -> None:
        """Write frames, uint8 ``[T, bytes of a frame]`` on the host."""
        ...

    def close(self) -> None:
        """Finish the file.

        Raises:
            EncodeError: it is not whole.
            DiskError: its disk is full, or cannot be written any more.
        """
        ...

    def abort(self) -> None:
        """Give up at once; the file is worthless. Never raises."""
        ...


def ffmpeg_path() -> str:
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def ffmpeg_command(*arguments: str) -> list[str]:
    """A call of ffmpeg that says only errors, asks nothing and writes nothing of the moment.

    Args:
        arguments: the last one names the file that is written.
    """
    return [
        ffmpeg_path(),
        *("-hide_banner", "-nostdin", "-loglevel", "error", "-y"),
        *arguments,
    ]


def raw_command(
    pictures: RawPictures, options: Sequence[str], container: str, path: str
) -> list[str]:
    """See `pipeline.encode.raw_pictures.RawCommand`."""
    width, height = pictures.size
    return ffmpeg_command(
        *("-f", "rawvideo", "-pix_fmt", pictures.pixel_format),
        *("-video_size", f"{width}x{height}"),
        *("-framerate", str(pictures.rate), *pictures.colours, "-i", "pipe:0"),
        *("-an", *options, *pictures.colours, "-f", container, f"file:{path}"),
    )


class PipeEncoder:
    """ffmpeg reading raw frames from its standard input; it ends with the thread that made this.

    Args:
        command: see `ffmpeg_command`.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        # In memory: a full disk must not take away the words that say so.
        self._messages = open(os.memfd_create("ffmpeg"), "w+b")  # noqa: PTH123, SIM115
        try:
            self._process = subprocess.Popen(
                tied(self._command),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._messages,
                env=own_environment(),  # an encoder may be a module of ours, as VP9's with alpha is
            )
        except OSError as error:
            self._messages.close()
            raise _not_started(error) from error
        assert self._process.stdin is not None
        widened(self._process.stdin)

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

    def _failure(self) -> VrmatteError:
        failure = ChildFailure.of(self._command, self._process.returncode, self._messages)
        self._messages.close()
        return _error(failure)


def run_ffmpeg(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    on_message: Callable[[str], object] = lambda line: None,
) -> None:
    """Run ffmpeg to its end.

    Args:
        command: see `ffmpeg_command`.
        on_message: called with each line that it says.

    Raises:
        EncodeError: ffmpeg failed.
        DiskError: the disk of the file is full, or cannot be written any more.
    """
    try:
        process = subprocess.Popen(
            tied(command),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        if cwd is not None and not cwd.is_dir():
            raise disk_error(error, cwd / _written(command)) from error
        raise _not_started(error) from error
    assert process.stderr is not None
    with process:
        try:
            messages = _read_messages(process.stderr, on_message)
            status = process.wait()
        except BaseException:
            process.kill()
            raise
    if status != 0:
        raise _error(ChildFailure.of(command, status, messages), cwd)


def _read_messages(stderr: IO[bytes], on_message: Callable[[str], object]) -> bytes:
    """The end of what is said."""
    kept = bytearray()
    while line := stderr.readline(_LINE_BYTES):
        on_message(line.decode(errors="replace").rstrip())
        kept += line
        if len(kept) > 2 * _KEPT_BYTES:
            del kept[:-_KEPT_BYTES]
    return bytes(kept)


def _not_started(error: OSError) -> EncodeError:
    return EncodeError(
        f"ffmpeg cannot be started: {error.strerror or error}", "use fewer workers or lanes"
    )


def _written(command: Sequence[str]) -> Path:
    return Path(command[-1].removeprefix("file:"))


def _error(failure: ChildFailure, cwd: Path | None = None) -> VrmatteError:
    """What a failure of ffmpeg means: a DiskError if the disk is the cause."""
    target = (cwd or Path()) / _written(failure.command)
    if (trouble := _disk_trouble(target, failure)) is not None:
        return failure.noted(disk_error(trouble, target))
    cause = nvenc_cause(failure.messages)
    if is_session_refused(cause):
        return failure.noted(SessionRefused.of(cause))
    cause = cause or cause_of(failure.messages)
    return failure.noted(EncodeError(failure.sentence("ffmpeg failed", cause)))


def _disk_trouble(target: Path, failure: ChildFailure) -> OSError | None:
    """The disk's error behind a failure of ffmpeg, or None."""
    for number in _DISK_ERRNOS:
        # ffmpeg's exit status is the lowest byte of the negative number.
        if failure.status == -number & 0xFF or os.strerror(number) in failure.messages:
            return OSError(number, os.strerror(number))
    # "Input/output error", "No such file": they may speak of the source. Ask the disk itself.
    return refusal(target.parent)
