"""Finds out whether a file's pictures are interlaced, and which field is shown first. No torch."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import av
import av.filter
import numpy as np

from pipeline.contract import FirstField
from pipeline.source.container import open_container

#: Interlaced pictures have 1080 lines at the most, stored as 1088.
_MOST_LINES = 1088

#: Frames that are looked at: a film may begin with some that are whole.
_LOOKED_AT = 12

#: Codecs whose every picture says by itself whether it is interlaced. Of the others (JPEG 2000,
#: uncompressed ones) the container says it.
_SAY_IT_THEMSELVES = {"h264", "mpeg2video", "mpeg1video", "vc1", "prores", "dvvideo", "ffv1"}

#: Codecs without pictures of two fields; HEVC has fields as pictures of their own.
_NEVER = {"hevc", "av1", "vp8", "vp9", "theora"}

#: AVFieldOrder of FFmpeg (codec_par.h), where each pair says which field is coded, and which shown
#: first; the one that is shown first in pictures of both is the first of the pair.
_ORDERS: dict[int, FirstField] = {2: "top", 3: "bottom", 4: "top", 5: "bottom"}


def first_field(path: Path, stream: Any, shown: str) -> FirstField | None:
    """The field of each picture that is shown first; None where pictures are whole.

    Args:
        stream: the picture's, as the container was opened.
    """
    context = stream.codec_context
    codec = context.codec.canonical_name
    if context.height > _MOST_LINES or codec in _NEVER:
        return None
    said = _ORDERS.get(int(context.field_order))
    for frame in _first_frames(path, stream.index, shown):
        if frame.interlaced_frame and _has_fields(frame):
            return _shown_first(frame) or said or "top"
        if said is not None and codec not in _SAY_IT_THEMSELVES and _has_fields(frame):
            return said
    return None


def _first_frames(path: Path, stream: int, shown: str) -> list[Any]:
    found: list[Any] = []
    with open_container(path, shown) as container:
        picture = container.streams[stream]
        picture.codec_context.thread_count = 1
        with suppress(av.FFmpegError, EOFError):  # damage is told by whoever decodes it all
            found.extend(islice(container.decode(picture), _LOOKED_AT))
    return found


def _has_fields(frame: Any) -> bool:
    """Whether `pipeline.source.picture.deinterlace` takes it: planes of brightness and colour."""
    return not frame.format.is_rgb and len(frame.format.components) >= 3


def _shown_first(frame: Any) -> FirstField | None:
    """What the picture itself says, as FFmpeg's filters see it; PyAV does not tell.

    None: its fields are too alike.
    """
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    graph.link_nodes(source, graph.add("separatefields"), graph.add("buffersink")).configure()
    graph.push(frame)
    whole, first = _rows(frame), _rows(graph.vpull())
    fields: tuple[tuple[FirstField, Any], ...] = (("top", whole[0::2]), ("bottom", whole[1::2]))
    same = [name for name, rows in fields if np.array_equal(rows[: len(first)], first)]
    return same[0] if len(same) == 1 else None


def _rows(frame: Any) -> Any:
    plane = frame.planes[0]
    return np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size)[
        :, : plane.width
    ]
