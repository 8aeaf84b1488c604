"""The channel from a worker to the parent: whole messages, or the news that it is closed.

Each worker has a socket pair to itself, so that one that dies in the middle of a message harms no
other. The parent never waits on it: it takes the bytes that are there, keeps an unfinished message
for later, and writes from a thread, so that a worker that no longer reads cannot hold it up.

A message is its length (4 bytes, big-endian) and a pickle. Both ends are one program, and no other
process has the socket.
"""

from __future__ import annotations

import contextlib
import errno
import pickle
import queue
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Any

from workers.messages import Command, Report

_LENGTH = struct.Struct("!I")
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class LineGone:
    """Nothing more will come over this line; `why` in words."""

    why: str


def open_line() -> tuple[ParentEnd, WorkerEnd]:
    """A new line; the worker's end can be pickled into a process that is being spawned.

    Raises:
        OSError: the machine has no room for another thread or file.
    """
    parent, worker = socket.socketpair()
    try:
        return ParentEnd(parent), WorkerEnd(worker)
    except RuntimeError as error:  # Python's word for no more threads
        parent.close()
        worker.close()
        raise OSError(errno.EAGAIN, str(error)) from error


class ParentEnd:
    """The parent's end. Nothing here waits, and nothing raises because of the other side.

    Attributes:
        connection: what `multiprocessing.connection.wait` can wait for.
    """

    def __init__(self, line: socket.socket) -> None:
        self.connection = line
        self._unfinished = bytearray()
        self._gone = False
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="line", daemon=True)
        self._writer.start()

    def receive(self) -> list[Report | LineGone]:
        """What has come in since the last call; `LineGone` is said once, as the last word."""
        messages: list[Report | LineGone] = []
        while not self._gone:
            try:
                piece = self.connection.recv(_READ_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                self._go(messages, error.strerror or str(error))
                break
            if not piece:
                cut = f", {len(self._unfinished)} bytes into a message" if self._unfinished else ""
                self._go(messages, f"the worker's end is closed{cut}")
                break
            self._unfinished += piece
            self._take_whole(messages)
        return messages

    def send(self, command: Command) -> None:
        """Hand over a command; if the worker is gone, `receive` says so."""
        self._outbox.put(_packed(command))

    def hang_up(self) -> None:
        """Let the worker find that its parent is gone."""
        _shut(self.connection)

    def close(self) -> None:
        self._gone = True
        self._outbox.put(None)
        self.hang_up()  # wakes a writer that is blocked, which close() alone would not
        self._writer.join()
        self.connection.close()

    def _take_whole(self, messages: list[Report | LineGone]) -> None:
        data = self._unfinished
        while len(data) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
            if len(data) < end:
                return
            try:
                messages.append(pickle.loads(bytes(data[_LENGTH.size : end])))
            except Exception as error:  # a garbled pickle can raise anything
                self._go(messages, f"a message was garbled: {error!r}")
                return
            del data[:end]

    def _go(self, messages: list[Report | LineGone], why: str) -> None:
        self._gone = True
        self._unfinished.clear()
        messages.append(LineGone(why))

    def _write(self) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                self.connection.sendall(message)
            except OSError:
                return  # `receive` finds the same and says it


class WorkerEnd:
    """The worker's end: one thread receives, any thread may send."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[WorkerEnd], tuple[socket.socket]]:
        return WorkerEnd, (self._line,)

    def send(self, report: Report) -> None:
        """Send a report. Raises OSError when the parent is gone."""
        message = _packed(report)
        with self._lock:
            self._line.sendall(message)

    def receive(self) -> Command | None:
        """Wait for the next command; None when the parent is gone."""
        header = self._read(_LENGTH.size)
        body = self._read(_LENGTH.unpack(header)[0]) if header else None
        if body is None:
            return None
        command: Command = pickle.loads(body)
        return command

    def let_go(self) -> None:
        """Close this process's copy; another process that has one keeps the line."""
        self._line.close()

    def close(self) -> None:
        """End the line."""
        _shut(self._line)
        self._line.close()

    def _read(self, count: int) -> bytes | None:
        data = bytearray()
        while len(data) < count:
            try:
                piece = self._line.recv(count - len(data))
            except OSError:
                return None
            if not piece:
                return None
            data += piece
        return bytes(data)


def _packed(message: Any) -> bytes:
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


def _shut(line: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side was first
        line.shutdown(socket.SHUT_RDWR)
