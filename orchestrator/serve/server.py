"""The server: a thread for each connection, and no more connections than it can bear."""

from __future__ import annotations

import errno
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from orchestrator.serve.answers import REQUEST_S, Answer
from orchestrator.serve.shown_files import ShownFiles
from pipeline.errors import SettingsError

#: At the same time. A browser opens six.
MOST_CONNECTIONS = 64

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 25\r\n\r\ntoo many connections now\n"
)


class PageServer(ThreadingHTTPServer):
    """Listens once it is made; `serve_forever` answers.

    When there are too many connections, the oldest one whose request has not come yet is dropped
    for a new one. If all are being answered, the new one is refused.

    Args:
        token: lets in whoever has it.
        tell: takes a line about a request that failed without anybody's doing.

    Raises:
        SettingsError: the address cannot be listened on.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        host: str,
        port: int,
        files: ShownFiles,
        token: str,
        tell: Callable[[str], None],
        *,
        most_connections: int = MOST_CONNECTIONS,
        request_s: float = REQUEST_S,
    ) -> None:
        self.files = files
        self.token = token
        self.request_s = request_s
        self._tell = tell
        self._most = most_connections
        self._lock = threading.Lock()
        self._is_read: dict[socket.socket, bool] = {}  # by age
        self.address_family, place = _resolve(host, port)
        try:
            super().__init__(place, Answer)
        except OSError as error:
            raise _cannot_listen(host, port, error) from None
        #: By the port: browsers share the cookies of all ports of a host.
        self.cookie = f"vrmatte-{self.server_port}"

    @property
    def bound(self) -> tuple[str, int]:
        """IP address and port."""
        host, port = self.socket.getsockname()[:2]
        return str(host), int(port)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's would ask a name server for our name
        self.server_name, self.server_port = self.bound

    def has_read(self, connection: socket.socket) -> None:
        """The request of a connection has come: it is not dropped for another one any more."""
        with self._lock:
            if connection in self._is_read:
                self._is_read[connection] = True

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            if len(self._is_read) >= self._most:
                self._drop_one_that_waits()
            if full := len(self._is_read) >= self._most:
                with suppress(OSError):
                    request.setblocking(False)
                    request.send(_FULL)
            else:
                self._is_read[request] = False
        if full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def _drop_one_that_waits(self) -> None:
        for connection, is_read in self._is_read.items():
            if not is_read:
                del self._is_read[connection]
                _end(connection)
                return

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._is_read.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if not isinstance(error, OSError):  # it hung up, or a disk failed: its connection ends
            self._tell(f"a request failed: {type(error).__name__}: {error}")

    def server_close(self) -> None:
        with self._lock:
            for connection in self._is_read:
                _end(connection)
        super().server_close()


def _end(connection: socket.socket) -> None:
    """Its own thread closes it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise SettingsError(
            f"--serve: {host!r} is not the address of a machine", "such as 127.0.0.1 or 0.0.0.0"
        ) from None
    first = min(found, key=lambda each: each[0] != socket.AF_INET)  # a name may have both
    return first[0], first[4]


def _cannot_listen(host: str, port: int, error: OSError) -> SettingsError:
    if error.errno == errno.EADDRINUSE:
        return SettingsError(
            f"--serve: port {port} of {host} is in use", "choose another, such as --serve :8081"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return SettingsError(
            f"--serve: {host} is not an address of this machine",
            "0.0.0.0 stands for all of its own, 127.0.0.1 for none but itself",
        )
    return SettingsError(
        f"--serve: cannot listen on port {port} of {host}: {error.strerror}",
        "choose another, such as --serve :8080",
    )
