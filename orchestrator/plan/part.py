"""The part of each video that is made: its range in frames, and every how many of them.

Frame k of a video is shown from ``k / rate`` seconds after its first picture on, with the exact
rate. A range of times holds the frames that begin in it: from the first one at or after its start
to the last one before its end. So a range gives the same frames in times as in frame numbers, and
the same fingerprint, because times are gone before that is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from orchestrator.words import precise, seconds_of
from pipeline.contract import VideoInfo, VideoSettings
from pipeline.errors import InputError


@dataclass(frozen=True, slots=True)
class Times:
    """The ends of a range as `orchestrator.words.seconds_of` reads them; None is not given."""

    start: str | None = None
    end: str | None = None


def frame_from(seconds: Fraction, rate: Fraction) -> int:
    """The first frame that begins at or after a time."""
    return math.ceil(seconds * rate)


def with_frames(settings: VideoSettings, times: Times, info: VideoInfo, name: str) -> VideoSettings:
    """The settings with the range in frames; one that reaches the video's end is open.

    Args:
        info: the whole video.
        name: what the video is called in messages.

    Raises:
        InputError: no frame of it lies in the range.
    """
    start = settings.start_frame
    if times.start is not None:
        start = frame_from(seconds_of(times.start), info.frame_rate)
    if start >= info.num_frames:
        if times.start is None:
            raise InputError(
                f"{name} has {info.num_frames} frames; the range begins at frame {start}",
                "begin earlier (--start-frame)",
            )
        raise InputError(
            f"{name} ends at {precise(info.duration_s)}; the range begins at {times.start}",
            "begin earlier (--start)",
        )
    length = settings.max_frames
    if times.end is not None:
        length = frame_from(seconds_of(times.end), info.frame_rate) - start
        if length < 1:
            begin = times.start or f"frame {start} ({precise(float(start / info.frame_rate))})"
            raise InputError(
                f"no frame of {name} begins between {begin} and {times.end}",
                "end later (--end)",
            )
    if length is not None and start + length >= info.num_frames:
        length = None
    return replace(settings, start_frame=start, max_frames=length)


def frames_taken(info: VideoInfo, settings: VideoSettings) -> tuple[int, int]:
    """The range in the numbering of `info`, half open.

    Args:
        info: the frames taken (`VideoInfo.every_nth`).
        settings: of `with_frames`.
    """
    if settings.max_frames is None:
        return settings.first_frame, info.num_frames
    stop = settings.start_frame + settings.max_frames - info.phase
    return settings.first_frame, min(info.num_frames, -(-stop // info.every))


def part_in_words(info: VideoInfo, settings: VideoSettings) -> str | None:
    """``frames 250 to 749 (0:10.00 to 0:30.00), one of every 3``; None: the whole video.

    Numbers and times are those of the whole video.
    """
    rate = info.frame_rate * info.every
    start, length = settings.start_frame, settings.max_frames
    begin = precise(float(start / rate))
    said = []
    if length is not None:
        end = precise(float((start + length) / rate))
        said.append(f"frames {start} to {start + length - 1} ({begin} to {end})")
    elif start:
        said.append(f"from frame {start} ({begin}) on")
    if settings.every > 1:
        said.append(
            f"one of every {settings.every}" if said else f"one frame of every {settings.every}"
        )
    return ", ".join(said) or None
