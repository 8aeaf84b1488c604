"""The frame index: when each frame of a file plays, and which one each output frame shows.

Made once a video by the probe, kept as JSON under ``work/``, read by every decoder of that file.
It holds time stamps only and knows nothing of codecs.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.contract import VideoInfo
from pipeline.errors import InputError
from pipeline.files.disk import write_file
from pipeline.foreign.files import read_bytes
from pipeline.source.timing.frame_rate import constant_rate, missing_frames, typical_rate
from pipeline.source.timing.recordings import Frames
from pipeline.text import printable

Int64 = npt.NDArray[np.int64]

_LONGEST_BYTES = 2 << 30
_FORMAT = 3


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
        clock: int64 ``[N]``, the file's own time stamps, where they are not `pts`: in a file of
            several recordings, each with its clock, or with several frames at one time. None
            where they are. Such a file cannot be searched by time.
        begins: int64 ``[S]``, ascending positions in `pts` where a recording begins; 0 first.
        key_numbers: int64 ``[K]``, each keyframe's number among the packets of its stream.
        key_offsets: int64 ``[K]``, each keyframe's place in the file, bytes; -1 if not known.
        every, phase: as in `VideoInfo`; a file holds the index of the whole video.
    """

    time_base: Fraction
    pts: Int64
    keyframes: Int64
    seek_ticks: Int64
    frame_rate: Fraction
    num_frames: int
    clock: Int64 | None
    begins: Int64
    key_numbers: Int64
    key_offsets: Int64
    every: int = 1
    phase: int = 0

    def every_nth(self, every: int, phase: int) -> FrameIndex:
        """The index of `VideoInfo.every_nth`."""
        return replace(
            self,
            frame_rate=self.frame_rate / every,
            num_frames=-(-(self.num_frames - phase) // every),
            every=every,
            phase=phase,
        )

    @property
    def pts_seconds(self) -> npt.NDArray[np.float64]:
        return self.pts.astype(np.float64) * float(self.time_base)

    @property
    def variable_rate(self) -> bool:
        """Whether some frame of the file is doubled or dropped to make the rate constant."""
        if self.num_frames != len(self.pts):
            return True
        return bool((self.source_frames(0, self.num_frames) != np.arange(len(self.pts))).any())

    def belongs_to(self, video: VideoInfo) -> bool:
        """Whether it is of as many frames, at the same rate, as the probe found in `video`."""
        of_index = len(self.pts), self.num_frames, self.frame_rate
        return of_index == (video.source_frames, video.num_frames, video.frame_rate)

    def source_frames(self, start: int, stop: int) -> Int64:
        """Positions into `pts` of the frames that output frames start..stop show.

        Output frame k is due k / frame_rate seconds after the first frame; it shows the frame
        whose time stamp is nearest, the earlier one of two that are equally near.
        """
        # In frames of the whole video, so that one that is left out changes no other.
        ticks_per_frame = 1 / (self.frame_rate * self.every * self.time_base)
        numbers = self.phase + np.arange(start, stop) * self.every
        due = self.pts[0] + numbers * float(ticks_per_frame)
        after = np.searchsorted(self.pts, due).clip(1, max(1, len(self.pts) - 1))
        if len(self.pts) == 1:
            return np.zeros(stop - start, dtype=np.int64)
        before = after - 1
        take_after = (self.pts[after] - due) < (due - self.pts[before])
        nearest: Int64 = np.where(take_after, after, before).astype(np.int64)
        return nearest

    def keys_before(self, frame: int) -> list[int]:
        """Places in `keyframes` up to source frame `frame`, in its recording; the last first."""
        begin = self.begins[np.searchsorted(self.begins, frame, side="right") - 1]
        first, upto = np.searchsorted(self.keyframes, (begin, frame + 1))
        return list(range(int(upto) - 1, int(first) - 1, -1))

    def seek_s(self, key: int) -> float:
        """Seconds to seek to for ``keyframes[key]``."""
        return float(self.seek_ticks[key] * self.time_base)

    def save(self, path: Path) -> None:
        """Write it whole or not at all.

        Raises:
            DiskError: it cannot be written.
        """
        record: dict[str, Any] = {
            "format": _FORMAT,
            "time_base": str(self.time_base),
            "frame_rate": str(self.frame_rate),
            "num_frames": self.num_frames,
            "pts": self.pts.tolist(),
            "keyframes": self.keyframes.tolist(),
            "seek_ticks": self.seek_ticks.tolist(),
            "clock": None if self.clock is None else self.clock.tolist(),
            "begins": self.begins.tolist(),
            "key_numbers": self.key_numbers.tolist(),
            "key_offsets": self.key_offsets.tolist(),
        }
        record["crc32"] = _checksum(record)
        write_file(path, json.dumps(record, separators=(",", ":")).encode())

    @classmethod
    def load(cls, path: Path) -> FrameIndex:
        """Raises ValueError when there is no sound index at `path`."""
        try:
            record = json.loads(read_bytes(path, _LONGEST_BYTES))
            if record["format"] != _FORMAT:
                raise ValueError("it is of another version")
            # One wrong digit would be another frame, and nothing else would show it.
            if record.pop("crc32") != _checksum(record):
                raise ValueError("it is damaged")
            index = cls(
                time_base=Fraction(record["time_base"]),
                pts=_whole_numbers(record["pts"]),
                keyframes=_whole_numbers(record["keyframes"]),
                seek_ticks=_whole_numbers(record["seek_ticks"]),
                frame_rate=Fraction(record["frame_rate"]),
                num_frames=record["num_frames"],
                clock=None if record["clock"] is None else _whole_numbers(record["clock"]),
                begins=_whole_numbers(record["begins"]),
                key_numbers=_whole_numbers(record["key_numbers"]),
                key_offsets=_whole_numbers(record["key_offsets"]),
            )
            index._check()
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"{path} is no sound frame index: {error}") from error
        return index

    def _check(self) -> None:
        """Raises ValueError when the parts do not fit together."""
        keys = self.keyframes
        if len(self.pts) == 0 or (np.diff(self.pts) <= 0).any():
            raise ValueError("time stamps must ascend")
        of_keys = (self.seek_ticks, self.key_numbers, self.key_offsets)
        if any(len(part) != len(keys) for part in of_keys) or (np.diff(keys) <= 0).any():
            raise ValueError("keyframes must ascend, each with its seek point")
        if self.clock is not None and len(self.clock) != len(self.pts):
            raise ValueError("each frame must have its time stamp")
        begins = self.begins
        if len(begins) == 0 or begins[0] != 0 or (np.diff(begins) <= 0).any():
            raise ValueError("recordings must ascend from the first frame")
        if begins[-1] >= len(self.pts) or (self.key_numbers < 0).any():
            raise ValueError("a recording or a keyframe that is not there")
        if len(keys) and not 0 <= keys[0] <= keys[-1] < len(self.pts):
            raise ValueError("a keyframe that is no frame")
        if self.time_base <= 0 or self.frame_rate <= 0:
            raise ValueError("time base and frame rate must be more than 0")
        if type(self.num_frames) is not int or self.num_frames < 1:
            raise ValueError("there must be frames")


