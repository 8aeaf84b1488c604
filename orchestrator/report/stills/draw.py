"""Draws frames of a source and of its output, small; run as a child, which has limits.

Takes a `DrawRequest` as JSON in its argument, writes one JSON object a frame.
"""

from __future__ import annotations

import base64
import io
import json
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from orchestrator.report.stills.draw_request import DrawRequest
from pipeline.source.signature import CONTAINERS

#: Pixels: the longer side of a picture.
SIDE = 480
_QUALITY = 62

#: Pixels: the longer side of a thumbnail, which shows the left eye.
THUMB_SIDE = 240

#: Pixels: the sides of the crop that shows an edge at full resolution.
EDGE_SIDE = 320

#: A result in which a smaller share of the pixels is seen counts as empty.
_LEAST_SEEN = 0.002

#: Alpha, 0..255, that counts as half transparent, and pixels of it that make an edge.
_SOFT = (24, 231)
_LEAST_SOFT = 256

_MEMORY_BYTES = 4 << 30  # HEVC of 8192x4096 in 10 bits takes 1.0 GB
_ANSWER_BYTES = 8 << 20
_THREADS = 1  # the cores are for the work


def main(asked: str) -> None:
    said = json.loads(asked)
    request = DrawRequest(**{**said, "frames": tuple(said["frames"])})
    _limit_this_process(request.most_cpu_s)
    os.nice(10)  # the run has priority
    answer = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what libraries print is no answer
    thumb = edge = ""
    for frame in request.frames:
        # The result first, and each frame by itself: a source that is gone costs its picture only.
        pixels = _result(request, frame)
        result = None if pixels is None else _small(pixels)
        source = _source(request, frame)
        if request.is_matte and result is not None and source is not None:
            source.putalpha(result.convert("L").resize(source.size))
            result, source = source, source.convert("RGB")
        matte = result.getchannel("A") if result is not None and result.mode == "RGBA" else None
        drawn = result or source
        if drawn is None:
            continue
        # One of each for a video.
        is_first_thumb, is_first_edge = not thumb, not edge
        thumb = thumb or _as_text(_thumb(request, result, source))
        edge = edge or _as_text(_edge(request, pixels))
        line = {
            "frame": frame,
            "thumb": thumb if is_first_thumb else "",
            "edge": edge if is_first_edge else "",
            "source": _as_text(source),
            "matte": _as_text(matte),
            "result": _as_text(result),
            "size": drawn.size,
        }
        answer.write(json.dumps(line) + "\n")
        answer.flush()


def _result(request: DrawRequest, frame: int) -> Any | None:
    """uint8 ``[H, W, 3 or 4]``."""
    seconds = frame / request.frame_rate
    return _picture(request.output, 0, seconds, request.frame_rate)


