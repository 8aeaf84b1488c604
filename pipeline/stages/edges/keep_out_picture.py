"""`matting.keep_out_image`: read, and matched with a video's eyes; loads no torch."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import EdgeSettings, Layout, VideoInfo
from pipeline.errors import InputError, SettingsError
from pipeline.foreign.files import Unreadable
from pipeline.stages.eye_pictures import EyeSize, layout_of, read_picture

_LONGEST_PICTURE = 1 << 28  # in bytes, as a file

#: Of a channel of 8 bits: what differs by no more is grey, for JPEG rounds.
_NEARLY = 8


def require_picture_of(edges: EdgeSettings, info: VideoInfo) -> None:
    """See to it that the picture, if there is one, is of a video.

    Raises:
        SettingsError: it cannot be read, or has colours.
        InputError: it has not the video's size.
    """
    name, sha256 = edges.keep_out_image, edges.keep_out_image_sha256
    if name is not None:
        # Without a digest another picture may lie there the next time.
        size = (_size if sha256 is None else _size_once)(name, sha256)
        fitted(name, size, EyeSize(info.eyes, *info.eye_size))


def _size(name: str, sha256: str | None) -> tuple[int, int]:
    height, width = read_grey(name, sha256).shape
    return height, width


_size_once = lru_cache(maxsize=16)(_size)


def read_grey(name: str, sha256: str | None) -> NDArray[np.uint8]:
    """The picture, uint8 ``[H, W]``.

    Raises:
        SettingsError: it cannot be read, has colours, or is not the one of the plan.
    """
    what = _what(name)
    try:
        rgb = read_picture(Path(name).expanduser(), _LONGEST_PICTURE, sha256, what)
    except Unreadable as error:
        raise error.as_error(SettingsError, what, "give a grey PNG") from None
    if int((rgb.max(axis=2) - rgb.min(axis=2)).max()) > _NEARLY:
        raise SettingsError(f"{what} has colours", "paint black on white what is to be kept out")
    return np.ascontiguousarray(rgb[..., 1])


def fitted(name: str, size: tuple[int, int], eye: EyeSize) -> tuple[Layout, tuple[int, int]]:
    """How the eyes lie in a picture of (height, width), and the lines and columns that it lacks.

    Raises:
        InputError: it has not the video's size.
    """
    wholes = eye.wholes() if eye.eyes == 2 else {}
    sizes: dict[Layout, tuple[int, int]] = {"mono": (eye.height, eye.width), **wholes}
    found = layout_of(size, sizes)
    if found is None:
        others = "".join(f" or {width}x{height}" for height, width in wholes.values())
        raise InputError(
            f"{_what(name)} is {size[1]}x{size[0]}, an eye of the video {eye.width}x{eye.height}",
            "give a picture as large as one eye, or as the whole picture"
            + (f": {eye.width}x{eye.height}{others}" if others else ""),
        )
    return found


def _what(name: str) -> str:
    return f"matting.keep_out_image {name}"
