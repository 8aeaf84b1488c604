"""The child side of `probe.py`: a server that imports PyAV once and forks readers of files.

A fork costs milliseconds, where a new Python costs a second. A reader reads one file after another,
each within limits of its own for memory, CPU time and output. The server itself opens none.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import selectors
import signal
import socket
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn

from pydantic import TypeAdapter

from pipeline.contract import Layout, ProjectionName, VideoInfo
from pipeline.errors import EncodeError, InputError, VrmatteError
from pipeline.text import printable

# What one file may take. 8192x4096 in 10 bits takes 1.0 GB (AV1 and HEVC, one thread).
_MEMORY_BYTES = 6 << 30
_FILE_BYTES = 512 << 20

#: A reader that has become so much larger by what it read is not used again.
_WORN_BYTES = 256 << 20

_ASKED_BYTES = 1 << 17
#: A reader's answer when it has read a file and had better read no other.
WORN = b"worn"

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_VIDEO_INFO = TypeAdapter(VideoInfo)


@dataclass(frozen=True, slots=True)
class Asked:
    """One file to be read.

    Attributes:
        layout, projection: taken as they are if given; otherwise found out.
        cpu_s: seconds of CPU time that it may take.
    """

    path: str
    index_path: str
    layout: Layout | None
    projection: ProjectionName | None
    cpu_s: int


@dataclass(frozen=True, slots=True, eq=False)
class _Reader:
    """A process that reads files.

    Attributes:
        ended: a pipe whose other end closes when it has ended.
        fate: where its end is told; it is killed when nobody listens there any more.
    """

    pid: int
    ended: int
    fate: socket.socket


@dataclass(slots=True)
class _Server:
    """Forks, kills and reaps; waits for nothing but events."""

    line: socket.socket
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    readers: set[_Reader] = field(default_factory=set)

    def serve(self) -> None:
        """Until the line ends: whoever asked is gone, or needs no more."""
        self.selector.register(self.line, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select():
                reader = key.data
                if reader is None:
                    if not self._take():
                        return self._end_all()
                elif reader in self.readers:
                    if key.fd == reader.ended:
                        self._reap(reader)
                    else:
                        self._kill(reader)

    def _take(self) -> bool:
        """Fork a reader; whether the line still holds."""
        try:
            text, descriptors, _, _ = socket.recv_fds(self.line, 16, 2)
        except OSError:
            return False
        if not text:
            return False
        fate, questions = (socket.socket(fileno=number) for number in descriptors)
        server = os.getpid()
        ended, alive = os.pipe()
        with questions:
            try:
                pid = os.fork()
            except OSError as error:
                os.close(ended)
                with fate:
                    _tell(fate, {"refused": error.strerror or str(error)})
                return True
            else:
                if pid == 0:
                    _be_reader(questions.fileno(), alive, server)
            finally:
                os.close(alive)
        reader = _Reader(pid, ended, fate)
        self.readers.add(reader)
        self.selector.register(reader.ended, selectors.EVENT_READ, reader)
        self.selector.register(fate, selectors.EVENT_READ, reader)
        _tell(fate, {"begun": pid})
        return True

    def _kill(self, reader: _Reader) -> None:
        """Nobody needs it any more; its end is an event as any other."""
        self.selector.unregister(reader.fate)
        os.kill(reader.pid, signal.SIGKILL)

    def _reap(self, reader: _Reader) -> None:
        _, status = os.waitpid(reader.pid, 0)
        self.readers.remove(reader)
        self.selector.unregister(reader.ended)
        os.close(reader.ended)
        with suppress(KeyError):  # it was killed
            self.selector.unregister(reader.fate)
        with reader.fate:
            _tell(reader.fate, {"status": os.waitstatus_to_exitcode(status)})

    def _end_all(self) -> None:
        for reader in self.readers:
            os.kill(reader.pid, signal.SIGKILL)
        for reader in self.readers:
            os.waitpid(reader.pid, 0)


def _tell(fate: socket.socket, said: dict[str, Any]) -> None:
    with suppress(OSError):  # nobody listens any more
        fate.send(json.dumps(said).encode())


def _be_reader(questions: int, alive: int, server: int) -> NoReturn:
    """Read the files that are asked for, until nobody asks any more; ends this process.

    Args:
        alive: stays open until then.
    """
    status = 1
    try:
        # The server may be killed at any moment, and be gone before this is asked for.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == server:
            # What the server holds open is no business of a file.
            questions, alive = os.dup(questions), os.dup(alive)  # in this order neither is closed
            os.dup2(questions, 3)
            os.dup2(alive, 4)
            os.closerange(5, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
            _answer_all(socket.socket(fileno=3))
            status = 0
    except BaseException:  # as at the end of any Python
        traceback.print_exc()
    finally:
        os._exit(status)


def _answer_all(questions: socket.socket) -> None:
    worn_bytes = _size_bytes() + _WORN_BYTES
    while True:
        text, descriptors, _, _ = socket.recv_fds(questions, _ASKED_BYTES, 2)
        if not text:
            return
        answer, messages = descriptors
        # What libraries print is no answer.
        os.dup2(messages, 1)
        os.dup2(messages, 2)
        os.close(messages)
        with os.fdopen(answer, "w", encoding="utf-8") as file:
            asked = Asked(**json.loads(text))
            limit_this_process(asked.cpu_s)
            answer_to(asked, file)
        questions.send(b"done" if _size_bytes() < worn_bytes else WORN)


def answer_to(asked: Asked, answer: IO[str]) -> None:
    """Read the file and write one JSON object on a line of its own: the info, or the error.

    If there is sound, the info without it comes before, on another line.
    """
    from pipeline.source.video_info import read_video

    path = Path(asked.path)
    damaged = "the file may be damaged; try to play it or to remux it"
    said: dict[str, Any]

    def tell(said: dict[str, Any]) -> None:
        answer.write(json.dumps(said) + "\n")
        answer.flush()

    def before_sound(info: VideoInfo) -> None:
        tell({"info": _VIDEO_INFO.dump_python(info, mode="json")})

    index_path = Path(asked.index_path)
    try:
        info = read_video(path, index_path, asked.layout, asked.projection, before_sound)
        said = {"info": _VIDEO_INFO.dump_python(info, mode="json")}
    except EncodeError:  # the index is larger than a file of this process may be
        what = f"{printable(str(path))} has more time stamps than any film"
        said = {"kind": InputError.kind, "error": what, "advice": damaged}
    except VrmatteError as error:
        said = {"kind": error.kind, "error": error.message, "advice": error.advice}
    except MemoryError:
        what = f"reading {printable(str(path))} takes more than {_MEMORY_BYTES >> 30} GiB"
        said = {"kind": InputError.kind, "error": what, "advice": damaged}
    tell(said)


def limit_this_process(cpu_s: int) -> None:
    """Bound what reading the next file may take of the machine.

    Soft limits, which the next file can have anew; nothing that reads a file raises them.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    for limit, most in (
        (resource.RLIMIT_AS, _size_bytes() + _MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + cpu_s),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(
            limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
        )


def _size_bytes() -> int:
    """Of this process's address space."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def main() -> None:
    """The server; its standard input is the line to whoever asks."""
    # Ctrl-C in a terminal reaches every process: whoever asks decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    # Before the first fork: it is what the forks save.
    from pipeline.source import video_info  # noqa: F401

    gc.freeze()  # a reader's collector would copy every page of it
    _Server(line).serve()


if __name__ == "__main__":
    main()
