"""The journal of finished segments and videos: JSON lines, appended and synced to the disk.

Written by the parent process alone, with paths relative to OUT. A line that a crash left unfinished
is cut off when the file is opened; a line counts only with its checksum, a segment only with its
line and its file.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from pydantic import Field, TypeAdapter

from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import Entry, Redo, SegmentCommitted, VideoDone
from orchestrator.out.below import entry_as_written, entry_in_out, out_of
from orchestrator.out.finished import last_files
from orchestrator.out.older_lines import brought_up_to_date
from orchestrator.out.redone import Unfolder, in_force
from pipeline.contract import OutputFile, SegmentResult
from pipeline.errors import DiskError, SettingsError
from pipeline.files.disk import disk_error, force_folder
from pipeline.foreign.files import Unreadable, read_bytes
from pipeline.foreign.json_text import parse_json

#: Raised when old lines can no longer be understood.
VERSION = 1

_LONGEST_BYTES = 8 << 30

_LINE = re.compile(rb'(\{.*),"sum":"([0-9a-f]{8})"\}\n', re.DOTALL)

_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="kind")])

#: What earlier runs did of a video under some settings.
Past = Literal["nothing", "begun", "done"]


class Journal:
    """An open journal.

    Attributes:
        entries: what it says, oldest first, with what was appended since, as
            `orchestrator.out.redone` tells it.
        dropped_lines: lines that could not be read when it was opened.
    """

    def __init__(
        self,
        path: Path,
        file: BinaryIO,
        entries: list[Entry],
        dropped_lines: int,
        clock: Callable[[], float],
        *,
        fresh: bool = False,
    ) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self.dropped_lines = dropped_lines
        self._file = file
        self._whole_bytes = os.fstat(file.fileno()).st_size
        self._clock = clock
        self._done: dict[tuple[str, str], list[VideoDone]] = {}
        self._segments: dict[tuple[str, str], dict[int, SegmentCommitted]] = {}
        self._unfolder = Unfolder()
        for entry in in_force(entries, self._unfolder):
            if fresh:
                self.entries.append(entry)
            else:
                self._remember(entry)

    @classmethod
    def open(
        cls, path: Path, *, clock: Callable[[], float] = time.time, fresh: bool = False
    ) -> Journal:
        """Read what is there, cut off what is broken at its end, and be ready to append.

        Args:
            path: the file; it is made, in a folder that exists, if it is not there.
            clock: seconds since 1970, written beside each entry for people who read the file.
            fresh: nothing that is there counts as done; it stays, and is among `entries`.

        Raises:
            SettingsError: it was written by another version of this program.
            DiskError: it cannot be read or written.
        """
        try:
            is_new = not path.exists()
            content = b"" if is_new else _content(path)
            good_bytes, entries, dropped = _read(content, path)
            file = path.open("ab", buffering=0)
            try:
                if is_new:
                    force_folder(path.parent)
                elif good_bytes < len(content):
                    file.truncate(good_bytes)
                    os.fsync(file.fileno())
            except OSError:
                file.close()
                raise
        except OSError as error:
            raise _trouble(path, error) from error
        return cls(path, file, entries, dropped, clock, fresh=fresh)

    def append(self, entry: Entry) -> None:
        """Write an entry; it is on the disk when this returns.

        Raises:
            DiskError: the disk is full or gone. Nothing of the entry remains then.
        """
        said = _ENTRY.dump_python(entry_as_written(entry, out_of(self.path)))
        body = {"v": VERSION, "at": round(self._clock(), 3), "entry": said}
        text = json.dumps(body, separators=(",", ":")).encode()[:-1]
        line = text + b',"sum":"%08x"}\n' % zlib.crc32(text)
        try:
            self._write(line)
        except OSError as error:
            raise _trouble(self.path, error) from error
        self._whole_bytes += len(line)
        for each in self._unfolder.unfold(entry):
            self._remember(each)

    def _write(self, line: bytes) -> None:
        if os.fstat(self._file.fileno()).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "it was deleted")
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError:
            # Half a line would swallow the next one. After a failed fsync the kernel may hold the
            # line to be written though it is not, so it must not stay as it is.
            with suppress(OSError):
                self._file.truncate(self._whole_bytes)
            raise

    def close(self) -> None:
        self._file.close()

    def published(self, job: VideoJob) -> tuple[OutputFile, ...] | None:
        """The deliverables of a video that is done: journaled, there, and of the recorded size.

        They have the sound that is asked for now.
        """
        outputs = last_files(job.outputs, self._done.get((job.id, job.settings.fingerprint()), ()))
        if not outputs or any(each.audio != job.settings.audio for each in outputs):
            return None
        if measure(job.outputs) != tuple(output.size_bytes for output in outputs):
            return None
        # Where the plan expects them: that is where they were measured.
        pairs = zip(outputs, job.outputs, strict=True)
        return tuple(replace(output, path=path) for output, path in pairs)

    def unfinished(self, jobs: Iterable[VideoJob]) -> list[VideoJob]:
        """Those of which something is still to be done."""
        return [job for job in jobs if self.published(job) is None]

    def past(self, video: str, settings: str) -> Past:
        """What was done of a video under the settings with that fingerprint, and is still there."""
        done = self._done.get((video, settings), ())
        if done:
            return "done" if any(map(_is_there, done)) else "nothing"
        return "begun" if (video, settings) in self._segments else "nothing"

    def begun(self) -> set[str]:
        """Ids of the videos of which segments are there and no outputs."""
        settled = self._done.keys() | self._unfolder.redos
        return {video for video, settings in self._segments if (video, settings) not in settled}

    def redos_begun(self, video: str) -> dict[str, Redo]:
        """Redos of a video that are not done, by their fingerprints."""
        begun = self._unfolder.begun.items()
        return {settings: redo for (own, settings), redo in begun if own == video}

    def committed(self, job: VideoJob) -> dict[int, SegmentResult]:
        """The segments of a video that need not be made again, by number.

        They lie in its own work folder, or count for nothing: another OUT is another run's.
        """
        return {
            number: entry.result
            for number, entry in self._segments_of(job).items()
            if all(
                Path(job.work_dir, name).parent == Path(job.work_dir) for name in entry.result.files
            )
            and measure(entry.result.files, job.work_dir) == entry.sizes
        }

    def told(self, job: VideoJob) -> dict[int, SegmentResult]:
        """What was said of a video's segments, by number, whether their files are there or not."""
        return {number: entry.result for number, entry in self._segments_of(job).items()}

    def _segments_of(self, job: VideoJob) -> dict[int, SegmentCommitted]:
        entries = self._segments.get((job.id, job.settings.fingerprint()), {})
        return {
            number: entry
            for number, entry in entries.items()
            if 0 <= number < len(job.segments) and (entry.start, entry.stop) == job.segments[number]
        }

    def _remember(self, entry: Entry) -> None:
        self.entries.append(entry)
        if isinstance(entry, VideoDone):
            self._done.setdefault((entry.video, entry.settings), []).append(entry)
        elif isinstance(entry, SegmentCommitted):
            self._segments.setdefault((entry.video, entry.settings), {})[entry.segment] = entry


