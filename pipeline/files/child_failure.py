"""How a child process failed: its command, its exit status or signal, the end of its stderr.

Every launcher words failures by this, so that all of them look alike to a person and in the logs.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TypeVar

from pipeline.text import printable

_Error = TypeVar("_Error", bound=BaseException)

#: Of stderr so much is kept, and of its last line so much is shown.
_MESSAGE_BYTES = 4000
_REASON_CHARACTERS = 300

#: A line of ours that holds one of these says why; what follows it says how it ended.
_TELLING = ("error: ", "failed: ", "aside: ")


@dataclass(frozen=True, slots=True)
class ChildFailure:
    """The end of a child process that did not do its work.

    Attributes:
        command: program and arguments.
        status: exit status; the negative number of the signal that killed it; None if it could not
            be ended.
        messages: the end of what it wrote to stderr.
    """

    command: tuple[str, ...]
    status: int | None
    messages: str = ""

    @classmethod
    def of(
        cls, command: Sequence[str], status: int | None, stderr: bytes | IO[bytes]
    ) -> ChildFailure:
        """`stderr`: what the child wrote, or the file into which it wrote."""
        if not isinstance(stderr, bytes):
            stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - _MESSAGE_BYTES))
            stderr = stderr.read(_MESSAGE_BYTES)
        text = stderr[-_MESSAGE_BYTES:].decode(errors="replace")
        return cls(tuple(command), status, text.strip())

    @property
    def reason(self) -> str:
        """The last line of the messages, which says why as a rule; may be empty."""
        return printable((self.messages.splitlines() or [""])[-1].strip(), _REASON_CHARACTERS)

    def sentence(self, event: str, reason: str = "") -> str:
        """``EVENT (killed by SIGSEGV): the reason``, such as EVENT = "ffmpeg failed".

        Args:
            reason: a line of the messages that says why; by default the last one.
        """
        said = f"{event} ({how_it_ended(self.status)})"
        reason = printable(reason, _REASON_CHARACTERS) or self.reason
        return f"{said}: {reason}" if reason else said

    def noted(self, error: _Error) -> _Error:
        """`error` with the command and the messages, which the logs then show."""
        error.add_note(f"command: {shlex.join(self.command)}")
        if self.messages:
            error.add_note(f"messages: {self.messages}")
        return error


def how_it_ended(status: int | None) -> str:
    """``exit status 3`` or ``killed by SIGSEGV``.

    Args:
        status: as in `ChildFailure`.
    """
    if status is None or status >= 0:
        return "not ended" if status is None else f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal
        return f"killed by signal {-status}"


def telling_line(said: bytes) -> str:
    """Of all that a command of ours printed, the last line that says why it failed.

    The last line of all if none does; empty if there is none.
    """
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if any(mark in line for mark in _TELLING)]
    return printable((telling or lines or [""])[-1], _REASON_CHARACTERS)
