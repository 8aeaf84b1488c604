"""Which way the two eyes share a picture, and how that was found out."""

from __future__ import annotations

import re

from pipeline.spec import Layout

# Tags that players look for in file names, any case, set off by something that is no letter.
_NAME_TAGS: tuple[tuple[Layout, str], ...] = (
    ("sbs", "LR|RL|SBS|HSBS|3DH"),
    ("tb", "TB|BT|OU|OVERUNDER|3DV"),
    ("mono", "MONO"),
)


def find_layout(
    stem: str, width: int, height: int, *, asked: Layout | None = None
) -> tuple[Layout, str]:
    """The layout and the reason for it: what was asked for, else the name, else the shape.

    Args:
        stem: file name without its extension.
        width, height: of the upright picture.
    """
    if asked is not None:
        return asked, "as asked"
    for layout, tags in _NAME_TAGS:
        found = re.search(rf"(?:^|[^A-Za-z0-9])({tags})(?=$|[^A-Za-z0-9])", stem, re.IGNORECASE)
        if found:
            return layout, f"name has {found[1]!r}"
    if width == 2 * height and width > 1920:
        return "sbs", f"{width}x{height} is 2:1 and wider than 1920"
    return "mono", f"no tag in the name, and {width}x{height} is not 2:1 wider than 1920"
