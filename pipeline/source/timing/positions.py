"""Tells which frame of the index a decoded picture is."""

from __future__ import annotations

import math

from pipeline.source.timing.frame_index import FrameIndex

_ANY_CLOCK_S = 1e12


class Positions:
    """Asked for each picture in the order in which the decoder gives them.

    By its time stamp; where the file's clock leaps or stands still, by its time stamp among the
    frames that can come next.

    Args:
        offset_s: what the decoder's time stamps are more than the index's.
        first: no picture of a frame before this one comes.
    """

    def __init__(self, index: FrameIndex, offset_s: float, first: int = 0) -> None:
        ticks = index.pts if index.clock is None else index.clock
        self._stamps = ticks.astype(float) * float(index.time_base) + offset_s
        self._begins = [*index.begins.tolist(), len(ticks)]
        self._in_order = index.clock is None
        self._recording = index.begins.searchsorted(first, side="right") - 1
        self._slack_s = float(0.5 / (index.frame_rate * index.every))
        self._last = first - 1

    def of(self, seconds: float) -> int | None:
        """The position of a picture with that time stamp; None for one that is not wanted."""
        if not (math.isfinite(seconds) and abs(seconds) < _ANY_CLOCK_S):
            # No time stamp (AVI's last frames): they come in order.
            position: int | None = self._last + 1
        elif self._in_order:
            position = self._nearest(seconds, 0, len(self._stamps))
        else:
            position = self._next(seconds)
        if position is None or not self._last < position < len(self._stamps):
            return None
        self._last = position
        return position

    def _nearest(self, seconds: float, begin: int, end: int) -> int:
        after = begin + int(self._stamps[begin:end].searchsorted(seconds))
        before = max(begin, after - 1)
        after = min(after, end - 1)
        nearer = bool(abs(self._stamps[after] - seconds) < abs(self._stamps[before] - seconds))
        return after if nearer else before

    def _next(self, seconds: float) -> int | None:
        """The first frame after the last one that has this time, in this recording or the next."""
        for recording in (self._recording, self._recording + 1):
            if recording + 1 >= len(self._begins):
                return None
            begin, end = self._begins[recording], self._begins[recording + 1]
            begin = max(begin, self._last + 1)
            if begin >= end:
                continue
            position = self._nearest(seconds, begin, end)
            if abs(self._stamps[position] - seconds) < self._slack_s:
                # Of frames at one time the first that is left.
                same = self._stamps[begin : position + 1] == self._stamps[position]
                self._recording = recording
                found: int = begin + int(same.argmax())
                return found
        return None
