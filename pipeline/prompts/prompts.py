"""Reads prompt files: what a person says about the subject, in a file beside the video.

A file names objects, and for each says where it is in some frames: by points, a box, or a mask.
DeepLabCut's tables are read by `pipeline/prompts/deeplabcut.py` into the same values. Pixels are
those of one eye's upright picture, x to the right and y down, the middle of the first pixel at 0,
0.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.contract import VideoInfo
from pipeline.errors import SettingsError
from pipeline.foreign.files import Unreadable, read_text
from pipeline.foreign.json_text import parse_json
from pipeline.foreign.wrong_values import wrong_value
from pipeline.foreign.yaml_text import parse_yaml
from pipeline.text import printable

#: A file of prompts is written by hand, or by a program for some objects and some frames. JSON is
#: read many times as fast.
LONGEST_JSON_BYTES, LONGEST_YAML_BYTES = 16 << 20, 2 << 20

#: Each object is followed by itself, and has its number in masks of labels.
MOST_OBJECTS = 64

#: Endings under which prompts are looked for beside a video, or in a folder of prompts.
ENDINGS = (".prompts.yaml", ".prompts.yml", ".prompts.json")

Eye = Literal[0, 1]


@dataclass(frozen=True, slots=True)
class Point:
    """One pixel of an eye; `inside` the object, or surely outside of it."""

    x: float
    y: float
    inside: bool = True


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is said of one object in one frame of one eye: points, a box, both, or a mask.

    Attributes:
        object_id: from 1, in the order of the file.
        eye: 0 is the left eye, 1 the right one.
        frame: number of an output frame.
        box: left, top, right, bottom.
        mask: a PNG of the eye's size or of any other; see `pipeline.foreign.pictures.Mask`.
        corrects: it is applied wherever its frame lies; otherwise only where a segment begins.
    """

    object_id: int
    eye: Eye
    frame: int
    points: tuple[Point, ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: Path | None = None
    corrects: bool = True


@dataclass(frozen=True, slots=True)
class Prompts:
    """All that is said of one video.

    Attributes:
        names: `names[i]` is what object i+1 is called.
        notes: what the person should know of how they were read, one line each.
    """

    names: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    notes: tuple[str, ...] = ()


class _Entry(BaseModel):
    """One prompt as it is written."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    frame: Annotated[int, Field(ge=0)] | None = None
    time: Annotated[float, Field(ge=0)] | None = None
    eye: Literal["left", "right"] = "left"
    points: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = []
    outside: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = []
    box: Annotated[list[float], Field(min_length=4, max_length=4)] | None = None
    mask: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> _Entry:
        if (self.frame is None) == (self.time is None):
            raise ValueError("say either frame or time (in seconds)")
        if self.mask is None and self.box is None and not self.points:
            raise ValueError("say points, box or mask")
        if self.mask is not None and (self.box is not None or self.points or self.outside):
            raise ValueError("a mask says all: leave out points and box")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError("a box is [left, top, right, bottom]")
        return self


class _Object(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100)]
    prompts: Annotated[list[_Entry], Field(min_length=1)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    objects: Annotated[list[_Object], Field(min_length=1, max_length=MOST_OBJECTS)]


def read_prompts(path: Path, video: VideoInfo) -> Prompts:
    """Read a file of prompts (YAML or JSON) for a video.

    Raises:
        SettingsError: it cannot be read, says what cannot be, or does not fit the video; names the
            object and the prompt.
    """
    written = _read(path)
    names = tuple(entry.name for entry in written.objects)
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise SettingsError(f"{path}: two objects are called {doubled!r}", "rename one")
    prompts: list[Prompt] = []
    for object_id, one in enumerate(written.objects, 1):
        for number, entry in enumerate(one.prompts, 1):
            where = f"{path}: object {one.name!r}, prompt {number}"
            prompt = _prompt(entry, object_id, path.parent, video)
            _require_fit(prompt, entry, video, where)
            prompts.append(prompt)
    return Prompts(names, tuple(prompts))


def require_prompts_file(path: Path) -> None:
    """Raises SettingsError where a file of prompts could be for no video at all."""
    _read(path)


def find_prompts(place: Path | None, video: Path) -> Path | None:
    """The file of prompts for a video, or None.

    Args:
        place: the file itself, a folder to look in by the video's name, or None: beside the video.
    """
    if place is not None and not place.is_dir():
        return place
    folder = video.parent if place is None else place
    candidates = (folder / (video.stem + ending) for ending in ENDINGS)
    # Whatever bears the name is meant: a link to nothing is told, not passed over.
    return next((path for path in candidates if os.path.lexists(path)), None)


def _read(path: Path) -> _File:
    try:
        values = _parsed(read_text(path, LONGEST_JSON_BYTES))
    except Unreadable as error:
        raise error.as_error(SettingsError, path) from None
    if not isinstance(values, dict):
        raise SettingsError(
            f"{path} holds no prompts: it must begin with `objects:`",
            "docs/prompts.md shows how prompts are written",
        )
    try:
        return _File.model_validate(values, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # A key that is written wrongly is the cause of one that is missing.
        problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
        if problem["type"] == "extra_forbidden":
            raise _unknown_key(path, values, problem["loc"]) from None
        place = printable(" ".join(_words(values, problem["loc"])), 200)
        raise SettingsError(
            f"{path}: {place}{wrong_value(problem)}",
            "docs/prompts.md shows how prompts are written",
        ) from None


def _unknown_key(path: Path, values: Any, location: tuple[int | str, ...]) -> SettingsError:
    depth = sum(isinstance(part, str) for part in location)
    known = [*(_File, _Object, _Entry)[depth - 1].model_fields]
    key = str(location[-1])
    near = difflib.get_close_matches(key, known, 1)
    place = printable(" ".join(_words(values, location[:-1])), 200)
    return SettingsError(
        f"{path}: {place}no key {printable(key, 60)!r}",
        f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}",
    )


def _parsed(text: str) -> Any:
    """JSON where it is some, else YAML, which says best what is wrong. Raises Unreadable."""
    if text.lstrip()[:1] in ("{", "["):
        with suppress(Unreadable):
            return parse_json(text, keys_once=True)
    if len(text) > LONGEST_YAML_BYTES:
        raise Unreadable(
            f"is too long for YAML: {LONGEST_YAML_BYTES >> 20} MiB are the most",
            "write it as JSON, or is it the right file?",
        )
    return parse_yaml(text)


def _words(values: Any, location: Sequence[int | str]) -> Iterator[str]:
    """Where in the file, as a person would say it."""
    told = ""
    for part in location:
        if isinstance(part, int):
            told = f"{told.rstrip('s')} {part + 1}"
        else:
            if told:
                yield told + ","
            told = part
    if told:
        yield told + ": "


def _prompt(entry: _Entry, object_id: int, folder: Path, video: VideoInfo) -> Prompt:
    frame = entry.frame
    if frame is None:
        assert entry.time is not None
        # After the end any frame that is not there will do: the time may be beyond all numbers.
        after = entry.time > video.duration_s + 1
        frame = video.num_frames if after else round(entry.time * video.frame_rate)
    points = [Point(x, y) for x, y in entry.points]
    points += [Point(x, y, inside=False) for x, y in entry.outside]
    return Prompt(
        object_id=object_id,
        eye=0 if entry.eye == "left" else 1,
        frame=frame,
        points=tuple(points),
        box=(entry.box[0], entry.box[1], entry.box[2], entry.box[3]) if entry.box else None,
        mask=None if entry.mask is None else folder / entry.mask,
    )


def _require_fit(prompt: Prompt, entry: _Entry, video: VideoInfo, where: str) -> None:
    height, width = video.eye_size
    if prompt.frame >= video.num_frames:
        said = f"frame {entry.frame}" if entry.frame is not None else f"{entry.time:g} s"
        raise SettingsError(
            f"{where}: there is no {said}; the video has {video.num_frames} frames,"
            f" {video.duration_s:.1f} s",
            "frames and times count from 0",
        )
    if prompt.eye >= video.eyes:
        raise SettingsError(f"{where}: the video has one eye", "leave out `eye`")
    corners = [(point.x, point.y) for point in prompt.points]
    if prompt.box is not None:
        corners += [prompt.box[:2], prompt.box[2:]]
    for x, y in corners:
        if not (0 <= x <= width and 0 <= y <= height):
            raise SettingsError(
                f"{where}: [{x:g}, {y:g}] is outside of the eye, which has {width}x{height} pixels",
                "pixels are those of one eye, from its upper left corner",
            )
    if prompt.mask is not None and not _is_file(prompt.mask):
        raise SettingsError(
            f"{where}: there is no mask {prompt.mask}", "masks are named from the file's folder"
        )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # such as a name that is too long
        return False
