"""`StreamingSettings`: segments, chunks and warm-up, as asked or by a video's length and size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from pipeline.contract.fingerprint import NO_PIXELS
from pipeline.contract.video import VideoInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingSettings:
    """How a video is cut into segments and fed through the stages."""

    segment_frames: Annotated[
        int | None,
        Field(
            ge=1,
            description="frames in a segment, the unit of work and of loss; 600, or half of a"
            " shorter video",
        ),
    ] = None
    warmup_frames: Annotated[
        int | None,
        Field(ge=0, description="frames computed and dropped before a segment; the model's own"),
    ] = None
    chunk_frames: Annotated[
        int | None,
        Field(ge=1, le=64, description="frames given to the network at once; 4, 2 or 1 by size"),
    ] = None
    lanes: Annotated[
        int | None, Field(ge=1, le=64, description="segments in flight in a worker; by machine")
    ] = field(default=None, metadata=NO_PIXELS)


LONGEST_SEGMENT = 600

#: The least that is worth a segment of its own: its warm-up of 24 frames is a quarter then.
_SHORTEST_SEGMENT = 100


def segment_frames(video: VideoInfo, streaming: StreamingSettings) -> int:
    """Frames in a segment; by the video's length where the settings are silent.

    A short video is halved, so that two lanes can share it. By its own length, not by that of the
    range that is asked for: seams do not move with the range.
    """
    if streaming.segment_frames is not None:
        return streaming.segment_frames
    half = -(-video.num_frames // 2)
    return min(LONGEST_SEGMENT, video.num_frames if half < _SHORTEST_SEGMENT else half)


#: Frames of a chunk have this many pixels together at the most where the settings leave it open:
#: a small network wants several frames at once, but at 8K one is enough work and memory.
CHUNK_PIXELS = 8192 * 4096
LONGEST_CHUNK = 4


def chunk_frames(video: VideoInfo, streaming: StreamingSettings) -> int:
    """Frames given to the network at once; by the video's size where the settings are silent."""
    if streaming.chunk_frames is not None:
        return streaming.chunk_frames
    fit = CHUNK_PIXELS // (video.even_width * video.even_height)
    return max(1, min(LONGEST_CHUNK, fit))


#: Beyond that a frame is 100 MB and its planes of floats half a gigabyte.
_HUGE_PIXELS = 5760 * 2880


def is_huge(video: VideoInfo) -> bool:
    """Whether its frames are so large that memory counts more than the time it saves."""
    return video.even_width * video.even_height > _HUGE_PIXELS
