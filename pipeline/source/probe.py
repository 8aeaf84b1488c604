"""Probes one file in a child process: its `VideoInfo` and its frame index, by PyAV.

The child has a deadline and limits of its own for memory and output: a file that hangs, bloats or
crashes the demuxer takes the child with it, not the run.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pydantic import TypeAdapter

from pipeline.contract import Layout, ProjectionName, VideoInfo
from pipeline.errors import DiskError, EncodeError, InputError, MachineError, VrmatteError
from pipeline.files.child import own_module, tied
from pipeline.files.child_failure import ChildFailure
from pipeline.source.signature import find_container
from pipeline.source.unchanged import regular_file
from pipeline.text import printable

_MODULE = "pipeline.source.probe"  # this one, as a child runs it
_VIDEO_INFO = TypeAdapter(VideoInfo)
_SLOWEST_DISK_BYTES_PER_S = 20e6  # the whole file is read once, for its time stamps

# What a child may take. 8192x4096 in 10 bits takes 1.0 GB (AV1 and HEVC, one thread).
_MEMORY_BYTES = 6 << 30
_FILE_BYTES = 512 << 20
_ANSWER_BYTES = 1 << 20

#: More threads than one are of no use to the child, and each reserves memory.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def probe_video(
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
    with _memory_file() as answer, _memory_file() as messages:
        words = (str(path), str(index_path), layout or "auto", projection or "auto")
        command, environment = own_module(_MODULE, *words, str(math.ceil(deadline_s)))
        # Files, not pipes: a child that babbles fills neither this process's memory nor a pipe.
        try:
            child = subprocess.Popen(
                tied(command),
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=messages,
                env=environment | _ONE_THREAD,
            )
        except OSError as error:
            raise MachineError(
                f"no process can be started to read {shown}: {error.strerror}",
                "let this user have more processes and memory, then run again",
            ) from error
        try:
            status = child.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise InputError(
                f"{shown} could not be read within {deadline_s:.0f} s",
                "the file may be damaged; try to play it or to remux it",
            ) from None
        finally:
            child.kill()
            child.wait()
            index_path.with_name(f".{index_path.name}.{child.pid}.part").unlink(missing_ok=True)
        if status != 0:
            failure = ChildFailure.of(command, status, messages)
            crash = failure.sentence(f"reading {shown} crashed")
            raise failure.noted(InputError(crash, "the file may be damaged"))
        answer.seek(0)
        return _info(answer.read(_ANSWER_BYTES), shown)


def _memory_file() -> IO[bytes]:
    """In memory, bounded by the child's limits: a full /tmp is not the file's fault."""
    return open(os.memfd_create("probe"), "w+b")  # noqa: PTH123


def end_probes() -> None:
    """Kill the probes that this process waits for: their files then could not be read."""
    import psutil

    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if _MODULE in child.cmdline():
                child.kill()


def _info(answer: bytes, shown: str) -> VideoInfo:
    """What the child found; raises what it says that it met."""
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


def _limit_this_process(deadline_s: int) -> None:
    """Bound what reading one file may take of the machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * resource.getpagesize() + _MEMORY_BYTES
    for limit, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_CPU, deadline_s + 10),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))


def main(arguments: Sequence[str]) -> None:
    """The child: prints one JSON object, the info or the error."""
    path, index_path = Path(arguments[0]), Path(arguments[1])
    # What libraries print is no answer.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    layout, projection = (None if given == "auto" else given for given in arguments[2:4])
    said: dict[str, Any]
    try:
        # Here, not above: whoever waits for the child needs none of it, and what it maps is no part
        # of what the file may take.
        from pipeline.source.video_info import read_video

        _limit_this_process(int(arguments[4]))
        info = read_video(path, index_path, layout, projection)  # type: ignore[arg-type]
        said = {"info": _VIDEO_INFO.dump_python(info, mode="json")}
    except EncodeError:  # the index is larger than a file of this process may be
        said = {
            "kind": InputError.kind,
            "error": f"{printable(str(path))} has more time stamps than any film",
            "advice": "the file may be damaged; try to play it or to remux it",
        }
    except VrmatteError as error:
        said = {"kind": error.kind, "error": error.message, "advice": error.advice}
    except MemoryError:
        said = {
            "kind": InputError.kind,
            "error": f"reading {printable(str(path))} takes more than {_MEMORY_BYTES >> 30} GiB",
            "advice": "the file may be damaged; try to play it or to remux it",
        }
    with answer:
        json.dump(said, answer)


if __name__ == "__main__":
    main(sys.argv[1:])
