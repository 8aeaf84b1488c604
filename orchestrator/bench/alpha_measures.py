"""How far mattes are from the truth: MAD, MSE, dtSSD and IoU, frame by frame in little memory.

The measures are those of the papers on video matting, as RVM's evaluation computes them
(`evaluation/evaluate_lr.py` of PeterL1n/RobustVideoMatting). Knows no files and no models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Distance:
    """What separates the alpha of some frames from the true one; alpha is 0..1.

    Attributes:
        mad: mean absolute difference over all pixels of all frames; tables show it times 1000.
        mse: mean squared difference; times 1000.
        dtssd: see `AlphaMeasures`; times 100. None of a single frame.
        iou: pixels where both are above 0.5, by pixels where either is, over all frames; 1 where
            there is none.
    """

    frames: int
    mad: float
    mse: float
    dtssd: float | None
    iou: float


class AlphaMeasures:
    """Sums over the frames so far.

    dtSSD, the difference of temporal gradients (Erofeev, Gitman, Vatolin, Fedorov and Wang:
    "Perceptually Motivated Benchmark for Video Matting", BMVC 2015), is what a matte flickers by.
    With a and b the alpha and the true alpha of N pixels in frames 1..T::

        dtSSD = 1/(T-1) * sum over t = 2..T of sqrt( sum((a_t - a_t-1) - (b_t - b_t-1))^2 / N )

    RVM's evaluation counts the first frame as 0 and divides by T instead.
    """

    def __init__(self) -> None:
        self._frames = 0
        self._mad = self._mse = self._dtssd = 0.0
        self._both = self._either = 0
        self._before: Floats | None = None

    def add(self, alpha: Floats, truth: Floats) -> None:
        """Take the next frame: ``[H, W]``, 0..1, of one size for all frames."""
        off = np.subtract(alpha, truth, dtype=np.float32)
        self._mad += float(np.abs(off).mean(dtype=np.float64))
        self._mse += _mean_square(off)
        if self._before is not None:
            self._dtssd += math.sqrt(_mean_square(off - self._before))
        self._before = off
        inside, truly = alpha > 0.5, truth > 0.5
        self._both += int(np.count_nonzero(inside & truly))
        self._either += int(np.count_nonzero(inside | truly))
        self._frames += 1

    def distance(self) -> Distance:
        """Over the frames so far, of which there must be one."""
        count = self._frames
        return Distance(
            frames=count,
            mad=self._mad / count,
            mse=self._mse / count,
            dtssd=self._dtssd / (count - 1) if count > 1 else None,
            iou=self._both / self._either if self._either else 1.0,
        )


def _mean_square(values: Floats) -> float:
    return float(np.square(values).mean(dtype=np.float64))
