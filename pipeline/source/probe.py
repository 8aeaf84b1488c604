"""Probes files in child processes: the `VideoInfo` of each and its frame index, by PyAV.

Each file has a deadline and limits of its own for memory, CPU time and output: one that hangs,
bloats or crashes the demuxer takes a child with it, not the run. If that happens while its sound is
tried, the picture is known already, and the sound is left out.
"""

from __future__ import annotations

import json
import math
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from glob import escape
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pydantic import TypeAdapter

from pipeline.contract import Layout, ProjectionName, VideoInfo
from pipeline.errors import DiskError, InputError, MachineError
from pipeline.files.child_failure import ChildFailure, how_it_ended
from pipeline.source.probe_processes import (
    Reader,
    RefusedError,
    Server,
    ServerGoneError,
    memory_file,
)
from pipeline.source.probe_server import Asked
from pipeline.source.signature import find_container
from pipeline.source.unchanged import regular_file
from pipeline.text import printable

_VIDEO_INFO = TypeAdapter(VideoInfo)
_SLOWEST_DISK_BYTES_PER_S = 20e6  # the whole file is read once, for its time stamps
_ANSWER_BYTES = 1 << 20

#: Files that one child reads, so that what a library leaks has an end.
_FILES_PER_READER = 64

#: The server of the children is started again when it was killed; so often for one file.
_SERVERS_PER_FILE = 3


def probe_video(
    path: Path,
    index_path: Path,
    *,
    layout: Layout | None = None,
    projection: ProjectionName | None = None,
    deadline_s: float | None = None,
) -> VideoInfo:
    """Probe one file, as `Prober` does; for many, that is quicker."""
    with Prober() as prober:
        return prober(path, index_path, layout=layout, projection=projection, deadline_s=deadline_s)


class Prober:
    """Probes files until it is closed; from several threads, each of which waits for its own file.

    A child reads one file after another, as long as all goes well. It ends with the first that
    fails, and a failure counts only in a child that has read nothing before: so no file is blamed
    for another.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: Server | None = None
        self._idle: list[Reader] = []
        self._closed = False
        # A server dies with the thread that started it; this one lives as long as the prober.
        self._starter = ThreadPoolExecutor(1, "probe-server")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all children; what they are reading then could not be read."""
        with self._lock:
            self._closed = True
            server, self._server = self._server, None
            idle, self._idle = self._idle, []
        if server is not None:
            server.end()
        for reader in idle:
            reader.end()
        self._starter.shutdown()

    def __call__(
        self,
        path: Path,
        index_path: Path,
        *,
        layout: Layout | None = None,
        projection: ProjectionName | None = None,
        deadline_s: float | None = None,
    ) -> VideoInfo:
        """Probe `path` in a child process; leave the frame index at `index_path`.

        Args:
            layout, projection: taken as they are if given; otherwise found out.
            deadline_s: seconds until the child is killed; by the file's size if None.

        Raises:
            InputError: the file is missing, unreadable, no video, or does not answer in time.
            MachineError: no process can be started to read it.
            DiskError: the index cannot be written.
        """
        path = path.absolute()
        shown = printable(str(path))
        try:
            size = regular_file(path).st_size
            if size == 0:
                raise InputError(f"{shown} is empty (0 bytes)")
            find_container(path)
        except OSError as error:
            raise InputError(f"cannot read {shown}: {error.strerror}") from error
        if deadline_s is None:
            deadline_s = 60 + size / _SLOWEST_DISK_BYTES_PER_S
        index_path.parent.mkdir(parents=True, exist_ok=True)
        cpu_s = math.ceil(deadline_s) + 10
        asked = Asked(str(path), str(index_path), layout, projection, cpu_s)
        try:
            return self._read(asked, shown, deadline_s)
        except RefusedError as refused:
            raise MachineError(
                f"no process can be started to read {shown}: {refused}",
                "let this user have more processes and memory, then run again",
            ) from refused
        finally:  # a child that was killed may have left its draft
            for draft in index_path.parent.glob(f".{escape(index_path.name)}.*.part"):
                draft.unlink(missing_ok=True)

    def _read(self, asked: Asked, shown: str, deadline_s: float) -> VideoInfo:
        servers = 0
        used = True
        while True:
            reader = self._reader(shown, used=used)
            used = reader.files > 0
            try:
                info = _read_by(reader, asked, shown, deadline_s)
            except _SoundLostError as lost:
                reader.end()
                if lost.in_time and used:  # by what it read before, perhaps
                    used = False
                    continue
                return lost.info
            except TimeoutError:
                reader.end()
                raise InputError(
                    f"{shown} could not be read within {deadline_s:.0f} s",
                    "the file may be damaged; try to play it or to remux it",
                ) from None
            except ServerGoneError:
                reader.end()
                reader.server.await_end()
                servers += 1
                if servers == _SERVERS_PER_FILE:
                    raise reader.server.failure(shown) from None
            except InputError:
                reader.end()
                if not used:
                    raise
                used = False
            except BaseException:
                reader.end()
                raise
            else:
                self._give_back(reader)
                return info

    def _reader(self, shown: str, *, used: bool) -> Reader:
        """One that nobody has, or a new one if there is none, or `used` is false."""
        with self._lock:
            if self._closed:
                raise InputError(f"{shown} was not read: the run was stopped")
            if self._server is None or self._server.has_ended:
                gone, self._idle = self._idle, []
                for reader in gone:
                    reader.end()
                if self._server is not None:
                    self._server.end()
                self._server = self._starter.submit(Server).result()
            if used and self._idle:
                return self._idle.pop()
            return self._server.reader()

    def _give_back(self, reader: Reader) -> None:
        with self._lock:
            worn = reader.worn or reader.files >= _FILES_PER_READER
            if not worn and not self._closed and reader.server is self._server:
                self._idle.append(reader)
                return
        reader.end()


