"""Reads DeepLabCut tables as prompts: body parts become points.

Read are the CSV files that DeepLabCut writes beside a video (`analyze_videos`, `save_as_csv`):
three header rows (scorer, bodyparts, coords), four with several animals (scorer, individuals,
bodyparts, coords), and a row per frame of the source: its number (or the name of its picture, in
one cell or three), then x, y and likelihood of each part. Parts that belong to no animal stand
under the individual `single`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.contract import VideoInfo
from pipeline.errors import InputError, SettingsError
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
        points: of each frame, the parts that are likely enough: pixels of the picture that was
            analysed, x to the right and y down.
    """

    name: str
    points: tuple[tuple[tuple[float, float], ...], ...]


def read_tracks(
    path: Path, parts: Sequence[str], least_likelihood: float, num_frames: int | None
) -> tuple[Track, ...]:
    """Read a table.

    Args:
        parts: body parts that are taken; empty takes all, but those that belong to no animal.
        least_likelihood: 0..1; points below it are left out.
        num_frames: of the video's source; the table must have as many rows. None: any number.

    Raises:
        SettingsError: it cannot be read, is not DeepLabCut's, lacks a part, has no point that is
            likely enough, or belongs to another video.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}", "check the path") from None
    except (UnicodeDecodeError, csv.Error):
        raise SettingsError(f"{path} is not a table in CSV", "is it the right file?") from None
    columns, body = _columns(path, rows)
    known = list(dict.fromkeys(column[1] for column in columns))
    for part in parts:
        if part not in known:
            raise SettingsError(
                f"{path} has no body part {part!r}", f"it has: {', '.join(known) or 'none'}"
            )
    if num_frames is not None and len(body) != num_frames:
        raise SettingsError(
            f"{path} has {len(body)} rows, and the video {num_frames} frames",
            "analyse this very video, from its first frame to its last",
        )
    if not parts:
        columns = [column for column in columns if column[0] != _UNIQUE] or columns
    tracks = tuple(
        Track(name, tuple(_points(path, row, at, least_likelihood) for row in body))
        for name, at in _places(columns, parts or known).items()
    )
    if len(tracks) > MOST_OBJECTS:
        raise SettingsError(
            f"{path} follows {len(tracks)} animals; {MOST_OBJECTS} are the most",
            "export fewer, or name body parts that fewer have",
        )
    if not any(points for track in tracks for points in track.points):
        raise SettingsError(
            f"{path}: no point has a likelihood of {least_likelihood:g} or more",
            "lower the threshold, or name other body parts",
        )
    return tracks


def as_prompts(
    tracks: Sequence[Track],
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
    for object_id, track in enumerate(tracks, 1):
        for frame, source in enumerate(source_frames):
            by_eye: dict[Eye, list[Point]] = {}
            for x, y in track.points[source]:
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
    return Prompts(tuple(track.name for track in tracks), tuple(prompts))


#: Of one column: the individual, the body part, what of it (x, y or likelihood), and its place.
_Column = tuple[str, str, str, int]


def _columns(path: Path, rows: list[list[str]]) -> tuple[list[_Column], list[list[str]]]:
    """What each column but the first holds, and the rows below the header."""
    header = {row[0].strip().lower(): row[1:] for row in rows[: len(_HEADERS)]}
    found = [name for name in _HEADERS if name in header]
    if [name for name in _HEADERS if name != "individuals"] != [
        name for name in found if name != "individuals"
    ]:
        raise SettingsError(
            f"{path} does not begin with DeepLabCut's header rows (scorer, bodyparts, coords)",
            "take the .csv that DeepLabCut writes beside the video",
        )
    parts, coords = header["bodyparts"], header["coords"]
    names = header.get("individuals", [_ONLY] * len(parts))
    if not len(parts) == len(coords) == len(names) or not parts:
        raise SettingsError(f"{path}: its header rows differ in length", "export it again")
    columns = [
        (name.strip(), part.strip(), what.strip().lower(), place)
        for place, (name, part, what) in enumerate(zip(names, parts, coords, strict=True), 1)
        if what.strip()
    ]
    return columns, rows[len(found) :]


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
    path: Path, row: list[str], places: list[tuple[int, int, int | None]], least: float
) -> tuple[tuple[float, float], ...]:
    points = []
    for x_at, y_at, likelihood_at in places:
        try:
            x, y = _number(row[x_at]), _number(row[y_at])
            # Tables that a person labelled have no likelihood: what is there is meant.
            likelihood = 1.0 if likelihood_at is None else _number(row[likelihood_at])
        except (IndexError, ValueError):
            raise SettingsError(
                f"{path}: the row of frame {row[0]} is cut off or holds no numbers",
                "export it again",
            ) from None
        if likelihood >= least and math.isfinite(x) and math.isfinite(y):
            points.append((x, y))
    return tuple(points)


def _number(text: str) -> float:
    """An empty cell is what was not found."""
    return float(text) if text.strip() else math.nan
