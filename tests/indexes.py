"""Frame indexes of files whose clock does not leap."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from pipeline.source.timing.frame_index import FrameIndex, Int64


def plain_index(
    time_base: Fraction, pts: Int64, keyframes: Int64, frame_rate: Fraction, num_frames: int
) -> FrameIndex:
    """As the probe makes it; keyframes are found at their own times."""
    return FrameIndex(
        time_base=time_base,
        pts=pts,
        keyframes=keyframes,
        seek_ticks=pts[keyframes],
        frame_rate=frame_rate,
        num_frames=num_frames,
        clock=None,
        begins=np.zeros(1, dtype=np.int64),
        key_numbers=keyframes,
        key_offsets=np.full(len(keyframes), -1, dtype=np.int64),
    )
