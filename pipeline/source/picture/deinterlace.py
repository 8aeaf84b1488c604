"""Deinterlaces decoded frames by FFmpeg's bwdif, through PyAV: as many come out as go in.

bwdif makes a whole picture of a frame and of the ones before and after it. So frames from any place
on are the same, whatever segment they are made for, if others are decoded before and after them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.contract import FirstField
from pipeline.errors import DecodeError
from pipeline.pixels.planes import frame_planes

#: Subsampling across and down -> FFmpeg's name.
_NAMES = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (4, 1): "411", (1, 2): "440", (4, 4): "410"}

#: What `pipeline.source.decode` converts by itself.
_TAKEN = [
    *("yuv420p", "yuv422p", "yuv444p"),
    *(f"yuv{chroma}p{bits}le" for chroma in (420, 422, 444) for bits in (10, 12)),
]


#: Time is counted in frames.
_FRAME = Fraction(1)


class Decoded(Protocol):
    """What is read of a decoded frame (`torchcodec.decoders.RawFrame`)."""

    @property
    def bit_depth(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def planes(self) -> tuple[Tensor, ...]: ...


@dataclass(frozen=True, slots=True, eq=False)
class WholeFrame:
    """A deinterlaced frame; named as those of `torchcodec.decoders.RawFrame`.

    Attributes:
        pixel_format: FFmpeg's name.
        planes: Y ``[H, W]``, U and V, uint8 or uint16.
    """

    pixel_format: str
    bit_depth: int
    height: int
    width: int
    planes: tuple[Tensor, ...]


def deinterlaced(
    frames: Iterable[tuple[int, Decoded]], begin: int, first: FirstField
) -> Iterator[tuple[int, WholeFrame]]:
    """Frames from position `begin` or earlier on, each with its position.

    Args:
        frames: from `begin` - `BEFORE` on or earlier, or from the first of the file.
        first: the field that is shown first.

    Raises:
        DecodeError: a picture has no fields.
    """
    filtered: _Filtered | None = None
    for position, raw in _from(frames, begin):
        if filtered is None or not filtered.takes(raw):
            if filtered is not None:
                yield from filtered.rest()
            filtered = _Filtered(raw, first)
        yield from filtered.through(position, raw)
    if filtered is not None:
        yield from filtered.rest()


#: Frames that are needed before the first one: its neighbour, and that one's, for it is shown
#: instead of the first where that is damaged.
BEFORE = 2


def _from(frames: Iterable[tuple[int, Decoded]], begin: int) -> Iterator[tuple[int, Decoded]]:
    """The frames from `begin` on, and the last ones before."""
    before: deque[tuple[int, Decoded]] = deque(maxlen=BEFORE)
    for position, raw in frames:
        if position < begin:
            before.append((position, raw))
            continue
        while before:
            yield before.popleft()
        yield position, raw
    yield from before


class _Filtered:
    """The filter, for frames of one size and format."""

    def __init__(self, raw: Decoded, first: FirstField) -> None:
        import av
        import av.filter

        self._form = _form(raw)
        name, height, width = self._form
        self._graph = av.filter.Graph()
        parity = "tff" if first == "top" else "bff"
        nodes = (
            self._graph.add_buffer(
                width=width,
                height=height,
                format=av.VideoFormat(name, width, height),
                time_base=_FRAME,
            ),
            self._graph.add("bwdif", f"mode=send_frame:parity={parity}:deint=all"),
            self._graph.add("format", f"pix_fmts={'|'.join(_TAKEN)}"),
            self._graph.add("buffersink"),
        )
        self._graph.link_nodes(*nodes).configure()
        self._waiting: deque[int] = deque()

    def takes(self, raw: Decoded) -> bool:
        return _form(raw) == self._form

    def through(self, position: int, raw: Decoded) -> Iterator[tuple[int, WholeFrame]]:
        self._waiting.append(position)
        self._graph.push(_to_av(raw, self._form[0], position))
        yield from self._ready()

    def rest(self) -> Iterator[tuple[int, WholeFrame]]:
        self._graph.push(None)
        yield from self._ready()

    def _ready(self) -> Iterator[tuple[int, WholeFrame]]:
        while True:
            try:
                frame: Any = self._graph.vpull()
            except (BlockingIOError, EOFError):
                return
            y, u, v = frame_planes(frame)
            bits = frame.format.components[0].bits
            whole = WholeFrame(frame.format.name, bits, frame.height, frame.width, (y, u, v))
            yield self._waiting.popleft(), whole


def _form(raw: Decoded) -> tuple[str, int, int]:
    """(FFmpeg's name of planes like these, height, width)."""
    if len(raw.planes) < 3:
        raise DecodeError("a picture of another kind among interlaced ones", "convert it first")
    chroma = raw.planes[1].shape
    steps = tuple(
        next((n for n in (1, 2, 4) if -(-whole // n) == part), 0)
        for whole, part in zip((raw.width, raw.height), (chroma[1], chroma[0]), strict=True)
    )
    depth = "" if raw.bit_depth == 8 else f"{raw.bit_depth}le"
    return f"yuv{_NAMES[steps]}p{depth}", raw.height, raw.width  # type: ignore[index]


def _to_av(raw: Decoded, name: str, position: int) -> Any:
    import av

    frame = av.VideoFrame(raw.width, raw.height, name)
    for plane, values in zip(frame.planes, raw.planes, strict=False):
        kind = np.uint8 if values.dtype == torch.uint8 else np.uint16
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        rows.view(kind)[:, : plane.width] = values.numpy()
    frame.pts = position
    frame.time_base = _FRAME
    return frame
