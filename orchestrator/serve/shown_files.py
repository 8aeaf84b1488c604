"""The files of an output folder that may be shown: the report, and the outputs that it names.

A path is shown if the report or the journal names it, and if the file that was opened by it lies in
OUT and not in ``OUT/.vrmatte``. Nothing is written here.
"""

from __future__ import annotations

import io
import os
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote_to_bytes

from orchestrator.fleet.journal_entries import VideoDone
from orchestrator.out.folder import OutFolder
from orchestrator.out.journal import read_lines
from orchestrator.report.rebuild import read_report
from orchestrator.settings.settings import STATE_FOLDER
from pipeline.errors import VrmatteError
from pipeline.foreign.files import Unreadable, open_regular

#: Written out, because the standard library's table depends on the machine.
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webm": "video/webm",
}
_UNKNOWN_KIND = "application/octet-stream"


class NotShownError(Exception):
    """There is no such file, or it is not to be shown; whoever asks learns no more."""


@dataclass(frozen=True, slots=True)
class ShownFile:
    """An open file.

    Attributes:
        size: in bytes, of what was opened.
        kind: its media type.
        etag: another one for another content.
        changes: it is written again while a run goes on.
    """

    file: io.BufferedReader
    size: int
    kind: str
    etag: str
    changes: bool


class ShownFiles:
    """What may be shown of `out`. Safe to use by several threads.

    Raises:
        SettingsError: the journal was written by another version.
    """

    def __init__(self, out: OutFolder) -> None:
        self.out = out
        self._root = os.path.realpath(out.path).rstrip("/") + "/"
        self._looking = threading.Lock()
        self._looked_at: tuple[object, ...] = ()
        self._outputs: frozenset[str] = frozenset()
        self._look()

    def open(self, path: str) -> ShownFile:
        """The file for the path of a request, percent-encoded; ``/`` stands for the page.

        Raises:
            NotShownError: there is none.
        """
        name = self.out.page.name if path == "/" else _name(path)
        own = name in (self.out.page.name, self.out.report.name)
        if not (own or self._is_named(name)):
            raise NotShownError
        try:
            file = open_regular(self.out.path / name)
        except Unreadable:
            raise NotShownError from None
        try:
            self._require_inside(file)
            found = os.fstat(file.fileno())
            return ShownFile(
                file=file,
                size=found.st_size,
                kind=_KINDS.get(PurePosixPath(name).suffix.lower(), _UNKNOWN_KIND),
                etag=f'"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}"',
                changes=own,
            )
        except BaseException:
            file.close()
            raise

    def page_is_to_come(self, path: str) -> bool:
        """Whether the path of a request stands for the page, and nothing has its name yet."""
        return path in ("/", f"/{self.out.page.name}") and not os.path.lexists(self.out.page)

    def _require_inside(self, file: io.BufferedReader) -> None:
        """Of what was opened, not of its path: links may change in between."""
        try:
            real = os.readlink(f"/proc/self/fd/{file.fileno()}")  # noqa: PTH115, as it is
        except OSError:
            raise NotShownError from None
        below = real.removeprefix(self._root)
        if below == real or below.split("/")[0] == STATE_FOLDER:
            raise NotShownError

    def _is_named(self, name: str) -> bool:
        if name not in self._outputs:
            with self._looking, suppress(VrmatteError):  # then what is known already is shown
                self._look()
        return name in self._outputs

    def _look(self) -> None:
        """Read the names of outputs, if they may have changed."""
        stamps = (_stamp(self.out.journal), _stamp(self.out.report))
        if stamps == self._looked_at:
            return
        entries, _ = read_lines(self.out.journal)
        outputs = [file for e in entries if isinstance(e, VideoDone) for file in e.outputs]
        with suppress(ValueError):  # there is none, or it is damaged: the journal knows its own
            report = read_report(self.out.report)
            outputs += [file for video in report.videos for file in video.outputs]
        named = (os.path.relpath(file.path, self.out.path) for file in outputs)
        self._outputs = frozenset(name for name in named if not name.startswith(".."))
        self._looked_at = stamps


def _name(path: str) -> str:
    """The path of a request as a name below OUT.

    Raises:
        NotShownError: no file of OUT has such a name.
    """
    encoded = path.encode("latin-1", "replace")  # as it came over the line
    root, *parts = (unquote_to_bytes(part) for part in encoded.split(b"/"))
    bad = any(p in (b"", b".", b"..") or b"/" in p or b"\0" in p for p in parts)
    if root or not parts or bad or parts[0] == os.fsencode(STATE_FOLDER):
        raise NotShownError
    return os.fsdecode(b"/".join(parts))


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, stat.S_IFMT(found.st_mode)
