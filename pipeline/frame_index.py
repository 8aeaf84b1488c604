"""The frame index: when each frame of a file plays, and which frame each output frame shows.

Made once a video by the probe, kept as JSON under ``work/``, read by every decoder of that file.
It holds time stamps only and knows nothing of codecs.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

#: Rates that cameras and editors use; a measured rate this close to one is taken to be it.
STANDARD_RATES = (
    *(Fraction(n) for n in (24, 25, 30, 48, 50, 60, 72, 75, 90, 100, 120, 144, 240)),
    *(Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120, 240)),
)
_SNAP = 0.02  # share of a rate within which the nearest standard rate is meant

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Frames of one video stream, in the order in which they play.

    Attributes:
        time_base: seconds per tick.
        pts: int64 ``[N]``, strictly ascending, ticks.
        keyframes: int64 ``[K]``, ascending positions into `pts`.
        seek_ticks: int64 ``[K]``, the time stamp to seek to for each keyframe: the smaller of its
            presentation and decoding stamps, because containers differ in which one they search.
        frame_rate: of the output, constant.
        num_frames: frames of the output.
    """

    time_base: Fraction
    pts: Int64
    keyframes: Int64
    seek_ticks: Int64
    frame_rate: Fraction
    num_frames: int

    @property
    def pts_seconds(self) -> npt.NDArray[np.float64]:
        return self.pts.astype(np.float64) * float(self.time_base)

    @property
    def variable_rate(self) -> bool:
        """Whether some frame of the file is doubled or dropped to make the rate constant."""
        if self.num_frames != len(self.pts):
            return True
        return bool((self.source_frames(0, self.num_frames) != np.arange(len(self.pts))).any())

    def source_frames(self, start: int, stop: int) -> Int64:
        """Positions into `pts` of the frames that output frames start..stop show.

        Output frame k is due k / frame_rate seconds after the first frame; it shows the frame
        whose time stamp is nearest, the earlier one of two that are equally near.
        """
        ticks_per_frame = 1 / (self.frame_rate * self.time_base)
        due = self.pts[0] + np.arange(start, stop) * float(ticks_per_frame)
        after = np.searchsorted(self.pts, due).clip(1, max(1, len(self.pts) - 1))
        if len(self.pts) == 1:
            return np.zeros(stop - start, dtype=np.int64)
        before = after - 1
        take_after = (self.pts[after] - due) < (due - self.pts[before])
        nearest: Int64 = np.where(take_after, after, before).astype(np.int64)
        return nearest

    def seek_points(self, frame: int) -> list[float]:
        """Seconds to seek to for source frame `frame`: the best first, each next one earlier."""
        upto = int(np.searchsorted(self.keyframes, frame, side="right"))
        ticks = self.seek_ticks[:upto][::-1]
        return [float(t * self.time_base) for t in ticks]

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        record = {
            "format": _FORMAT,
            "time_base": str(self.time_base),
            "frame_rate": str(self.frame_rate),
            "num_frames": self.num_frames,
            "pts": self.pts.tolist(),
            "keyframes": self.keyframes.tolist(),
            "seek_ticks": self.seek_ticks.tolist(),
        }
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        with temporary.open("w") as file:
            json.dump(record, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> FrameIndex:
        """Raises OSError or ValueError when there is no sound index at `path`."""
        record = json.loads(path.read_text())
        if record.get("format") != _FORMAT:
            raise ValueError(f"{path} is of another version")
        return cls(
            time_base=Fraction(record["time_base"]),
            pts=np.asarray(record["pts"], dtype=np.int64),
            keyframes=np.asarray(record["keyframes"], dtype=np.int64),
            seek_ticks=np.asarray(record["seek_ticks"], dtype=np.int64),
            frame_rate=Fraction(record["frame_rate"]),
            num_frames=int(record["num_frames"]),
        )


def constant_rate(pts: Int64, time_base: Fraction, declared: list[Fraction]) -> Fraction | None:
    """The rate at which every frame falls into a slot of its own, or None if there is none.

    A frame may stand up to half a frame from its slot: container rounding (1 ms in Matroska) and
    camera jitter must not drop frames.

    Args:
        declared: rates that the file names, tried first.
    """
    if len(pts) < 2:
        return next((rate for rate in declared if rate > 0), Fraction(30))
    fit = (len(pts) - 1) / (Fraction(int(pts[-1] - pts[0])) * time_base)
    near = sorted(STANDARD_RATES, key=lambda rate: abs(rate - fit))
    for rate in [*declared, *near[:3], fit.limit_denominator(1001)]:
        if rate <= 0 or abs(float(rate / fit) - 1) > 0.05:
            continue
        slots = (pts - pts[0]) * float(time_base * rate)
        if np.abs(slots - np.arange(len(pts))).max() < 0.5:
            return rate
    return None


def typical_rate(pts: Int64, time_base: Fraction, declared: list[Fraction]) -> Fraction:
    """The rate of most frames of a variable-rate file, by the median distance of two frames."""
    rate = 1 / (Fraction(float(np.median(np.diff(pts)))).limit_denominator(1000) * time_base)
    by_distance = sorted(STANDARD_RATES, key=lambda standard: abs(standard - rate))
    for known in (*declared, by_distance[0]):
        if abs(float(known / rate) - 1) < _SNAP:
            return known
    return rate.limit_denominator(1001)


def build_index(
    pts: Int64,
    keyframes: Int64,
    seek_ticks: Int64,
    last_duration: int,
    time_base: Fraction,
    declared: list[Fraction],
) -> FrameIndex:
    """Decide the output's rate and length.

    Args:
        last_duration: ticks for which the last frame is shown; 0 where the file is silent.
    """
    rate = constant_rate(pts, time_base, declared)
    if rate is not None:
        return FrameIndex(time_base, pts, keyframes, seek_ticks, rate, len(pts))
    rate = typical_rate(pts, time_base, declared)
    span_s = Fraction(int(pts[-1] - pts[0]) + last_duration) * time_base
    slots = max(1, round(span_s * rate))
    return FrameIndex(time_base, pts, keyframes, seek_ticks, rate, slots)
