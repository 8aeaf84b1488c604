"""The planes of a picture that PyAV decoded, as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def frame_planes(frame: Any) -> list[Tensor]:
    """Copies of a decoded frame's planes, without their padding: uint8 or uint16 ``[h, w]``."""
    kind = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    planes = []
    for plane in frame.planes:
        rows = np.frombuffer(bytes(plane), dtype=np.uint8).reshape(plane.height, plane.line_size)
        planes.append(torch.from_numpy(rows.view(kind)[:, : plane.width].copy()))
    return planes
