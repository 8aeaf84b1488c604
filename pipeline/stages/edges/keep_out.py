"""Where nothing of a video is kept: the settings' regions and picture as one map of each eye."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.contract import EdgeSettings, KeepOut
from pipeline.pixels.eyes import split
from pipeline.stages.base import ClipSampler
from pipeline.stages.edges.keep_out_picture import fitted, read_grey
from pipeline.stages.eye_pictures import EyeSize

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
        kept = _eyes_of_picture(edges.keep_out_image, edges.keep_out_image_sha256, clip)
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


def _eyes_of_picture(name: str, sha256: str | None, clip: ClipSampler) -> NDArray[np.uint8]:
    """The picture as eyes, uint8 ``[E, H, W]``."""
    grey = read_grey(name, sha256)
    height, width = grey.shape
    eye = EyeSize(clip.eyes, clip.height, clip.width)
    layout, (down, right) = fitted(name, (height, width), eye)
    whole = torch.from_numpy(np.pad(grey, ((0, down), (0, right)), mode="edge"))
    first = clip.right_first and layout != "mono"
    eyes = split(whole[None, None], layout, first)[0, :, 0]
    return eyes.expand(clip.eyes, -1, -1).numpy().copy()
