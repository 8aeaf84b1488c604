"""Reading of finished files of every format: decoded frames as red, green, blue and alpha."""

from __future__ import annotations

import hashlib
import io
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.encode.ffmpeg_pipe import ffmpeg_command

Floats = NDArray[np.floating[Any]]

_WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def decoded(path: Path) -> Iterator[av.VideoFrame]:
    """Every frame, by a decoder that keeps alpha."""
    if is_hevc(path):
        yield from with_alpha_layer(path)
        return
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        decoder = av.CodecContext.create("libvpx-vp9", "r") if context.name == "vp9" else context
        for packet in container.demux(stream):
            if packet.size:
                yield from decoder.decode(packet)
        if decoder is context:
            yield from decoder.decode(None)


def is_hevc(path: Path) -> bool:
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.name == "hevc"


def with_alpha_layer(path: Path) -> Iterator[av.VideoFrame]:
    """PyAV's FFmpeg decodes the layer of colour alone; from version 9 on it knows the other."""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        names = ("colorspace", "color_range", "color_primaries", "color_trc")
        tags = {name: int(getattr(context, name)) for name in names}
    raw = ("-map", "0:v:0", "-fps_mode", "passthrough", "-c:v", "rawvideo", "-f", "nut")
    command = ffmpeg_command("-i", f"file:{path}", *raw, "pipe:1")
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    with av.open(io.BytesIO(done.stdout), mode="r", format="nut") as container:
        for frame in container.decode(video=0):
            for name, value in tags.items():  # which NUT does not hold
                setattr(frame, name, value)
            yield frame


def samples(frame: av.VideoFrame) -> list[Floats]:
    """The planes as their numbers in 8 bit, with fractions where the file has more."""
    depth = next((bits for bits in (10, 12) if f"p{bits}" in frame.format.name), 8)
    planes = []
    for plane in frame.planes:
        rows = np.frombuffer(bytes(plane), dtype=np.uint8).reshape(plane.height, plane.line_size)
        numbers = rows if depth == 8 else rows.view("<u2")
        planes.append(numbers[:, : plane.width].astype(np.float32) / 2 ** (depth - 8))
    if len(planes) == 4 and depth > 8:  # alpha spans the full range of its depth
        planes[3] *= 255 * 2 ** (depth - 8) / (2**depth - 1)
    return planes


def rgba(frame: av.VideoFrame) -> Floats:
    """``[H, W, 4]``, 0..255; alpha is 255 where the file has none. By the formulas of H.273."""
    assert frame.color_range == 1, "not tagged as limited range"
    kr, kb = _WEIGHTS[int(frame.colorspace)]
    y, u, v, *rest = samples(frame)
    step = y.shape[0] // u.shape[0]
    u, v = (np.repeat(np.repeat(c - 128, step, 0), step, 1) / 224 for c in (u, v))
    luma = (y - 16) / 219
    red, blue = luma + 2 * (1 - kr) * v, luma + 2 * (1 - kb) * u
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    alpha = rest[0] if rest else np.full_like(y, 255)
    planes = [np.clip(plane * 255, 0, 255) for plane in (red, green, blue)]
    return np.stack([*planes, alpha], axis=2)


def digests(path: Path) -> list[str]:
    """A digest of the pixels of every decoded frame."""
    return [
        hashlib.sha256(b"".join(p.tobytes() for p in samples(frame))).hexdigest()
        for frame in decoded(path)
    ]
