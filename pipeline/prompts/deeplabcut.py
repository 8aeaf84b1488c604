"""Reads DeepLabCut tables as prompts: body parts become points.

Read are the CSV files that DeepLabCut writes beside a video (`analyze_videos`, `save_as_csv`):
three header rows (scorer, bodyparts, coords), four with several animals (scorer, individuals,
bodyparts, coords), and a row per frame of the source: its number, then x, y and likelihood of each
part. Parts that belong to no animal stand under the individual `single`. Tables that a person
labelled (`CollectedData`) have a row per labelled frame: the name of its picture, in one cell or
three, which ends in the frame's number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.contract import VideoInfo
from pipeline.errors import InputError, SettingsError
from pipeline.foreign.files import Unreadable
from pipeline.foreign.tables import Table
from pipeline.prompts.deeplabcut_frames import FramesOfRows
from pipeline.prompts.prompts import MOST_OBJECTS, Eye, Point, Prompt, Prompts
from pipeline.text import printable

#: Names of the header rows, in their order; `individuals` is there with several animals only.
_HEADERS = ("scorer", "individuals", "bodyparts", "coords")
_ONLY, _UNIQUE = "subject", "single"


@dataclass(frozen=True, slots=True)
class Track:
    """One animal or person through all frames.

    Attributes:
        name: of the individual.
        points: by the number of a frame, the parts that are likely enough: pixels of the picture
            that was analysed, x to the right and y down. Frames without any are left out.
    """

    name: str
    points: Mapping[int, tuple[tuple[float, float], ...]]


@dataclass(frozen=True, slots=True)
class Tracks:
    """All of a table; `notes` say what a person should know of it."""

    tracks: tuple[Track, ...]
    notes: tuple[str, ...] = ()


def read_tracks(
    path: Path, parts: Sequence[str], least_likelihood: float, num_frames: int | None
) -> Tracks:
    """Read a table.

    Args:
        parts: body parts that are taken; empty takes all, but those that belong to no animal.
        least_likelihood: 0..1; points below it are left out.
        num_frames: of the video's source. A table of each frame must have as many rows, or as
            many less as decoders of others leave out. None: any number.

    Raises:
        SettingsError: it cannot be read, is not DeepLabCut's, lacks a part, has no point that is
            likely enough, or belongs to another video; with the line.
    """
    try:
        return _tracks(path, parts, least_likelihood, num_frames)
    except Unreadable as error:
        raise error.as_error(SettingsError, path, "export it again") from None


def _tracks(path: Path, parts: Sequence[str], least: float, num_frames: int | None) -> Tracks:
    table = Table(path)
    rows = table.rows()
    columns, first = _columns(rows)
    width, numbers = columns[-1][3] + 1, columns[0][3]
    known = list(dict.fromkeys(column[1] for column in columns))
    for part in parts:
        if part not in known:
            raise SettingsError(
                f"{path} has no body part {part!r}", f"it has: {', '.join(known) or 'none'}"
            )
    if not parts:
        columns = [column for column in columns if column[0] != _UNIQUE] or columns
    places = _places(columns, parts or known)
    if len(places) > MOST_OBJECTS:
        raise SettingsError(
            f"{path} follows {len(places)} animals; {MOST_OBJECTS} are the most",
            "export fewer, or name body parts that fewer have",
        )
    found: dict[str, dict[int, tuple[tuple[float, float], ...]]] = {name: {} for name in places}
    frames = FramesOfRows(num_frames)
    for line, row in itertools.chain(first, rows):
        _require_width(row, width, line)
        frame = frames.of(row[:numbers], line)
        for name, at in places.items():
            points = _points(table, row, line, at, least)
            if points:
                found[name][frame] = points
    frames.require_all()
    if not any(found.values()):
        raise SettingsError(
            f"{path}: no point has a likelihood of {least:g} or more",
            "lower the threshold, or name other body parts",
        )
    notes = tuple(f"{path.name}: {note}" for note in frames.notes())
    return Tracks(tuple(Track(name, points) for name, points in found.items()), notes)


def as_prompts(
    table: Tracks,
    video: VideoInfo,
    source_frames: Sequence[int],
    *,
    correct_every: int = 1,
) -> Prompts:
    """The points of each track in each output frame, in the eye that they lie in.

    Args:
        video: whose whole picture was analysed, both eyes in it.
        source_frames: for each output frame the frame of the source that it shows.
        correct_every: of the video's frames, so many apart correct what is tracked: the parts that
            a table names say less of an outline than tracking knows.

    Raises:
        InputError: decoding shows another picture than the one that was analysed.
    """
    if video.stored is not None:
        raise InputError(
            f"the tracks of {printable(video.path)} are of the picture in the file, which is"
            " resampled to another projection",
            "leave out --dlc-csv, and write prompts on frames of `vrmatte preview`",
        )
    height, width = video.eye_size
    prompts: list[Prompt] = []
    for object_id, track in enumerate(table.tracks, 1):
        for frame, source in enumerate(source_frames):
            by_eye: dict[Eye, list[Point]] = {}
            for x, y in track.points.get(source, ()):
                right, below = x >= width, y >= height
                second = right if video.layout == "sbs" else below and video.layout == "tb"
                eye: Eye = 1 if second != (video.right_first and video.eyes == 2) else 0
                point = Point(
                    x - width if right and video.layout == "sbs" else x,
                    y - height if below and video.layout == "tb" else y,
                )
                if 0 <= point.x <= width and 0 <= point.y <= height:
                    by_eye.setdefault(eye, []).append(point)
            prompts += [
                Prompt(object_id, eye, frame, tuple(points), corrects=frame % correct_every == 0)
                for eye, points in by_eye.items()
            ]
    names = tuple(track.name for track in table.tracks)
    return Prompts(names, tuple(prompts), table.notes)


#: The line in which a row ends, and its cells.
_Row = tuple[int, list[str]]

#: Of one column: the individual, the body part, what of it (x, y or likelihood), and its place.
_Column = tuple[str, str, str, int]


def _columns(rows: Iterator[_Row]) -> tuple[list[_Column], list[_Row]]:
    """What each column of points holds, and the rows below the header that were read already."""
    header: dict[str, list[str]] = {}
    below: list[_Row] = []
    for line, row in rows:
        name = row[0].strip().lower()
        if name not in _HEADERS or name in header:
            below.append((line, row))
            break
        header[name] = row[1:]
    found = [name for name in _HEADERS if name in header]
    if list(header) != found or not {"scorer", "bodyparts", "coords"} <= header.keys():
        raise Unreadable(
            "does not begin with DeepLabCut's header rows (scorer, bodyparts, coords)",
            "take the .csv that DeepLabCut writes beside the video",
        )
    parts, coords = header["bodyparts"], header["coords"]
    names = header.get("individuals", [_ONLY] * len(parts))
    if not len(parts) == len(coords) == len(names):
        raise Unreadable("has header rows that differ in length")
    columns = [
        (name.strip(), part.strip(), what.strip().lower(), place)
        for place, (name, part, what) in enumerate(zip(names, parts, coords, strict=True), 1)
        if what.strip()
    ]
    if not columns:
        raise Unreadable("has no columns beside the number of the frame")
    doubled = len({column[:3] for column in columns}) != len(columns)
    if doubled:
        raise Unreadable("names two columns alike, so it does not say which one counts")
    return columns, below


def _require_width(row: list[str], width: int, line: int) -> None:
    """A cell too many is, say, a decimal comma: then each later cell is another one's."""
    if len(row) < width or any(cell.strip() for cell in row[width:]):
        raise Unreadable(
            f"has {len(row)} cells, and the header {width}",
            "export it again with decimal points and all columns",
            line,
        )


