"""A server on this machine that takes what is posted, for tests of ``--notify``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Posts:
    """What has been posted.

    Attributes:
        port: of the server.
        answers: status of each answer, in order; 200 after those.
        silent: the server does not answer until it ends.
    """

    port: int = 0
    answers: list[int] = field(default_factory=list)
    silent: bool = False
    taken: list[tuple[str, Message, bytes]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def taking_posts(answers: list[int] | None = None, *, silent: bool = False) -> Iterator[Posts]:
    posts = Posts(answers=answers or [], silent=silent)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            posts.taken.append((self.path, self.headers, self.rfile.read(length)))
            if posts.silent:
                posts.over.wait()
                return
            status = posts.answers.pop(0) if posts.answers else 200
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"{posts.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *line: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        posts.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield posts
        finally:
            posts.over.set()
            server.shutdown()
            thread.join()
