"""Tries the ways to NVENC, on the GPUs that will work, and keeps the libraries' own words.

A trial is a child process: the one that asks never touches a GPU.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from pipeline.contract.nvenc_ways import NvencWay, named
from pipeline.encode.nvenc_library import nvenc_cause
from pipeline.encode.raw_pictures import RawPictures
from pipeline.files.child import own_environment, tied
from pipeline.files.child_failure import ChildFailure

#: A GPU that is there answers in a second or two; one that hangs is as good as none.
TRIAL_DEADLINE_S = 30.0

#: Of words of a library that are not known.
_LONGEST_CAUSE = 160


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be encoded.

    Attributes:
        options: ffmpeg's for the encoder, in pairs, as a segment has them.
        pixel_format: of the raw pictures in a pipe, by FFmpeg's name.
    """

    options: tuple[str, ...]
    width: int
    height: int
    pixel_format: str = "yuv420p"


#: (way, what is to be encoded) -> why it does not work, or None.
Nvenc = Callable[[NvencWay, Asked], str | None]


class TryWay(Protocol):
    """Tries one way, on the GPUs that `environment` leaves visible."""

    def __call__(
        self, way: NvencWay, asked: Asked, environment: Mapping[str, str]
    ) -> str | None: ...


def try_way(way: NvencWay, asked: Asked, environment: Mapping[str, str]) -> str | None:
    """See `TryWay`: by the row's own trial."""
    trial: TryWay = named(way.trial)
    return trial(way, asked, environment)


class NvencTrials:
    """`Nvenc` on certain GPUs; every question is tried once, whichever thread asks first.

    Args:
        visible: CUDA_VISIBLE_DEVICES of each kind of worker; a way works if it works in all.
    """

    def __init__(self, visible: Sequence[str], try_way: TryWay = try_way) -> None:
        self._visible = tuple(visible)
        self._try_way = try_way
        self._found: dict[tuple[str, Asked], str | None] = {}
        self._lock = threading.Lock()

    def __call__(self, way: NvencWay, asked: Asked) -> str | None:
        if not self._visible:
            return "no worker has a GPU"
        with self._lock:  # one trial at a time: they would take each other's sessions
            key = way.name, asked
            if key not in self._found:
                self._found[key] = self._tried(way, asked)
            return self._found[key]

    def _tried(self, way: NvencWay, asked: Asked) -> str | None:
        for visible in self._visible:
            problem = self._try_way(way, asked, only_these(visible, os.environ))
            if problem is not None:
                return problem
        return None


def only_these(visible: str, environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` for a process that sees these GPUs only; numbers are those of nvidia-smi."""
    order = {"CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return {**environment, **order}


def pipe_trial(way: NvencWay, asked: Asked, environment: Mapping[str, str]) -> str | None:
    """See `TryWay`: one black frame through the pipe, encoded as segments are, to nowhere."""
    pictures = RawPictures((asked.width, asked.height), Fraction(30), asked.pixel_format)
    command = named(way.command)(pictures, asked.options, "null", "/dev/null")
    deep = asked.pixel_format != "yuv420p"
    frame_bytes = asked.width * asked.height * 3 // 2 * (2 if deep else 1)
    with closing(os.fdopen(os.memfd_create("frame"), "w+b")) as frame:
        frame.truncate(frame_bytes)  # zeros, which take no memory
        try:
            done = subprocess.run(
                tied(command),
                stdin=frame,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=TRIAL_DEADLINE_S,
                check=False,
                env={**environment, **_places()},
            )
        except subprocess.TimeoutExpired:
            return f"it did not end within {TRIAL_DEADLINE_S:.0f} s"
        except OSError as error:
            return f"it cannot be started: {error.strerror or error}"
    if done.returncode == 0:
        return None
    failure = ChildFailure.of(command, done.returncode, done.stderr)
    return cause_of_failure(failure)


def cause_of_failure(failure: ChildFailure) -> str:
    """Why a trial failed: in libavcodec's words, or by its last line."""
    cause = nvenc_cause(failure.messages)
    return cause or failure.sentence("the trial failed", failure.reason[-_LONGEST_CAUSE:])


def _places() -> dict[str, str]:
    """Where a new Python finds our modules: a way may be one of them."""
    own = own_environment()
    return {name: own[name] for name in ("PYTHONPATH", "PYTHONSAFEPATH") if name in own}
