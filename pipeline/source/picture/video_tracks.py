"""Chooses the video track of a file as players do, and finds the other eye where it lies elsewhere.

A player shows one track: one that is marked as the default, else the largest. Two eyes may be two
tracks (Matroska's track operation, `vexu` of MP4 and MOV): both are decoded, where their frames go
together. Of two layers of one track (MV-HEVC) only one can be decoded here. Such a file is refused
with the command that joins them.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.contract import Layout
from pipeline.errors import InputError
from pipeline.source.container import check_largest, first_frame
from pipeline.text import printable
from pipeline.vr_tags.in_files import FoundTags, tags_of_frame

#: Coded so well that a matte of it is as good as one of the file itself.
_CODED = "-c:v libx265 -crf 12 -tag:v hvc1 -c:a copy"
_ONE_EYE = "or matte one eye of it with --layout mono"


@dataclass(frozen=True, slots=True, eq=False)
class ChosenTrack:
    """The track that is matted.

    Attributes:
        stream: PyAV's.
        frame: its first frame.
        place: its number among the tracks of video, without covers.
        notes: what is left out, one line each.
        right: the stream of the right eye, where `stream` is the left one's; None: it has both.
    """

    stream: Any
    frame: Any
    place: int
    notes: tuple[str, ...]
    right: Any | None = None


def choose_track(container: Any, path: Path, layout: Layout | None, shown: str) -> ChosenTrack:
    """The track of a container that is matted.

    Args:
        layout: as asked for; "mono" takes one eye of a file that holds two apart.

    Raises:
        InputError: it has no picture, or its eyes lie apart and cannot be decoded together.
    """
    tracks = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not tracks:
        kind = "only audio" if container.streams.audio else "no video"
        raise InputError(f"{shown} holds {kind}", "leave it out of the input")
    known = [stream for stream in tracks if stream.codec_context is not None]
    if not known:
        raise InputError(f"{shown} holds video of a codec that is not known", "convert it first")
    # Of tracks that another one joins only they hold pictures.
    planes = [stream for stream in known if tags_of_frame({}, stream.metadata).eye]
    stream = min(planes or known, key=_rank)
    check_largest(stream.codec_context, shown)
    frame = first_frame(path, stream.index, shown)
    tags = tags_of_frame(frame.side_data, stream.metadata)
    if tags.mixed and layout != "mono":
        _require_one_picture(path, stream, tags, layout, shown)
    notes: list[str] = []
    others = [track for track in tracks if track is not stream]
    if others:
        twins = [other for other in known if other is not stream and _size(other) == _size(stream)]
        eyes = _eyes(path, tags.eye, stream, [s for s in known if s is not stream], shown)
        if eyes and layout == "tb":
            left, right = (eye.index for eye in eyes)
            raise InputError(
                f"{shown} holds its eyes in two tracks (streams {left} and {right}), not one above"
                " the other in one picture, as --layout tb says",
                f"leave out --layout: they are put side by side; {_ONE_EYE}",
            )
        if eyes and layout != "mono":
            return _both(path, eyes, tracks, shown)
        notes.append(_left_out(path, stream, others, twins, tags, eyes is not None))
    elif tags.eye:
        notes.append(f"holds the {tags.eye} eye alone, by its metadata")
    return ChosenTrack(stream, frame, tracks.index(stream), tuple(notes))


def _is_cover(stream: Any) -> bool:
    marks = stream.disposition
    return bool(marks & (marks.attached_pic | marks.timed_thumbnails))


def _rank(stream: Any) -> tuple[bool, int, int]:
    """Ascending: what a player would rather show comes first."""
    width, height = _size(stream)
    return not stream.disposition & stream.disposition.default, -width * height, stream.index


def _size(stream: Any) -> tuple[int, int]:
    codec = stream.codec_context
    return (0, 0) if codec is None else (codec.width, codec.height)


def _require_one_picture(
    path: Path, stream: Any, tags: FoundTags, layout: Layout | None, shown: str
) -> None:
    """Refuse a track whose eyes no part of its pictures holds alone."""
    if tags.mixed == "layers":
        views = _joining(path, "[0:v:0:vpos:left][0:v:0:vpos:right]")
        way = f"join them first with FFmpeg 7.1 or later: {views}"
        if stream.codec_context.codec.canonical_name != "hevc":
            way = "convert it to side by side first, with a program that decodes both layers"
        raise InputError(
            f"{shown} holds its eyes as two layers of one track (MV-HEVC or MVC), of which only"
            " one can be decoded here",
            f"{way}; {_ONE_EYE}",
        )
    if layout is None:
        raise InputError(
            f"{shown} holds its eyes {tags.mixed}, which cannot be taken apart here",
            "convert it to side by side first (ffmpeg's filter stereo3d), or, if that is not true"
            " of it, say its --layout",
        )


def _both(path: Path, eyes: tuple[Any, Any], tracks: Sequence[Any], shown: str) -> ChosenTrack:
    """Both eyes, of which each is a track."""
    left, right = eyes
    frames = [first_frame(path, eye.index, shown) for eye in eyes]
    sizes = [(frame.width, frame.height) for frame in frames]
    if sizes[0] != sizes[1]:
        words = " and ".join(f"{width}x{height}" for width, height in sizes)
        raise apart(path, left.index, right.index, f"of unlike sizes ({words})", shown)
    # Matroska's track that joins the two has no pictures of its own.
    others = [track for track in tracks if track not in eyes and _codec(track) != "rawvideo"]
    notes = []
    if others:
        left_out = ", ".join(_in_words(other) for other in others)
        notes.append(f"the two video tracks of the eyes are taken; left out: {left_out}")
    return ChosenTrack(left, frames[0], tracks.index(left), tuple(notes), right)


def apart(path: Path, left: int, right: int, why: str, shown: str) -> InputError:
    """The error of a file whose eyes are two streams that do not go together, `why`."""
    return InputError(
        f"{shown} holds the left eye in stream {left} and the right eye in stream {right}, {why}",
        f"join them first: {_joining(path, f'[0:{left}][0:{right}]')}; {_ONE_EYE}",
    )


def _eyes(
    path: Path, eye: str, stream: Any, others: Sequence[Any], shown: str
) -> tuple[Any, Any] | None:
    """The streams of the left and of the right eye, where two tracks hold one each."""
    if not eye:
        return None
    for other in others:
        try:
            frame = first_frame(path, other.index, shown)
        except InputError:
            continue
        if {eye, tags_of_frame(frame.side_data, other.metadata).eye} == {"left", "right"}:
            return (stream, other) if eye == "left" else (other, stream)
    return None


def _joining(path: Path, inputs: str) -> str:
    """The command that puts two pictures side by side, as one line for a shell."""
    source, target = (shlex.quote(printable(name)) for name in (path.name, f"{path.stem}_LR.mp4"))
    return f"ffmpeg -i {source} -filter_complex '{inputs}hstack' -map '0:a?' {_CODED} {target}"


def _left_out(
    path: Path,
    stream: Any,
    others: Sequence[Any],
    twins: Sequence[Any],
    tags: FoundTags,
    eyes: bool,
) -> str:
    """The note on a file with several tracks."""
    note = f"of {len(others) + 1} video tracks {_in_words(stream)} is taken"
    if stream.disposition & stream.disposition.default and not all(
        other.disposition & other.disposition.default for other in others
    ):
        note += ", the default"
    note += f"; left out: {', '.join(_in_words(other) for other in others)}"
    if twins and not eyes and not tags.layout:
        pair = f"[0:{stream.index}][0:{twins[0].index}]"
        note += f"; if they are the two eyes, join them first: {_joining(path, pair)}"
    return note


def _in_words(stream: Any) -> str:
    width, height = _size(stream)
    return f"stream {stream.index} ({width}x{height} {_codec(stream)})"


def _codec(stream: Any) -> str:
    codec = stream.codec_context
    return "unknown codec" if codec is None else str(codec.codec.canonical_name)
