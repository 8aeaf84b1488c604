"""Keyframe positions of an output, known before anything is encoded. Loads no torch."""

from __future__ import annotations

from pipeline.contract import VideoInfo, VideoSettings


def keyframe_interval(video: VideoInfo, settings: VideoSettings) -> int:
    """Frames from one keyframe of an output to the next."""
    return max(1, round(settings.encoding.keyframe_s * video.frame_rate))


def count_keyframes(num_frames: int, interval: int) -> int:
    """Keyframes of a segment, which begins with one."""
    return -(-num_frames // interval)
