"""Draws docs/edges.jpg: what each control of a matte's edge does to a frame of a demo clip.

    vrmatte demo demo-clips
    python benchmarks/edges.py demo-clips/demo_green_LR_180.mp4 -o docs/edges.jpg [--model chroma]

One row a control: a part of the left eye without it and with it, over a checkerboard and over a
colour. The frames come out of the chain of stages that runs and previews have.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.contract import EdgeSettings, KeepOut, MattingSettings, SegmentJob, VideoSettings
from pipeline.preview import Shown, preview_frames
from pipeline.source.video_info import read_video

Picture = NDArray[np.float64]  # [H, W, 3], 0..255

_LEGS = KeepOut(eye="left", points=((0, 540), (640, 500), (640, 640), (0, 640)))
_HEAD, _LEGS_AT = (0.36, 0.22), (0.36, 0.75)
#: What is said of each row, its settings, and the upper left corner of the part that is shown.
_ROWS = (
    ("choke: 4", EdgeSettings(choke=4), _HEAD),
    ("choke: -4", EdgeSettings(choke=-4), _HEAD),
    ("feather: 6", EdgeSettings(feather=6), _HEAD),
    ("gamma: 3", EdgeSettings(gamma=3), _HEAD),
    ("despill: 1", EdgeSettings(despill=1), _HEAD),
    ("keep_out: [{eye: left, points: [...]}]", EdgeSettings(keep_out=(_LEGS,)), _LEGS_AT),
)
_SIDE, _ZOOM = 80, 2  # pixels of the part that is shown, and of the sheet for each of them
_COLOUR = np.array([150.0, 30.0, 130.0])
_GAP, _LINE = 4, 16


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--model", default="chroma")
    parser.add_argument("--frame", type=int, default=40)
    asked = parser.parse_args()
    before = frame(asked.clip, asked.model, asked.frame, EdgeSettings())
    rows = []
    for words, edges, corner in _ROWS:
        after = frame(asked.clip, asked.model, asked.frame, edges)
        rows.append((words, [*parts(before, corner), *parts(after, corner)]))
    sheet(rows).save(asked.out, quality=88)


def frame(clip: Path, model: str, number: int, edges: EdgeSettings) -> Shown:
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index.json"
        video = read_video(clip, index, layout=None)
        settings = VideoSettings(matting=MattingSettings(model=model, edges=edges))
        job = SegmentJob(video, settings, 0, 0, video.num_frames, str(index), folder)
        [shown] = preview_frames(job, [number], torch.device("cpu"))
        return shown


def parts(shown: Shown, corner: tuple[float, float]) -> Iterator[Picture]:
    """A part of the left eye over a checkerboard and over a colour, enlarged."""
    height = shown.alpha.shape[0]
    left, top = (round(share * height) for share in corner)
    place = slice(top, top + _SIDE), slice(left, left + _SIDE)
    colour = shown.foreground.permute(1, 2, 0).numpy()[place].astype(float)
    alpha = shown.alpha.numpy()[place].astype(float)[..., None] / 255
    board = (np.indices((_SIDE, _SIDE)) // 8).sum(0)[..., None] % 2 * 80.0 + 120
    for behind in (board, _COLOUR):
        over = colour * alpha + behind * (1 - alpha)
        yield over.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)


def sheet(rows: list[tuple[str, list[Picture]]]) -> Image.Image:
    cell = _SIDE * _ZOOM
    page = Image.new("RGB", (4 * (cell + _GAP), len(rows) * (cell + _LINE + _GAP)), "white")
    draw = ImageDraw.Draw(page)
    for number, (words, pictures) in enumerate(rows):
        top = number * (cell + _LINE + _GAP)
        draw.text((2, top + 2), "without", fill="black")
        draw.text((2 * (cell + _GAP) + 2, top + 2), words, fill="black")
        for at, picture in enumerate(pictures):
            place = at * (cell + _GAP), top + _LINE
            page.paste(Image.fromarray(picture.clip(0, 255).round().astype(np.uint8)), place)
    return page


if __name__ == "__main__":
    main()
