"""Where nothing of a video is kept: the settings' regions and picture as one map of each eye."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.contract import EdgeSettings, KeepOut, Layout
from pipeline.errors import InputError, SettingsError
from pipeline.foreign.files import Unreadable, read_bytes
from pipeline.foreign.pictures import decode_rgb
from pipeline.pixels.eyes import split
from pipeline.stages.base import ClipSampler

_LONGEST_PICTURE = 1 << 28  # in bytes, as a file

#: Of a channel of 8 bits: what differs by no more is grey, for JPEG rounds.
_NEARLY = 8

#: OpenCV takes corners in whole numbers of a 16th of a pixel, 2^4.
_SHIFT = 4

_EYES = {"left": (0,), "right": (1,), "both": (0, 1)}


def kept_map(edges: EdgeSettings, clip: ClipSampler) -> Tensor | None:
    """By what alpha is multiplied, in 255ths: uint8 ``[E, 1, H, W]``; None: all is kept.

    Raises:
        SettingsError: the picture cannot be read, or is not the one that the plan was made with.
        InputError: it has not the video's size.
    """
    if edges.keep_out_image is None and not edges.keep_out:
        return None
    shape = clip.eyes, clip.height, clip.width
    if edges.keep_out_image is None:
        kept = np.full(shape, 255, np.uint8)
    else:
        kept = _read(edges.keep_out_image, edges.keep_out_image_sha256, clip)
    for region in edges.keep_out:
        for eye in _EYES[region.eye][: clip.eyes]:
            kept[eye] *= ~covered(region, clip.height, clip.width)
    return torch.from_numpy(kept)[:, None]


def covered(region: KeepOut, height: int, width: int) -> NDArray[np.bool_]:
    """The pixels ``[H, W]`` that a region covers, those on its rim too."""
    import cv2

    mask = np.zeros((height, width), np.uint8)
    corners = np.array(region.points) * 2**_SHIFT
    cv2.fillPoly(mask, [corners.round().astype(np.int32)], 1, shift=_SHIFT)
    return mask > 0


def _read(name: str, sha256: str | None, clip: ClipSampler) -> NDArray[np.uint8]:
    """The picture as eyes, uint8 ``[E, H, W]``."""
    what = f"matting.keep_out_image {name}"
    try:
        content = read_bytes(Path(name).expanduser(), _LONGEST_PICTURE)
        rgb = decode_rgb(content)
    except Unreadable as error:
        raise error.as_error(SettingsError, what, "give a grey PNG") from None
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256.lower():
        raise SettingsError(f"{what} has changed since the run was planned", "start the run again")
    if int((rgb.max(axis=2) - rgb.min(axis=2)).max()) > _NEARLY:
        raise SettingsError(f"{what} has colours", "paint black on white what is to be kept out")
    return _as_eyes(np.ascontiguousarray(rgb[..., 1]), clip, what)


def _as_eyes(grey: NDArray[np.uint8], clip: ClipSampler, what: str) -> NDArray[np.uint8]:
    layouts: dict[Layout, tuple[int, int]] = {"mono": (1, 1)}
    if clip.eyes == 2:
        layouts |= {"sbs": (1, 2), "tb": (2, 1)}
    height, width = grey.shape
    for layout, (rows, columns) in layouts.items():
        # Frames of odd size come here padded by a line; the picture may be as in the file.
        down, right = rows * clip.height - height, columns * clip.width - width
        if down in (0, 1) and right in (0, 1):
            whole = torch.from_numpy(np.pad(grey, ((0, down), (0, right)), mode="edge"))
            first = clip.right_first and layout != "mono"
            eyes = split(whole[None, None], layout, first)[0, :, 0]
            return eyes.expand(clip.eyes, -1, -1).numpy().copy()
    raise InputError(
        f"{what} is {width}x{height}, an eye of the video {clip.width}x{clip.height}",
        "give a picture as large as one eye, or as the whole picture",
    )