def _read_by(reader: Reader, asked: Asked, shown: str, deadline_s: float) -> VideoInfo:
    # Files, not pipes: a child that babbles fills neither this process's memory nor a pipe.
    with memory_file() as answer, memory_file() as messages:
        try:
            status = reader.read(asked, deadline_s, answer, messages)
        except TimeoutError:
            if without := _answers(answer):
                how = f"no end within {deadline_s:.0f} s"
                info = _without_sound(info_of(without[0], shown), how)
                raise _SoundLostError(info, in_time=False) from None
            raise
        said = _answers(answer)
        if status == 0:
            return info_of(said[-1] if said else b"", shown)
        # A kill is no fault of the file's.
        if said and status != -signal.SIGKILL:
            info = _without_sound(info_of(said[0], shown), how_it_ended(status))
            raise _SoundLostError(info, in_time=True)
        failure = ChildFailure.of(("probe", asked.path), status, messages)
        crash = failure.sentence(f"reading {shown} crashed")
        raise failure.noted(InputError(crash, "the file may be damaged"))


class _SoundLostError(Exception):
    """A reader ended while it tried the sound.

    Attributes:
        info: the video without it.
        in_time: it ended by itself.
    """

    def __init__(self, info: VideoInfo, *, in_time: bool) -> None:
        super().__init__(info)
        self.info, self.in_time = info, in_time


def _answers(answer: IO[bytes]) -> list[bytes]:
    """The whole lines of what a reader has written."""
    answer.seek(0)
    return answer.read(2 * _ANSWER_BYTES).split(b"\n")[:-1]


def _without_sound(info: VideoInfo, how: str) -> VideoInfo:
    note = f"its sound is left out: its decoder crashed or hung ({how})"
    return replace(info, notes=(*info.notes, note))


def info_of(answer: bytes, shown: str) -> VideoInfo:
    """What a child found; raises what it says that it met."""
    try:
        said = json.loads(answer)
        if "info" in said:
            return _VIDEO_INFO.validate_python(said["info"])
        kind = DiskError if said["kind"] == DiskError.kind else InputError
        error = kind(str(said["error"]), str(said["advice"]))
    except (ValueError, TypeError, LookupError) as trouble:
        raise InputError(f"reading {shown} gave no answer", "the file may be damaged") from trouble
    raise error


def info_to_json(info: VideoInfo) -> str:
    """The text form of a VideoInfo; `info_from_json` reads it back."""
    return _VIDEO_INFO.dump_json(info).decode()


def info_from_json(text: str) -> VideoInfo:
    """Raises ValueError when `text` is not the text form of a VideoInfo."""
    return _VIDEO_INFO.validate_json(text)
