"""A file that must not be opened, an address that must not be called: both tell if it was done."""

from __future__ import annotations

import ctypes
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_ACCESS, _IN_OPEN = 0x1, 0x20  # linux/inotify.h


class Canary:
    """Attributes: path of the file, and address of the listening socket."""

    def __init__(self, path: Path, notices: int, server: socket.socket) -> None:
        self.path = path
        self._notices = notices
        self._server = server
        self.address = f"127.0.0.1:{server.getsockname()[1]}"

    def was_touched(self) -> bool:
        """Whether somebody opened the file or called the address since this was asked last."""
        called = bool(select.select([self._server], [], [], 0)[0])
        if called:
            self._server.accept()[0].close()
        try:
            return bool(os.read(self._notices, 1 << 16)) or called
        except BlockingIOError:
            return called


@contextmanager
def canary(path: Path, content: bytes) -> Iterator[Canary]:
    """Make the file and watch it by inotify; listen on 127.0.0.1."""
    path.write_bytes(content)
    libc = ctypes.CDLL(None, use_errno=True)
    notices = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert libc.inotify_add_watch(notices, os.fsencode(path), _IN_ACCESS | _IN_OPEN) >= 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        try:
            yield Canary(path, notices, server)
        finally:
            os.close(notices)
