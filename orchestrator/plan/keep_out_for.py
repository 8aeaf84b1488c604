"""Find, read and check the regions of a video in which nothing is kept, while the run is planned.

Those of the settings are for every video; those in a file beside a video are added to them. What
does not fit one video costs only that video.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.words import counted
from pipeline.contract import KeepOut, VideoInfo, VideoSettings
from pipeline.contract.edges import MOST_REGIONS
from pipeline.errors import SettingsError
from pipeline.foreign.files import Unreadable, read_text
from pipeline.foreign.wrong_values import given, wrong_value
from pipeline.foreign.yaml_text import Bounds, parse_yaml
from pipeline.stages.edges.keep_out_picture import require_picture_of
from pipeline.text import printable

#: Endings under which regions are looked for beside a video.
ENDINGS = (".keep_out.yaml", ".keep_out.yml")

_LONGEST_BYTES = 1 << 20
_HOW = "write: keep_out: [{eye: left, points: [[0, 900], [400, 900], [200, 640]]}]"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keep_out: Annotated[tuple[KeepOut, ...], Field(min_length=1, max_length=MOST_REGIONS)]


def with_keep_out(
    settings: VideoSettings, source: Path, info: VideoInfo
) -> tuple[VideoSettings, tuple[str, ...]]:
    """The settings with the regions beside the video, and a note on these.

    Args:
        source: the video by the name that it has in its folder.

    Raises:
        SettingsError: the file beside it is wrong, a region lies outside of this video's eyes, or
            the picture is none.
        InputError: the picture has not the video's size.
    """
    edges = settings.matting.edges
    require_picture_of(edges, info)
    for number, region in enumerate(edges.keep_out, 1):
        _require_fit(region, info, f"matting.keep_out, item {number}")
    path = _beside(source)
    if path is None:
        return settings, ()
    found = _read(path)
    for number, region in enumerate(found, 1):
        _require_fit(region, info, f"{path}: item {number}")
    # Said twice, a region is the same.
    regions = tuple(dict.fromkeys((*edges.keep_out, *found)))
    if len(regions) > MOST_REGIONS:
        raise SettingsError(
            f"{path}: {len(regions)} regions with those of the settings, {MOST_REGIONS} at most",
            "paint a picture of them instead (matting.keep_out_image)",
        )
    matting = replace(settings.matting, edges=replace(edges, keep_out=regions))
    note = f"{counted(len(found), 'region')} kept out by {printable(path.name)}"
    return replace(settings, matting=matting), (note,)


def _beside(source: Path) -> Path | None:
    candidates = (source.with_name(source.stem + ending) for ending in ENDINGS)
    # Whatever bears the name is meant: a link to nothing is told, not passed over.
    return next((path for path in candidates if os.path.lexists(path)), None)


def _read(path: Path) -> tuple[KeepOut, ...]:
    try:
        values = parse_yaml(read_text(path, _LONGEST_BYTES), Bounds(depth=6, values=60_000))
    except Unreadable as error:
        raise error.as_error(SettingsError, path, _HOW) from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path} holds no regions: it must begin with `keep_out:`", _HOW)
    try:
        # As settings are checked: a list may become a tuple, "3" no number.
        return _File.model_validate_json(json.dumps(values, default=str), strict=True).keep_out
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise SettingsError(f"{path}: {_told(problem)}", _HOW) from None


def _told(problem: Any) -> str:
    """Where in the file, and what is wrong there, as a person would say it."""
    place: Sequence[int | str] = problem["loc"]
    words = [f"item {part + 1}" if isinstance(part, int) else str(part) for part in place]
    return f"{printable(', '.join(words), 200)}{given(problem['input'])}: {wrong_value(problem)}"


def _require_fit(region: KeepOut, info: VideoInfo, where: str) -> None:
    height, width = info.eye_size
    if region.eye == "right" and info.eyes == 1:
        raise SettingsError(f"{where}: the video has one eye", "leave out `eye`")
    across, down = ([point[axis] for point in region.points] for axis in (0, 1))
    if max(across) < 0 or max(down) < 0 or min(across) >= width or min(down) >= height:
        raise SettingsError(
            f"{where} is outside of the eye, which has {width}x{height} pixels",
            "pixels are those of one eye, from its upper left corner",
        )
