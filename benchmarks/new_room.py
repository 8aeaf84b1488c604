"""A picture of a finished file before a new room, beside its source: what vrmatte is for.

    python benchmarks/new_room.py SOURCE FILE.webm -o PICTURE.jpg [--frame N] [--width W]

The left eyes of both, of side by side files; FILE begins with the source's frame --first. The new
room is drawn: dusk behind a window front, and a floor.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw

Picture = Any  # uint8 [H, W, 3 or 4]

_GAP = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--frame", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--width", type=int, default=480)
    asked = parser.parse_args()
    source = left_eye(frame_of(asked.source, asked.first + asked.frame, alpha=False))
    cut = left_eye(frame_of(asked.file, asked.frame, alpha=True))
    room = Image.fromarray(draw_room(*cut.shape[:2])).convert("RGBA")
    over = Image.alpha_composite(room, Image.fromarray(cut))
    height = round(asked.width * cut.shape[0] / cut.shape[1])
    sheet = Image.new("RGB", (2 * asked.width + _GAP, height), "white")
    for number, picture in enumerate((Image.fromarray(source), over.convert("RGB"))):
        small = picture.resize((asked.width, height), Image.Resampling.LANCZOS)
        sheet.paste(small, (number * (asked.width + _GAP), 0))
    sheet.save(asked.out, quality=86)


def frame_of(path: Path, number: int, *, alpha: bool) -> Picture:
    """uint8 ``[H, W, 3]``, or ``[H, W, 4]`` with alpha."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        decoder = av.CodecContext.create("libvpx-vp9", "r") if alpha else stream.codec_context
        count = 0
        for packet in file.demux(stream):
            for frame in decoder.decode(packet if packet.size else None):
                if count == number:
                    return frame.to_ndarray(format="rgba" if alpha else "rgb24")
                count += 1
    raise SystemExit(f"{path} has no frame {number}")


def left_eye(picture: Picture) -> Picture:
    return np.ascontiguousarray(picture[:, : picture.shape[1] // 2])


def draw_room(height: int, width: int) -> Picture:
    """uint8 ``[H, W, 3]``: dusk behind windows, over a floor that reflects it."""
    horizon = round(0.72 * height)
    rows = np.linspace(0, 1, height)[:, None, None]
    top, low = np.array([38, 44, 92.0]), np.array([244, 150, 96.0])
    picture = top + (low - top) * np.clip(rows * height / horizon, 0, 1) ** 1.6
    floor = np.array([64, 46, 44.0]) + 90 * np.clip(
        1 - (rows * height - horizon) / height * 4, 0, 1
    )
    picture = np.where(rows * height < horizon, picture, floor * [1.0, 0.78, 0.72])
    image = Image.fromarray(np.broadcast_to(picture, (height, width, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    sun = round(0.09 * width)
    x, y = round(0.72 * width), round(0.56 * height)
    draw.ellipse((x - sun, y - sun, x + sun, y + sun), fill=(255, 222, 170))
    bar = max(2, width // 90)
    for k in range(1, 6):
        at = round(k * width / 6)
        draw.rectangle((at - bar // 2, 0, at + bar // 2, horizon), fill=(30, 26, 34))
    draw.rectangle((0, horizon - bar, width, horizon), fill=(30, 26, 34))
    return np.asarray(image)


if __name__ == "__main__":
    main()
