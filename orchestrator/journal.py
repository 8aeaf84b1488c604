"""What was done, on disk: JSON lines, only ever appended, each forced to the disk before it counts.

Written by the parent process alone. What a crash left at the end of the file is cut off when it
is opened; a segment's file without its line is made again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.entries import Entry, SegmentCommitted, VideoDone
from orchestrator.jobs import VideoJob
from pipeline.errors import ResourceError, SettingsError
from pipeline.spec import OutputFile, SegmentResult

#: Raised when old lines can no longer be understood.
VERSION = 1

_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="kind")])


class Journal:
    """An open journal.

    Attributes:
        entries: what it says, oldest first, with what was appended since.
        dropped_lines: lines that could not be read when it was opened.
    """

    def __init__(
        self,
        path: Path,
        file: BinaryIO,
        entries: list[Entry],
        dropped_lines: int,
        clock: Callable[[], float],
    ) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self.dropped_lines = dropped_lines
        self._file = file
        self._clock = clock
        self._done: dict[tuple[str, str], VideoDone] = {}
        self._segments: dict[tuple[str, str], dict[int, SegmentCommitted]] = {}
        for entry in entries:
            self._remember(entry)

    @classmethod
    def open(cls, path: Path, *, clock: Callable[[], float] = time.time) -> Journal:
        """Read what is there, cut off what is broken at its end, and be ready to append.

        Args:
            path: the file; it is made, in a folder that exists, if it is not there.
            clock: seconds since 1970, written beside each entry for people who read the file.

        Raises:
            SettingsError: it was written by another version of this program.
            ResourceError: it cannot be read or written.
        """
        try:
            is_new = not path.exists()
            content = b"" if is_new else path.read_bytes()
            good_bytes, entries, dropped = _read(content, path)
            file = path.open("ab", buffering=0)
            if is_new:
                _force_folder(path.parent)
            elif good_bytes < len(content):
                file.truncate(good_bytes)
                os.fsync(file.fileno())
        except OSError as error:
            raise _trouble(path, error) from error
        return cls(path, file, entries, dropped, clock)

    def append(self, entry: Entry) -> None:
        """Write an entry; it is on the disk when this returns.

        Raises:
            ResourceError: the disk is full or gone.
        """
        body = {"v": VERSION, "at": round(self._clock(), 3), "entry": _ENTRY.dump_python(entry)}
        line = json.dumps(body, separators=(",", ":")).encode() + b"\n"
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(f"only {written} of {len(line)} bytes could be written")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _trouble(self.path, error) from error
        self._remember(entry)

    def close(self) -> None:
        self._file.close()

    def published(self, job: VideoJob) -> tuple[OutputFile, ...] | None:
        """The deliverables of a video that is done: journaled, there, and of the recorded size."""
        entry = self._done.get((job.id, job.settings.fingerprint()))
        if entry is None:
            return None
        sizes = tuple(output.size_bytes for output in entry.outputs)
        return entry.outputs if measure(job.outputs) == sizes else None

    def committed(self, job: VideoJob) -> dict[int, SegmentResult]:
        """The segments of a video that need not be made again, by number."""
        entries = self._segments.get((job.id, job.settings.fingerprint()), {})
        return {
            number: entry.result
            for number, entry in entries.items()
            if number < len(job.segments)
            and (entry.start, entry.stop) == job.segments[number]
            and measure(entry.result.files, job.work_dir) == entry.sizes
        }

    def _remember(self, entry: Entry) -> None:
        self.entries.append(entry)
        if isinstance(entry, VideoDone):
            self._done[entry.video, entry.settings] = entry
        elif isinstance(entry, SegmentCommitted):
            self._segments.setdefault((entry.video, entry.settings), {})[entry.segment] = entry


def read_entries(path: Path) -> list[Entry]:
    """What a journal says, oldest first; nothing where there is none. Changes nothing.

    Raises:
        SettingsError: it was written by another version of this program.
    """
    return _read(path.read_bytes(), path)[1] if path.is_file() else []


def measure(files: tuple[str, ...], folder: str = "") -> tuple[int, ...] | None:
    """Sizes of files in bytes; None if one of them is not there.

    Args:
        files: paths, absolute or relative to `folder`.
    """
    paths = [Path(folder, name) for name in files]
    if not all(path.is_file() for path in paths):
        return None
    return tuple(path.stat().st_size for path in paths)


def _read(content: bytes, path: Path) -> tuple[int, list[Entry], int]:
    """Bytes up to the end of the last good line, the entries, and the number of bad lines."""
    good_bytes, position, dropped = 0, 0, 0
    entries: list[Entry] = []
    for line in content.splitlines(keepends=True):
        position += len(line)
        entry = _parse(line, path)
        if entry is None:
            dropped += 1
        else:
            entries.append(entry)
            good_bytes = position
    return good_bytes, entries, dropped


def _parse(line: bytes, path: Path) -> Entry | None:
    """The entry in a line, or None if the line is broken."""
    if not line.endswith(b"\n"):
        return None
    try:
        body = json.loads(line)
    except ValueError:
        return None
    if not isinstance(body, dict) or "v" not in body or "entry" not in body:
        return None
    if body["v"] != VERSION:
        raise SettingsError(
            f"{path} was written by another version of vrmatte",
            "go on with that version, or start afresh with --fresh",
        )
    try:
        return _ENTRY.validate_python(body["entry"], strict=False)
    except ValidationError:
        return None


def _force_folder(folder: Path) -> None:
    """Force a new file's name to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _trouble(path: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"the journal {path} cannot be written: {error.strerror or error}",
        "make room on that disk, then run again: it goes on where it stopped",
    )