def index_of(video: VideoInfo, path: Path) -> FrameIndex:
    """The index that the probe left for `video`.

    Raises:
        InputError: it is gone, damaged, or another video's.
    """
    shown, advice = printable(video.path), "run again: the file is then read anew"
    try:
        index = FrameIndex.load(path).every_nth(video.every, video.phase)
    except (OSError, ValueError) as error:
        raise InputError(
            f"the frame index of {shown} cannot be read ({printable(str(error))})", advice
        ) from error
    if not index.belongs_to(video):
        raise InputError(f"the frame index at hand is not that of {shown}", advice)
    return index


def _whole_numbers(values: object) -> Int64:
    """int64 ``[N]`` of a list of numbers; raises ValueError, TypeError or OverflowError."""
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise ValueError("not a list of whole numbers")
    return np.asarray(values, dtype=np.int64)


def _checksum(record: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(record, separators=(",", ":"), sort_keys=True).encode())


def build_index(frames: Frames, declared: list[Fraction]) -> FrameIndex:
    """Decide the output's rate and length.

    Args:
        declared: rates that the file names, tried first.
    """
    pts, time_base = frames.pts, frames.time_base
    rate = constant_rate(pts, time_base, declared)
    if rate is not None:
        missing = missing_frames(pts, time_base, rate)
        count = len(pts) + (0 if missing is None else len(missing))
    else:
        rate = typical_rate(pts, time_base, declared)
        span_s = Fraction(int(pts[-1] - pts[0]) + frames.last_duration) * time_base
        count = max(1, round(span_s * rate))
    return FrameIndex(
        time_base=time_base,
        pts=pts,
        keyframes=frames.keyframes,
        seek_ticks=frames.seek_ticks,
        frame_rate=rate,
        num_frames=count,
        clock=frames.clock,
        begins=frames.begins,
        key_numbers=frames.key_numbers,
        key_offsets=frames.key_offsets,
    )
