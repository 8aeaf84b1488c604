"""Pictures that an earlier page holds, found again: a run that goes on need not make them anew."""

from __future__ import annotations

import hashlib
import re
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
    r'<div class="picture (source|matte|result)">\s*<img [^<>]*'
    r'src="data:image/webp;base64,([A-Za-z0-9+/=]{1,400000})">'
)


def picture_key(video: VideoReport) -> str:
    """16 hexadecimal digits that change when the pictures of a video would."""
    output = shown_output(video)
    frames = [moment.frame for moment in moments(video)]
    # By its name: OUT may have been moved.
    said = (video.id, output and (Path(output.path).name, output.size_bytes), frames)
    return hashlib.sha256(repr(said).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def kept_pictures(page: Path) -> dict[str, tuple[Pictures, ...]]:
    """The pictures in a page by `picture_key`; none where there is no page, or another's."""
    try:
        with open_regular(page) as file:
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    except (OSError, Unreadable):
        return {}
    found: dict[str, tuple[Pictures, ...]] = {}
    for key, frame, width, height, inside in _FIGURE.findall(text):
        parts = dict(_PICTURE.findall(inside))
        source, matte, result = (parts.get(name, "") for name in ("source", "matte", "result"))
        picture = Pictures(int(frame), source, matte, result, (int(width), int(height)))
        found[key] = (*found.get(key, ()), picture)
    return found
