"""Decode a segment again at sampled frames and compare it with the planes that went in.

What went in is what the model gave; a joined file holds the very same coded pictures (see
`pipeline/deliverables/movie.py`), so that what is found here holds for it as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.deliverables.readback import decode_group
from pipeline.encode import Encoder
from pipeline.errors import EncodeError

_BLOCK = 16  # pixels: noise of the encoder averages out over such a block, a wrong picture does not

#: Mean difference of blocks, as a share of full scale. Encoders at their worst quality settings
#: stay below half of it; a frame that moved by one, or another matrix, does not.
_MEAN_TOLERANCE = 0.01
_FLAT_NEAR = 8 / 255
_COVERAGE_TOLERANCE = 0.02

_ALLOWED = {"protocol_whitelist": "file,pipe", "format_whitelist": "mov"}

Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PictureForm:
    """How the bytes of a raw frame are its planes.

    Attributes:
        formats: FFmpeg's names of pixel formats: the one of the raw frames, then what decoders
            may make of them; 4:2:0 of 8 bit, or 4:4:4 with alpha of 10 or 12 bit.
        flat: the background's Y, U, V in 0..1 where it has one colour, else None.
    """

    width: int
    height: int
    formats: tuple[str, ...]
    flat: tuple[float, float, float] | None = None

    def planes(self, raw: NDArray[np.uint8], pixel_format: str) -> list[Plane]:
        """Planes of a frame, 0..1, from its bytes ``[n]``."""
        full = (self.height, self.width)
        half = (self.height // 2, self.width // 2)
        samples: NDArray[Any]
        if pixel_format == "yuv420p":
            samples, shapes, top = raw, [full, half, half], 255
        else:
            top = 4095 if "p12" in pixel_format else 1023
            samples, shapes = raw.view("<u2"), [full] * 4
        ends = np.cumsum([height * width for height, width in shapes])
        parts = np.split(samples, ends[:-1])
        scale = np.float32(1 / top)
        return [
            part.reshape(shape).astype(np.float32) * scale
            for part, shape in zip(parts, shapes, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Sketch:
    """A frame in few numbers.

    Attributes:
        blocks: means of the blocks of each plane, 0..1.
        coverage: share of the picture that has the flat colour; None where there is none.
    """

    blocks: tuple[Plane, ...]
    coverage: float | None


def sketch(planes: Sequence[Plane], flat: tuple[float, float, float] | None) -> Sketch:
    """See `Sketch`; a plane of half size has blocks of half size."""
    blocks = []
    for plane in planes:
        size = _BLOCK * plane.shape[0] // planes[0].shape[0]
        rows = np.add.reduceat(plane, range(0, plane.shape[0], size), axis=0)
        sums = np.add.reduceat(rows, range(0, plane.shape[1], size), axis=1)
        ones = np.ones_like(plane[:1])
        columns = np.add.reduceat(ones, range(0, plane.shape[1], size), axis=1)
        lines = np.add.reduceat(np.ones_like(plane[:, :1]), range(0, plane.shape[0], size), axis=0)
        blocks.append(sums / (columns * lines))
    coverage = None if flat is None else _coverage(planes, flat)
    return Sketch(tuple(blocks), coverage)


def _coverage(planes: Sequence[Plane], flat: tuple[float, float, float]) -> float:
    y, u, v = planes[:3]
    luma = y.reshape(u.shape[0], 2, u.shape[1], 2).mean(axis=(1, 3))
    near = [
        np.abs(plane - value) <= _FLAT_NEAR for plane, value in zip((luma, u, v), flat, strict=True)
    ]
    return float((near[0] & near[1] & near[2]).mean())


class CheckedEncoder:
    """An encoder that looks at its file after closing it. See `pipeline.encode.Encoder`.

    Args:
        encoder: writes `path`, an MP4 or MOV without B frames.
        every: one frame out of so many is compared, the first one among them; the time for that is
            small where these are keyframes.
    """

    def __init__(self, encoder: Encoder, path: Path, form: PictureForm, every: int) -> None:
        self._encoder = encoder
        self._path = path
        self._form = form
        self._every = every
        self._written = 0
        self._given: dict[int, Sketch] = {}

    def write(self, planes: Tensor) -> None:
        for t in range(len(planes)):
            number = self._written + t
            if number % self._every == 0:
                raw = planes[t].contiguous().numpy()
                given = self._form.planes(raw, self._form.formats[0])
                self._given[number] = sketch(given, self._form.flat)
        self._encoder.write(planes)
        self._written += len(planes)

    def close(self) -> None:
        self._encoder.close()
        if problem := self._problem():
            raise EncodeError(f"{self._path.name} is not what was encoded: {problem}")

    def abort(self) -> None:
        self._encoder.abort()

    def _problem(self) -> str | None:
        compared = 0
        for number, frame in sampled_frames(self._path, set(self._given)):
            kind = frame.format.name
            if kind not in self._form.formats:
                return f"it has {kind} instead of {self._form.formats[0]}"
            found = sketch(self._form.planes(frame_bytes(frame), kind), self._form.flat)
            if problem := difference(self._given[number], found):
                return f"frame {number} has {problem}"
            compared += 1
        if compared != len(self._given):
            return f"{compared} of {len(self._given)} sampled frames decode"
        return None


def difference(given: Sketch, found: Sketch) -> str | None:
    """What of `found` is too far from `given`, in words; None if nothing is."""
    pairs = zip(given.blocks, found.blocks, ("luma", "chroma", "chroma", "alpha"), strict=False)
    for expected, plane, what in pairs:
        off = float(np.abs(expected - plane).mean())
        if off > _MEAN_TOLERANCE:
            return f"{what} off by {off:.3f} on average"
    if given.coverage is None or found.coverage is None:
        return None
    if abs(given.coverage - found.coverage) > _COVERAGE_TOLERANCE:
        return f"{found.coverage:.1%} of flat background instead of {given.coverage:.1%}"
    return None


def frame_bytes(frame: Any) -> NDArray[np.uint8]:
    """The planes of a decoded frame, one behind the other without padding."""
    parts = []
    for plane in frame.planes:
        rows = np.frombuffer(bytes(plane), dtype=np.uint8).reshape(plane.height, plane.line_size)
        bytes_of_row = plane.width * (1 if frame.format.name == "yuv420p" else 2)
        parts.append(rows[:, :bytes_of_row].reshape(-1))
    return np.concatenate(parts)


def sampled_frames(path: Path, numbers: set[int]) -> Iterator[tuple[int, Any]]:
    """The frames of those numbers, decoded from the keyframe before each.

    Raises:
        EncodeError: FFmpeg cannot read the file.
    """
    import av

    try:
        with av.open(f"file:{path}", options=_ALLOWED) as container:
            (stream,) = container.streams.video
            group: list[Any] = []
            number = -1
            for packet in container.demux(stream):
                if packet.pts is None or packet.size == 0:
                    continue
                number += 1
                if packet.is_keyframe:
                    group.clear()
                group.append(packet)
                if number in numbers:
                    count, frame = decode_group(stream.codec_context, group)
                    if count != len(group):
                        raise EncodeError(f"frame {number} of {path.name} does not decode")
                    yield number, frame
    except (av.FFmpegError, ValueError) as error:
        raise EncodeError(f"cannot read back {path.name}: {error}") from error
