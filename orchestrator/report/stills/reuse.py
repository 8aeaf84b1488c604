"""Pictures that an earlier page holds, found again: a run that goes on need not make them anew."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.report.report import VideoReport
from orchestrator.report.stills.stills import Pictures, moments, shown_output
from pipeline.foreign.files import Unreadable, open_regular

#: A page has some 30 MB at the most; what is larger was not made here.
_MOST_BYTES = 100_000_000

_FIGURE = re.compile(
    r'<figure class="moment" data-of="([0-9a-f]{16})" data-frame="(\d{1,9})"'
    r' data-size="(\d{1,4})x(\d{1,4})">(.*?)</figure>',
    re.DOTALL,
)
_PICTURE = re.compile(
    r'<div class="picture (source|matte|result|edge)[^<>]*">\s*<img [^<>]*'
    r'src="data:image/webp;base64,([A-Za-z0-9+/=]{1,400000})">'
)

_THUMB = re.compile(
    r'<img class="thumb[^<>]*" data-of="([0-9a-f]{16})" data-frame="(\d{1,9})" [^<>]*'
    r'src="data:image/webp;base64,([A-Za-z0-9+/=]{1,400000})">'
)

#: Changes when other pictures are made of the same video.
_KIND_OF_PICTURES = 2


def picture_key(video: VideoReport) -> str:
    """16 hexadecimal digits that change when the pictures of a video would."""
    output = shown_output(video)
    frames = [moment.frame for moment in moments(video)]
    # By its name: OUT may have been moved.
    file = output and (Path(output.path).name, output.size_bytes, output.digest)
    said = (_KIND_OF_PICTURES, video.id, file, frames)
    return hashlib.sha256(repr(said).encode("utf-8", "backslashreplace")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a page holds, by `picture_key`.

    Attributes:
        latest: thumbnails of videos that were in work, which have no other pictures.
    """

    pictures: Mapping[str, tuple[Pictures, ...]] = field(default_factory=dict)
    latest: Mapping[str, str] = field(default_factory=dict)


def kept_pictures(page: Path) -> Kept:
    """The pictures in a page; none where there is no page, or another's."""
    try:
        with open_regular(page) as file:
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    except (OSError, Unreadable):
        return Kept()
    thumbs = {(key, frame): data for key, frame, data in _THUMB.findall(text)}
    found: dict[str, tuple[Pictures, ...]] = {}
    for key, frame, width, height, inside in _FIGURE.findall(text):
        parts = dict(_PICTURE.findall(inside))
        source, matte, result = (parts.get(name, "") for name in ("source", "matte", "result"))
        size, thumb = (int(width), int(height)), thumbs.get((key, frame), "")
        edge = parts.get("edge", "")
        picture = Pictures(int(frame), source, matte, result, size, thumb, edge)
        found[key] = (*found.get(key, ()), picture)
    latest = {key: data for (key, _), data in thumbs.items() if key not in found}
    return Kept(found, latest)