def _thumb(
    request: DrawRequest, result: Image.Image | None, source: Image.Image | None
) -> Image.Image | None:
    """The left eye of the result; of the source where the result is empty."""
    shown = result
    if result is not None and result.mode == "RGBA" and source is not None:
        seen = np.asarray(result.getchannel("A")) >= _SOFT[0]
        shown = source if seen.mean() < _LEAST_SEEN else result
    if shown is None:
        shown = source
    if shown is None:
        return None
    eye = Image.fromarray(left_eye(np.asarray(shown), request.layout, request.right_first))
    eye.thumbnail((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BOX)
    return eye


def _edge(request: DrawRequest, pixels: Any | None) -> Image.Image | None:
    """See `edge_crop`; None where the output has no alpha, or its picture is shown whole anyway."""
    if pixels is None or pixels.shape[2] != 4 or max(pixels.shape[:2]) <= SIDE:
        return None
    crop = edge_crop(left_eye(pixels, request.layout, request.right_first))
    return None if crop is None else Image.fromarray(np.ascontiguousarray(crop))


def left_eye(pixels: Any, layout: str, right_first: bool) -> Any:
    """Of ``[H, W, C]`` with both eyes; all of it where there is one."""
    height, width = pixels.shape[:2]
    if layout == "sbs":
        return pixels[:, width // 2 :] if right_first else pixels[:, : width // 2]
    if layout == "tb":
        return pixels[height // 2 :] if right_first else pixels[: height // 2]
    return pixels


def edge_crop(eye: Any) -> Any | None:
    """The part of an eye that shows an edge best, without a pixel altered.

    A grid of squares of `EDGE_SIDE` lies on the middle of the eye; the crop is the square with the
    most half transparent pixels.

    Args:
        eye: uint8 ``[H, W, 4]``.

    Returns:
        uint8 ``[EDGE_SIDE, EDGE_SIDE, 4]``, less where the eye is smaller; None where there is no
        edge.
    """
    height, width = eye.shape[:2]
    tall, wide = min(EDGE_SIDE, height), min(EDGE_SIDE, width)
    rows, columns = height // tall, width // wide
    top, left = (height - rows * tall) // 2, (width - columns * wide) // 2
    alpha = eye[top : top + rows * tall, left : left + columns * wide, 3]
    soft = (alpha >= _SOFT[0]) & (alpha <= _SOFT[1])
    counts = soft.reshape(rows, tall, columns, wide).sum(axis=(1, 3))
    if counts.max() < _LEAST_SOFT:
        return None
    row, column = divmod(int(counts.argmax()), columns)
    y, x = top + row * tall, left + column * wide
    return eye[y : y + tall, x : x + wide]


def _source(request: DrawRequest, frame: int) -> Image.Image | None:
    if not request.source:
        return None
    eyes = [_upright(request, request.stream, frame)]
    if request.right_stream is not None:
        eyes.append(_upright(request, request.right_stream, frame))
    shown = [eye for eye in eyes if eye is not None]
    if len(shown) != len(eyes):
        return None
    return _small(np.ascontiguousarray(np.concatenate(shown, axis=1))).convert("RGB")


def _upright(request: DrawRequest, stream: int, frame: int) -> Any | None:
    """uint8 ``[H, W, 3]``."""
    seconds = request.begin_s + (request.first_frame + frame) / request.frame_rate
    picture = _picture(request.source, stream, seconds, request.frame_rate * request.every)
    if picture is None:
        return None
    top, bottom, left, right = request.crop
    picture = picture[top : picture.shape[0] - bottom, left : picture.shape[1] - right]
    if request.mirrored:
        picture = picture[:, ::-1]
    return np.rot90(picture, request.rotation // 90)


def _small(pixels: Any) -> Image.Image:
    """Of uint8 ``[H, W, 3 or 4]``; where it has alpha, colours count as much as they are seen."""
    picture = Image.fromarray(pixels)
    scale = min(1.0, SIDE / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX)


def _as_text(picture: Image.Image | None) -> str:
    if picture is None:
        return ""
    held = io.BytesIO()
    picture.save(held, "WEBP", quality=_QUALITY, method=4)
    return base64.b64encode(held.getvalue()).decode()


def _picture(path: str, stream: int, seconds: float, rate: float) -> Any | None:
    """uint8 ``[H, W, 3 or 4]`` of the frame that plays at `seconds`; None where none can be had."""
    import av

    options = {"protocol_whitelist": "file,pipe", "format_whitelist": ",".join(CONTAINERS)}
    try:
        with av.open(f"file:{path}", options=options, metadata_errors="replace") as container:
            found = None
            for frame in _frames(container, container.streams[stream], seconds):
                if found is not None and frame.time > seconds + 0.5 / rate:
                    break
                found = frame
            if found is None:
                return None
            alpha = found.format.name.startswith("yuva")
            return found.to_ndarray(format="rgba" if alpha else "rgb24")
    except (av.FFmpegError, OSError, ValueError, LookupError, MemoryError):
        return None


def _frames(container: Any, stream: Any, seconds: float) -> Iterator[Any]:
    """Frames in the order in which they play, from a keyframe that is not after `seconds`."""
    import av

    decoder = stream.codec_context
    if decoder.name == "vp9":  # FFmpeg's own decoder drops alpha
        decoder = av.CodecContext.create("libvpx-vp9", "r")
    decoder.thread_count = _THREADS
    container.seek(int(seconds / stream.time_base), stream=stream, backward=True)
    for packet in container.demux(stream):
        for frame in decoder.decode(packet if packet.size else None):
            frame.time_base = frame.time_base or stream.time_base
            if frame.time is not None:
                yield frame


def _limit_this_process(most_cpu_s: int) -> None:
    """Bound what showing one file may take of the machine, and be the first to go.

    It can write no file; where memory ends, the kernel ends this process before any worker.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    memory = pages * resource.getpagesize() + _MEMORY_BYTES
    for limit, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, _ANSWER_BYTES),
        (resource.RLIMIT_CPU, most_cpu_s),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))


if __name__ == "__main__":
    main(*sys.argv[1:])
