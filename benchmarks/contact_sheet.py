"""A sheet of what players show of finished files, over a checkerboard.

    python benchmarks/contact_sheet.py FILE... -o SHEET.png [--frame N] [--width W]

One row a file: the picture as it is, and with what is transparent let through: by alpha, by the
mask, by the screen's colour, or by the matte packed into a fisheye, looked up as players do.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

Picture = Any  # float64 [H, W, 3 or 4], 0..255

_SCREEN = np.array([43, 230, 64])  # encoding.screen_color's default


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--frame", type=int, default=0)
    parser.add_argument("--width", type=int, default=900)
    asked = parser.parse_args()
    rows = [row(path, asked.frame, asked.width) for path in asked.files]
    sheet = Image.new("RGB", (2 * asked.width + 8, sum(r.height + 20 for r in rows)), "white")
    top = 0
    for path, picture in zip(asked.files, rows, strict=True):
        ImageDraw.Draw(sheet).text((4, top + 4), path.name, fill="black")
        sheet.paste(picture, (0, top + 20))
        top += picture.height + 20
    sheet.save(asked.out)


def row(path: Path, number: int, width: int) -> Image.Image:
    rgb, alpha = shown(path, number)
    board = (
        np.kron(
            np.indices((rgb.shape[0] // 16 + 1, rgb.shape[1] // 16 + 1)).sum(0) % 2,
            np.ones((16, 16)),
        )[: rgb.shape[0], : rgb.shape[1], None]
        * 80
        + 120
    )
    over = rgb * alpha + board * (1 - alpha)
    pair = [Image.fromarray(p.clip(0, 255).round().astype(np.uint8)) for p in (rgb, over)]
    height = round(width * rgb.shape[0] / rgb.shape[1])
    out = Image.new("RGB", (2 * width + 8, height), "white")
    for k, picture in enumerate(pair):
        out.paste(picture.resize((width, height), Image.Resampling.LANCZOS), (k * (width + 8), 0))
    return out


def shown(path: Path, number: int) -> tuple[Picture, Picture]:
    """(RGB ``[H, W, 3]``, 0..255; what is opaque of it ``[H, W, 1]``, 0..1)."""
    if path.suffix == ".tif":
        with Image.open(path) as stack:
            stack.seek(number)
            grey = np.asarray(stack, dtype=np.float64)[..., None]
        return np.repeat(grey, 3, axis=2), grey / 255
    import torch

    from pipeline.deliverables.alpha_layer import decoded_rgba_frames
    from pipeline.pixels.alphapack import unpack
    from pipeline.verify.readback import sampled_frames
    from pipeline.verify.selfcheck import shown_picture

    read = decoded_rgba_frames if path.stem.endswith("_hevc") else sampled_frames
    _, frame = next(iter(read(path, {number})))
    picture = shown_picture(frame, "mono", False)
    rgb = picture.rgb[0].permute(1, 2, 0).double().numpy()
    if picture.alpha is not None:
        return rgb, picture.alpha[0].permute(1, 2, 0).double().numpy()
    if path.stem.endswith("_alpha"):
        eyes = unpack(picture.rgb, picture.rgb.shape[2])[0]
        return rgb, torch.cat(list(eyes), dim=2).permute(1, 2, 0).double().numpy()
    if path.stem.endswith("_mask"):
        return rgb, rgb[..., :1] / 255
    far = np.abs(rgb - _SCREEN).max(axis=2, keepdims=True)
    return rgb, ((far - 16) / 48).clip(0, 1)


if __name__ == "__main__":
    main()
