"""What outputs are called: the source's name, the tags that players look for, what it is.

``talk_3dh_180x180.mp4`` becomes ``talk_LR_180_matte.webm``: old tags are replaced, not doubled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.contract import VideoInfo
from pipeline.deliverables.fit import packed_projection
from pipeline.vr_tags.in_names import tags_for

#: What is put behind a source's name and its tags, by format.
OUTPUT_ENDINGS: Mapping[str, str] = {
    "webm": "_matte.webm",
    "greenscreen": "_matte_green.mp4",
    "matte": "_matte_mask.mp4",
    "prores": "_matte.mov",
    "hevc-alpha": "_matte_hevc.mp4",
    "tiff": "_matte.tif",
}

#: Of an alpha-packed fisheye; its tags come between the two, because "alpha" is to be the last.
_PACKED = ("_matte", ".mp4")

_IS_PACKED = re.compile(r"_matte_\w+_alpha\.mp4$", re.IGNORECASE)

#: Bytes that a name grows by, at the most.
LONGEST_ENDING_BYTES = 48


def output_name(base: str, name: str, video: VideoInfo) -> str:
    """The file name of one format.

    Args:
        base: the source's name without suffix and tags.
        name: of the format.
    """
    if name == "alphapack":
        before, after = _PACKED
        return base + before + tags_for("sbs", False, packed_projection(video), alpha=True) + after
    return base + tags_for(video.layout, video.right_first, video.projection) + OUTPUT_ENDINGS[name]


def is_output_name(name: str) -> bool:
    """Whether a file is called like an output; it is then no source."""
    endings = tuple(OUTPUT_ENDINGS.values())
    return name.lower().endswith(endings) or _IS_PACKED.search(name) is not None