def _places(
    columns: list[_Column], parts: Sequence[str]
) -> dict[str, list[tuple[int, int, int | None]]]:
    """For each individual the columns of x, y and likelihood of each part that it has."""
    at = {column[:3]: column[3] for column in columns}
    found: dict[str, list[tuple[int, int, int | None]]] = {}
    for name in dict.fromkeys(column[0] for column in columns):
        for part in parts:
            x, y = at.get((name, part, "x")), at.get((name, part, "y"))
            if x is not None and y is not None:
                found.setdefault(name, []).append((x, y, at.get((name, part, "likelihood"))))
    return found


def _points(
    table: Table,
    row: list[str],
    line: int,
    places: list[tuple[int, int, int | None]],
    least: float,
) -> tuple[tuple[float, float], ...]:
    points = []
    for x_at, y_at, likelihood_at in places:
        x, y = table.number(row[x_at], line), table.number(row[y_at], line)
        # Tables that a person labelled have no likelihood: what is there is meant.
        likelihood = 1.0 if likelihood_at is None else table.number(row[likelihood_at], line)
        if likelihood > 1:
            raise Unreadable(f"has a likelihood of {likelihood:g}; 1 is the most", "", line)
        if likelihood >= least and math.isfinite(x) and math.isfinite(y):
            points.append((x, y))
    return tuple(points)
