"""The parent side of `probe_server.py`: the server process, and the readers that it forks."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from typing import IO, Any

from pipeline.errors import MachineError
from pipeline.files.child import own_module, tied
from pipeline.files.child_failure import ChildFailure
from pipeline.source.probe_server import WORN, Asked

_MODULE = "pipeline.source.probe_server"

#: More threads than one are of no use to a reader, and each reserves memory. A server has none.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

#: For the end of what was killed; a process that a dead disk holds does not end.
_END_S = 2.0


class RefusedError(Exception):
    """No process can be started; why, in words."""


class ServerGoneError(Exception):
    """The server has ended, and its readers with it."""


class Server:
    """A server process. It is killed when the thread that started it ends."""

    def __init__(self) -> None:
        """Raises RefusedError."""
        self._command, environment = own_module(_MODULE)
        self._messages = memory_file()
        self._line, theirs = _pair()
        self._lock = threading.Lock()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    tied(self._command),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=self._messages,
                    env=environment | _ONE_THREAD,
                )
        except OSError as error:
            self._line.close()
            self._messages.close()
            raise RefusedError(error.strerror or str(error)) from error

    @property
    def has_ended(self) -> bool:
        with self._lock:
            return self._process.poll() is not None

    def reader(self) -> Reader:
        """Another reader; whether the server can fork one is learned by its first `read`."""
        fate, their_fate = _pair()
        questions, their_questions = _pair()
        # Where the server is gone, closing their ends says so.
        with their_fate, their_questions, suppress(OSError):
            socket.send_fds(self._line, [b"fork"], (their_fate.fileno(), their_questions.fileno()))
        return Reader(self, fate, questions)

    def failure(self, shown: str) -> MachineError:
        """Why it has ended."""
        with self._lock:
            said = b"" if self._messages.closed else self._messages
            failure = ChildFailure.of(self._command, self._process.poll(), said)
        why = failure.sentence("the process that reads files failed")
        return failure.noted(MachineError(f"{shown} cannot be read: {why}", "run again"))

    def kill(self) -> None:
        """End it at once; the kernel kills its readers."""
        with self._lock:
            self._process.kill()
            self._process.wait()

    def await_end(self) -> None:
        """Wait for the end that was heard of; it is killed where that was a mistake."""
        with self._lock:
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def end(self) -> None:
        """End it and its readers, and wait for that."""
        self._line.close()
        self.await_end()
        with self._lock:
            self._messages.close()


class Reader:
    """A process that reads one file after another, for one thread at a time.

    Attributes:
        files: that it has read.
        worn: it had better read no more.
    """

    def __init__(self, server: Server, fate: socket.socket, questions: socket.socket) -> None:
        self.files = 0
        self.worn = False
        self.server = server
        self._fate = fate
        self._questions = questions
        self._begun = False

    def read(self, asked: Asked, deadline_s: float, answer: IO[bytes], messages: IO[bytes]) -> int:
        """Have it read a file; 0, or how it ended, as subprocess has it.

        Args:
            answer, messages: files that get what it found, and what libraries print.

        Raises:
            TimeoutError: it takes too long.
            RefusedError: there is no room for another process.
            ServerGoneError: the server was killed.
        """
        deadline = time.monotonic() + deadline_s
        with suppress(OSError):  # it has ended: its fate tells
            text = json.dumps(asdict(asked)).encode()
            socket.send_fds(self._questions, [text], (answer.fileno(), messages.fileno()))
        while True:
            ready = _ready((self._questions, self._fate), deadline)
            if self._fate in ready:
                status = self._hear()
                if status is not None:
                    return status
            elif said := _received(self._questions):
                self.files += 1
                self.worn = said == WORN
                return 0
            else:  # it has closed its files, so it ends
                deadline = min(deadline, time.monotonic() + _END_S)
                _ready((self._fate,), deadline)

    def end(self) -> None:
        """Have it killed, and wait for that, but not for ever."""
        with self._fate, self._questions:
            try:
                self._fate.shutdown(socket.SHUT_WR)
                deadline = time.monotonic() + _END_S
                while _ready((self._fate,), deadline):
                    self._hear()
            except TimeoutError:
                if not self._begun:  # the server itself hangs
                    self.server.kill()
            except (OSError, ServerGoneError, RefusedError):
                pass

    def _hear(self) -> int | None:
        """What the server says of it; its status if it has ended."""
        text = _received(self._fate)
        if not text:
            raise ServerGoneError
        said: dict[str, Any] = json.loads(text)
        if "refused" in said:
            raise RefusedError(said["refused"])
        self._begun = True
        return int(said["status"]) if "status" in said else None


def memory_file() -> IO[bytes]:
    """In memory, bounded by a reader's limits: a full /tmp is not the file's fault."""
    return open(os.memfd_create("probe"), "w+b")  # noqa: PTH123


def _received(line: socket.socket) -> bytes:
    """Nothing where it has ended."""
    try:
        return line.recv(1 << 12)
    except OSError:  # it ended before it had read everything
        return b""


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _ready(lines: tuple[socket.socket, ...], deadline: float) -> list[socket.socket]:
    """Those that have something to say. Raises TimeoutError."""
    waits = select.poll()  # select() takes no number above 1023
    for line in lines:
        waits.register(line, select.POLLIN)
    numbers = {number for number, _ in waits.poll(max(0.0, deadline - time.monotonic()) * 1000)}
    if not numbers:
        raise TimeoutError
    return [line for line in lines if line.fileno() in numbers]
