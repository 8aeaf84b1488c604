"""Lays a keyed figure into both eyes of a real stereo clip, so that the true alpha is known.

    python benchmarks/composed.py FIGURE BACKGROUND OUT_LR_180.mp4 --eye 2144x1504 --height 501
        [--top-bottom] [--frames 60] [--at 0.5,0.6] [--to 0.5,0.6] [--disparity 12] [--skip 0]
        [--also 0.2,0.6]

FIGURE is a video with alpha (VP8 or VP9 in WebM), BACKGROUND a stereo video, side by side unless
--top-bottom is given. Both are scaled: an eye to --eye, the figure's picture so that the figure
itself, as its alpha shows it in the frame after --skip, is --height pixels high. Its middle is at
--at, shares of the eye's width and height, and moves to --to by the last frame. --also lays a
second copy, half a clip ahead. Written are OUT and, beside it, OUT.alpha.mkv (FFV1, grey).
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import av
import cv2
import imageio_ffmpeg  # type: ignore[import-untyped]
import numpy as np

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figure", type=Path)
    parser.add_argument("background", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--eye", required=True)
    parser.add_argument("--height", type=int, required=True)
    parser.add_argument("--top-bottom", action="store_true")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--at", default="0.5,0.6")
    parser.add_argument("--to")
    parser.add_argument("--also")
    parser.add_argument("--disparity", type=int, default=12)
    parser.add_argument("--skip", type=float, default=0)
    asked = parser.parse_args()
    width, height = map(int, asked.eye.split("x"))
    ways = [(asked.at, asked.to or asked.at)] + ([(asked.also, asked.also)] if asked.also else [])
    figures = [
        _figure(asked.figure, asked.skip + number * asked.frames / 60, asked.height)
        for number in range(len(ways))
    ]
    colours = _encoder(
        asked.out, 2 * width, height, "rgb24", "-c:v libx264 -crf 14 -pix_fmt yuv420p"
    )
    truths = _encoder(asked.out.with_suffix(".alpha.mkv"), 2 * width, height, "gray", "-c:v ffv1")
    for number, picture in enumerate(_background(asked.background, asked.frames)):
        share = number / max(1, asked.frames - 1)
        drawn = [next(figure) for figure in figures]
        halves = np.split(picture, 2, axis=0 if asked.top_bottom else 1)
        eyes, alphas = [], []
        for half, side in zip(halves, (1, -1), strict=True):
            eye = cv2.resize(half, (width, height), interpolation=cv2.INTER_CUBIC).astype(
                np.float32
            )
            alpha = np.zeros((height, width), np.float32)
            for (begin, end), layer in zip(ways, drawn, strict=True):
                x, y = (
                    float(a) * (1 - share) + float(b) * share
                    for a, b in zip(begin.split(","), end.split(","), strict=True)
                )
                _lay(
                    layer,
                    round(x * width + side * asked.disparity / 2),
                    round(y * height),
                    eye,
                    alpha,
                )
            eyes.append(eye)
            alphas.append(alpha)
        _stdin(colours).write(np.hstack(eyes).round().astype(np.uint8).tobytes())
        _stdin(truths).write((np.hstack(alphas) * 255).round().astype(np.uint8).tobytes())
    for encoder in (colours, truths):
        _stdin(encoder).close()
        encoder.wait()


def _background(path: Path, frames: int) -> Iterator[Any]:
    with av.open(str(path)) as file:
        for number, frame in enumerate(file.decode(video=0)):
            if number == frames:
                return
            yield frame.to_ndarray(format="rgb24")


def _figure(path: Path, skip: float, height: int) -> Iterator[Any]:
    """Frames ``[h, w, 4]`` 0..255, the figure of the first one in the middle and that high."""
    told = subprocess.run([FFMPEG, "-i", str(path)], capture_output=True, text=True).stderr
    decoder = "libvpx" if "vp8" in told else "libvpx-vp9"  # FFmpeg's own ones see no alpha
    with av.open(str(path)) as file:
        size = file.streams.video[0].width, file.streams.video[0].height
    command = [FFMPEG, "-v", "fatal", "-ss", str(skip), "-c:v", decoder, "-i", str(path)]
    command += ["-pix_fmt", "rgba", "-f", "rawvideo", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        cut: tuple[float, int, int, int, int] | None = None
        while data := process.stdout.read(size[0] * size[1] * 4):
            frame = np.frombuffer(data, np.uint8).reshape(size[1], size[0], 4)
            if cut is None:
                there = frame[..., 3] > 127
                rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
                scale = height / (rows[-1] + 1 - rows[0])
                middle = (columns[0] + columns[-1] + 1) / 2, (rows[0] + rows[-1] + 1) / 2
                reach = [max(middle[0], size[0] - middle[0]), max(middle[1], size[1] - middle[1])]
                pads = [round(r - m) for r, m in zip(reach, middle, strict=True)]
                more = [round(2 * r) - s - p for r, s, p in zip(reach, size, pads, strict=True)]
                cut = scale, *pads, *more
            scale, left, top, right, bottom = cut
            frame = np.pad(frame, ((top, bottom), (left, right), (0, 0)))
            premultiplied = frame.astype(np.float32)
            # Coding leaves haze where nothing is, and holes in what is solid: no truth to go by.
            keyed = premultiplied[..., 3]
            premultiplied[..., 3] = np.clip((keyed - 16) / (239 - 16), 0, 1) * 255
            premultiplied[..., :3] *= premultiplied[..., 3:] / 255
            way = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
            yield np.clip(
                cv2.resize(premultiplied, None, fx=scale, fy=scale, interpolation=way), 0, 255
            )
        process.kill()


def _lay(layer: Any, x: int, y: int, eye: Any, alpha: Any) -> None:
    """Over the eye, the layer's middle at x, y; what is outside of the eye is cut off."""
    height, width = layer.shape[:2]
    left, top = x - width // 2, y - height // 2
    columns = slice(max(0, left), max(0, min(eye.shape[1], left + width)))
    rows = slice(max(0, top), max(0, min(eye.shape[0], top + height)))
    part = layer[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    clear = 1 - part[..., 3] / 255
    eye[rows, columns] = part[..., :3] + eye[rows, columns] * clear[..., None]
    alpha[rows, columns] = 1 - (1 - alpha[rows, columns]) * clear


def _encoder(
    path: Path, width: int, height: int, kind: str, options: str
) -> subprocess.Popen[bytes]:
    command = [FFMPEG, "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", kind, "-r", "30"]
    command += ["-s", f"{width}x{height}", "-i", "-", *options.split()]
    return subprocess.Popen([*command, str(path)], stdin=subprocess.PIPE)


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin


if __name__ == "__main__":
    main()
