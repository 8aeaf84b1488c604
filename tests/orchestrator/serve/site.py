"""An output folder with outputs of every kind, and a real server of it in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from orchestrator.fleet.journal_entries import VideoDone
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import Journal
from orchestrator.serve.server import PageServer
from orchestrator.serve.shown_files import ShownFiles
from pipeline.contract import OutputFile

TOKEN = "right-token_of_this_test"
PAGE = b"<!DOCTYPE html><p>the page"

#: For an answer, in seconds; on a busy machine.
ANSWER_S = 30.0


@dataclass(frozen=True)
class Got:
    """An answer; the names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Site:
    """A server, and what it had to tell."""

    server: PageServer
    told: list[str] = field(default_factory=list)

    def connection(self) -> HTTPConnection:
        return HTTPConnection(*self.server.bound, timeout=ANSWER_S)

    def ask(
        self,
        path: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        *,
        known: bool = True,
        body: bytes | None = None,
    ) -> Got:
        """One request, by somebody who has the cookie if `known`."""
        cookie = {"Cookie": f"{self.server.cookie}={TOKEN}"} if known else {}
        with closing(self.connection()) as line:
            line.request(method, path, body, cookie | (headers or {}))
            with line.getresponse() as answer:
                names = {name.lower(): value for name, value in answer.getheaders()}
                return Got(answer.status, names, answer.read())


@contextmanager
def served(out: OutFolder, **options: Any) -> Iterator[Site]:
    told: list[str] = []
    server = PageServer("127.0.0.1", 0, ShownFiles(out), TOKEN, told.append, **options)
    server.daemon_threads = False  # so that closing it waits for their end
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield Site(server, told)
        finally:
            server.shutdown()
            thread.join()


def out_with(path: Path, outputs: dict[str, bytes]) -> OutFolder:
    """OUT with a page and these outputs, by their names below it."""
    out = OutFolder(path)
    out.create()
    out.page.write_bytes(PAGE)
    for name, content in outputs.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    publish(out, *outputs)
    return out


def publish(out: OutFolder, *names: str) -> None:
    """Have the journal name these outputs."""
    files = tuple(OutputFile("webm", str(out.path / name), 1, 1) for name in names)
    with closing(Journal.open(out.journal)) as journal:
        journal.append(VideoDone("0" * 16, "5" * 16, files))
