"""`matting.plate_image`, the picture of the empty scene: read, and matched with a video's eyes.

Loads no torch: planning asks it, too.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Layout, MattingSettings, VideoInfo
from pipeline.errors import InputError, SettingsError
from pipeline.foreign.files import Unreadable
from pipeline.stages.eye_pictures import EyeSize, layout_of, read_picture
from pipeline.stages.matting.plate_facts import PlateOptions

_LONGEST_PICTURE = 1 << 30  # in bytes, as a file


def require_picture_of(matting: MattingSettings, info: VideoInfo) -> None:
    """See to it that the picture, if there is one, is of a video.

    Raises:
        SettingsError: it is no picture.
        InputError: it has not the video's size.
    """
    asked = matting.of(PlateOptions)
    if asked.image is not None:
        # Without a digest another picture may lie there the next time.
        size = (_size if asked.image_sha256 is None else _size_once)(
            asked.image, asked.image_sha256
        )
        fitted(asked.image, size, EyeSize(info.eyes, *info.eye_size))


def _size(name: str, sha256: str | None) -> tuple[int, int]:
    height, width = read_plate(name, sha256).shape[:2]
    return height, width


_size_once = lru_cache(maxsize=16)(_size)


def read_plate(name: str, sha256: str | None = None) -> NDArray[np.uint8]:
    """RGB uint8 ``[H, W, 3]``. Raises SettingsError: it is no picture, or not the plan's."""
    what = _what(name)
    try:
        return read_picture(Path(name), _LONGEST_PICTURE, sha256, what)
    except Unreadable as error:
        advice = "give a PNG, JPEG or TIFF of the empty scene, as large as the video"
        raise SettingsError(error.as_error(SettingsError, what).message, advice) from None


def fitted(name: str, size: tuple[int, int], eye: EyeSize) -> tuple[Layout, tuple[int, int]]:
    """How the eyes lie in a picture of (height, width), and the lines and columns that it lacks.

    Raises:
        InputError: it has not the video's size.
    """
    sizes = eye.wholes()
    found = layout_of(size, sizes)
    if found is None:
        wanted = " or ".join(f"{width}x{height}" for height, width in sizes.values())
        raise InputError(
            f"{_what(name)} is {size[1]}x{size[0]}, the video {wanted}",
            "give a picture of the whole frame, both eyes, in the video's size",
        )
    return found


def _what(name: str) -> str:
    return f"matting.plate_image {name}"
