"""The names of output files: the source's name, the tags that players look for, and an ending.

``talk_3dh_180x180.mp4`` becomes ``talk_LR_180_matte.webm``: old tags are replaced, not doubled.
"""

from __future__ import annotations

import re
from functools import cache

from pipeline.contract import VideoInfo
from pipeline.deliverables.formats import FORMATS
from pipeline.vr_tags.in_names import tags_for

#: Bytes that a name grows by, at the most.
LONGEST_ENDING_BYTES = 48


def output_name(base: str, name: str, video: VideoInfo) -> str:
    """The file name of one format.

    Args:
        base: the source's name without suffix and tags.
        name: of the format.

    Raises:
        InputError: the format cannot hold that video.
    """
    row = FORMATS[name]
    shown = row.picture(video)
    packed = row.alpha == "packed"
    tags = tags_for(shown.layout, shown.right_first, shown.projection, alpha=packed)
    return base + row.before_tags + tags + row.ending


def is_output_name(name: str) -> bool:
    """Whether a file is named like an output; it is then not taken for a source."""
    return _output_names(tuple(FORMATS.names())).search(name) is not None


@cache
def _output_names(formats: tuple[str, ...]) -> re.Pattern[str]:
    """Matches the ends of the names of all formats that can be had."""
    ends = []
    for row in filter(None, map(FORMATS.get, formats)):
        tags = r"_\w+_alpha" if row.alpha == "packed" else r"(_\w+)?" if row.before_tags else ""
        ends.append(re.escape(row.before_tags) + tags + re.escape(row.ending))
    return re.compile(rf"({'|'.join(ends)})\Z", re.IGNORECASE)
