"""The catalogue of ways to NVENC: one row a way, the better one first. Nothing else lists them.

A row is plain data; what it names is loaded when it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class NvencWay:
    """One way of a frame to NVENC.

    Attributes:
        name: as settings name it.
        words: for people: whose NVENC it is.
        takes: where it takes pictures from: the GPU's memory, or a pipe (the standard input of a
            child process).
        trial: ``"module:attribute"``: a `pipeline.encode.nvenc_trial.TryWay`.
        library: ``"module:attribute"``: gives the file whose code talks to the driver, or None.
        command: ``"module:attribute"``: a `pipeline.encode.raw_pictures.RawCommand`, of a way that
            takes a pipe.
    """

    name: str
    words: str
    takes: Literal["gpu", "pipe"]
    trial: str
    library: str
    command: str = ""


#: In the order in which they are tried. PyAV's before ffmpeg's: it needs an older driver.
WAYS: tuple[NvencWay, ...] = (
    NvencWay(
        name="gpu",
        words="TorchCodec, from the GPU's memory",
        takes="gpu",
        trial="pipeline.deliverables.device_trial:device_trial",
        library="pipeline.encode.nvenc_library:torchcodecs_libavcodec",
    ),
    NvencWay(
        name="pyav",
        words="PyAV's libraries, by a pipe",
        takes="pipe",
        trial="pipeline.encode.nvenc_trial:pipe_trial",
        library="pipeline.encode.nvenc_library:pyavs_libavcodec",
        command="pipeline.encode.pyav_pipe:command",
    ),
    NvencWay(
        name="ffmpeg",
        words="ffmpeg, by a pipe",
        takes="pipe",
        trial="pipeline.encode.nvenc_trial:pipe_trial",
        library="pipeline.encode.ffmpeg_pipe:ffmpeg_path",
        command="pipeline.encode.ffmpeg_pipe:raw_command",
    ),
)

#: The ways that `encoding.nvenc_pipe` may name.
PIPES: tuple[str, ...] = tuple(way.name for way in WAYS if way.takes == "pipe")


def nvenc_way(name: str) -> NvencWay:
    """Raises KeyError: there is none of that name."""
    return {way.name: way for way in WAYS}[name]


def named(place: str) -> Any:
    """What a row names as ``"module:attribute"``."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