def read_entries(path: Path) -> list[Entry]:
    """What a journal says, oldest first; nothing where there is none. Changes nothing.

    Raises:
        SettingsError: it was written by another version of this program.
    """
    return read_lines(path)[0]


def read_lines(path: Path) -> tuple[list[Entry], int]:
    """What `read_entries` says, and how many whole lines are damaged.

    Raises:
        SettingsError: it was written by another version of this program, or is no file.
    """
    try:
        content = read_bytes(path, _LONGEST_BYTES)
    except Unreadable as error:
        if error.missing:
            return [], 0
        raise error.as_error(SettingsError, path, "start afresh with --fresh") from None
    _, entries, dropped = _read(content, path)
    # A line without its end is being written, or was when the run was killed.
    return in_force(entries, Unfolder()), dropped - bool(content and not content.endswith(b"\n"))


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path, _LONGEST_BYTES)
    except Unreadable as error:
        what = f"the journal {path}"
        raise error.as_error(DiskError, what, "start afresh with --fresh") from None


def _is_there(done: VideoDone) -> bool:
    sizes = tuple(output.size_bytes for output in done.outputs)
    return measure(tuple(output.path for output in done.outputs)) == sizes


def measure(files: tuple[str, ...], folder: str = "") -> tuple[int, ...] | None:
    """Sizes of files in bytes; None if one of them is not there.

    Args:
        files: paths, absolute or relative to `folder`.
    """
    paths = [Path(folder, name) for name in files]
    try:
        if not all(path.is_file() for path in paths):
            return None
        return tuple(path.stat().st_size for path in paths)
    except OSError:  # it went meanwhile, or no file can have such a name
        return None


def _read(content: bytes, path: Path) -> tuple[int, list[Entry], int]:
    """Bytes up to the end of the last good line, what is written, and the number of bad lines."""
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
    match = _LINE.fullmatch(line)
    if match is None or int(match[2], 16) != zlib.crc32(match[1]):
        return None
    try:
        body = parse_json(line, finite=False)
        version, said = body["v"], body["entry"]
    except (Unreadable, LookupError):
        return None
    if version != VERSION:
        raise SettingsError(
            f"{path} was written by another version of vrmatte",
            "go on with that version, or start afresh with --fresh",
        )
    try:
        entry = _ENTRY.validate_python(brought_up_to_date(said), strict=False)
        return entry_in_out(entry, out_of(path))
    except (ValueError, TypeError, LookupError, AttributeError):  # its sum is right, but not it
        return None


def _trouble(path: Path, error: OSError) -> DiskError:
    """Always the whole run's trouble: without a journal nothing that is done would count."""
    told = disk_error(error, path)
    return DiskError(f"the journal cannot be written: {told.message}", told.advice)
