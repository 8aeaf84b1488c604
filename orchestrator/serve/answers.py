"""One request and its answer: the token first, then the files, read only.

Each connection serves one request. Redirects are relative, because a proxy may stand before us
with another scheme and host.
"""

from __future__ import annotations

import io
import socket
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from secrets import compare_digest
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote_to_bytes

from orchestrator.serve.byte_range import UnsatisfiableError, asked_range
from orchestrator.serve.shown_files import NotShownError, ShownFile

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from orchestrator.serve.server import PageServer

#: The whole request must have come within this, in seconds.
REQUEST_S = 10.0

#: A client that takes nothing for so long is given up, in seconds: a browser whose video is paused
#: asks again.
SEND_S = 60.0

#: Of a request that is refused.
_MOST_UNREAD_BYTES = 1 << 20

#: How often a page that is still to come renews itself, in seconds.
RENEW_S = 5

_FORBIDDEN = "open the address with the token that vrmatte printed"
_TO_COME = "There is no page yet: a run that has just begun writes it in a moment."

_PLAIN = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"

_LINE_PAGE = (
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>vrmatte</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark">'
    '<link rel="icon" href="data:,"><meta http-equiv="refresh" content="{seconds}"></head>'
    '<body style="font-family: system-ui, sans-serif; padding: 1rem"><p>{line}</p></body></html>\n'
)


class Answer(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    server: PageServer
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # of a request that is none: it is told so
    timeout = SEND_S
    _refused = False

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_UntilDeadline(self.connection, self.server.request_s))

    def handle(self) -> None:
        super().handle()
        if self._refused:
            # With bytes unread the connection would be reset, and the answer be lost with it.
            self.connection.shutdown(socket.SHUT_WR)
            self.rfile.read(_MOST_UNREAD_BYTES)

    def do_GET(self) -> None:
        self.server.has_read(self.connection)
        self.connection.settimeout(SEND_S)
        path, _, query = self.path.partition("?")
        if self._knows(_token_in(query)):
            self._let_in(path)
        elif self._knows(self._cookie()):
            self._show(path)
        elif self._came_by_a_link():
            self._say_page(HTTPStatus.FORBIDDEN, _FORBIDDEN, renew_s=0)
        else:
            self._say(HTTPStatus.FORBIDDEN, _FORBIDDEN)

    do_HEAD = do_GET

    def _knows(self, token: str) -> bool:
        return compare_digest(token.encode(), self.server.token.encode())

    def _cookie(self) -> str:
        """Its value; others of the same host may have any form."""
        for each in self.headers.get("Cookie", "").split(";"):
            name, _, value = each.strip().partition("=")
            if name == self.server.cookie:
                return value
        return ""

    def _let_in(self, path: str) -> None:
        """To the same path without the token, which a browser would keep in its history."""
        name = unquote_to_bytes(path.rpartition("/")[2].encode("latin-1", "replace"))
        headers = {
            "Location": "./" + quote(name, safe=""),
            "Set-Cookie": f"{self.server.cookie}={self.server.token};"
            " Path=/; HttpOnly; SameSite=Strict",
        }
        self._say(HTTPStatus.SEE_OTHER, "the page is at the same path without the token", headers)

    def _came_by_a_link(self) -> bool:
        """From another site's page, such as a mail: then a browser keeps a strict cookie to itself.

        It sends the cookie when our own page renews itself, and does not say this of it again.
        """
        sent = (self.headers.get("Sec-Fetch-Site"), self.headers.get("Sec-Fetch-Mode"))
        return sent == ("cross-site", "navigate")

    def _show(self, path: str) -> None:
        try:
            shown = self.server.files.open(path)
        except NotShownError:
            if self.server.files.page_is_to_come(path):
                self._say_page(HTTPStatus.OK, _TO_COME, RENEW_S)
            else:
                self._say(HTTPStatus.NOT_FOUND, "there is no such file here")
            return
        with shown.file:
            self._send_file(shown)

    def _send_file(self, shown: ShownFile) -> None:
        headers = {
            "ETag": shown.etag,
            "Accept-Ranges": "bytes",
            "Cache-Control": "no-store" if shown.changes else "private, no-cache",
        }
        if self.headers.get("If-None-Match") == shown.etag:
            self._begin(HTTPStatus.NOT_MODIFIED, headers)
            return
        part = None
        # Of another version of the file a part would be of no use (`If-Range`).
        if self.command == "GET" and self.headers.get("If-Range", shown.etag) == shown.etag:
            try:
                part = asked_range(self.headers.get("Range"), shown.size)
            except UnsatisfiableError:
                headers["Content-Range"] = f"bytes */{shown.size}"
                self._say(
                    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "it has no such bytes", headers
                )
                return
        status = HTTPStatus.OK
        if part is not None:
            status = HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{shown.size}"
        part = range(shown.size) if part is None else part
        self._begin(
            status, headers | {"Content-Type": shown.kind, "Content-Length": str(len(part))}
        )
        if self.command == "GET" and part:
            # By the kernel. A file that has become shorter ends with the connection.
            self.connection.sendfile(shown.file, part.start, len(part))

    def _say(self, status: HTTPStatus, line: str, headers: dict[str, str] | None = None) -> None:
        self._text(status, _PLAIN, line + "\n", headers or {})

    def _say_page(self, status: HTTPStatus, line: str, renew_s: int) -> None:
        """A line that renews itself."""
        self._text(status, _HTML, _LINE_PAGE.format(line=line, seconds=renew_s), {})

    def _text(self, status: HTTPStatus, kind: str, text: str, headers: dict[str, str]) -> None:
        body = text.encode()
        sizes = {"Content-Type": kind, "Content-Length": str(len(body))}
        self._begin(status, {"Cache-Control": "no-store"} | headers | sizes)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _begin(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        always = {
            "Connection": "close",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, value in (headers | always).items():
            self.send_header(name, value)
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses: other methods, what is too long or no request."""
        self._refused = True
        status = HTTPStatus(code)
        if status == HTTPStatus.NOT_IMPLEMENTED:
            line = "only GET and HEAD are answered"
            self._say(HTTPStatus.METHOD_NOT_ALLOWED, line, {"Allow": "GET, HEAD"})
        else:
            self._say(status, status.phrase.lower())

    def version_string(self) -> str:
        return "vrmatte"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


class _UntilDeadline(io.RawIOBase):
    """What a socket receives within so many seconds in all; then TimeoutError."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request did not come in time")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


def _token_in(query: str) -> str:
    try:
        return parse_qs(query, max_num_fields=16).get("token", [""])[0]
    except ValueError:
        return ""
