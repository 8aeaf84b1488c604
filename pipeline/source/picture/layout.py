"""Decides the layout of the eyes and their projection, from name, metadata and shape.

Four sources, the first that speaks decides, for layout and projection each on its own: what was
asked for, the tags in the name, the container's metadata, the shape of the picture. A tag that may
be a word of the title counts only where the shape bears it out, and the person is told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pipeline.contract import Layout, ProjectionName, eye_size
from pipeline.vr_tags.in_files import FoundTags
from pipeline.vr_tags.in_names import NameTags, read_tags

_SILENT = FoundTags()


@dataclass(frozen=True, slots=True)
class View:
    """How a picture is to be seen, and why it is taken for that.

    Attributes:
        right_first: the right eye is the left (or upper) half.
        layout_reason, projection_reason: for the person who reads the plan.
        doubt: what else the name could mean, and how to say so; empty where there is no doubt.
    """

    layout: Layout
    right_first: bool
    layout_reason: str
    projection: ProjectionName
    projection_reason: str
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    """All but the name: the arguments of `find_view`."""

    width: int
    height: int
    container: FoundTags
    layout: Layout | None
    projection: ProjectionName | None


def find_view(
    stem: str,
    width: int,
    height: int,
    *,
    container: FoundTags = _SILENT,
    layout: Layout | None = None,
    projection: ProjectionName | None = None,
) -> View:
    """How to see a picture.

    Args:
        stem: file name without its extension.
        width, height: of the upright picture, both eyes together, in pixels.
        container: what the file's metadata say.
        layout, projection: what was asked for.
    """
    tags = read_tags(stem)
    known = _Known(width, height, container, layout, projection)
    named = _view(tags, known)
    sure = _sure_tags(tags, known, named)
    unnamed = _view(sure, known)
    if (named.layout, named.projection) == (unnamed.layout, unnamed.projection):
        return named
    beaten = (sure.layout is None and container.layout is not None) or (
        sure.projection is None and container.projection is not None
    )
    lone_number = tags.projection is not None and not tags.projection_doubtful
    if not beaten and (_fits(named, known) or (lone_number and width > _HD_WIDTH)):
        return replace(named, doubt=_doubt(tags, known, named, unnamed, named))
    return replace(unnamed, doubt=_doubt(tags, known, unnamed, unnamed, named))


#: Nothing that wide is a picture of a sphere by its shape alone, or by a number in its name.
_HD_WIDTH = 1920


def _sure_tags(tags: NameTags, known: _Known, named: View) -> NameTags:
    """The tags without those that may be words of the title.

    A layout and a projection bear each other out, if either is a sure one. A number that stands
    alone, well set off, is sure where the picture has the shape of it, or metadata.
    """
    both = tags.layout is not None and tags.projection is not None
    if both and not (tags.layout_doubtful and tags.projection_doubtful):
        return tags
    if tags.layout_doubtful and known.layout is None:
        tags = replace(tags, layout=None, layout_word="", order_stated=False)
    lone = tags.projection_word in ("180", "360") and not both and known.layout is None
    silent = known.container.layout is None and known.container.projection is None
    misfit = lone and silent and not _fits(named, known)
    if (tags.projection_doubtful or misfit) and known.projection is None:
        tags = replace(tags, projection=None, projection_word="")
    return tags


def _fits(view: View, known: _Known) -> bool:
    """Whether each eye has the very shape that the view calls for; as a film, it alone."""
    ratio = _eye_ratio(view.layout, known.width, known.height)
    if view.projection != "flat":
        return _is_near(ratio, _eye_shape(view.projection))
    whole = _ratio(known.width, known.height)
    return view.layout != "mono" and _is_screen(ratio) and not _is_screen(whole)


def _doubt(tags: NameTags, known: _Known, taken: View, unnamed: View, named: View) -> str:
    """The note on a name that may say something else."""
    words = [
        repr(word)
        for word, differs in (
            (tags.layout_word, named.layout != unnamed.layout and known.layout is None),
            (tags.projection_word, known.projection is None),
        )
        if word and differs
    ]
    who = "the shape" if known.container == _SILENT else "the file"
    other = named if taken is unnamed else unnamed
    options = [f"--layout {other.layout}"] if other.layout != taken.layout else []
    if other.projection != taken.projection:
        options.append(f"--projection {other.projection}")
    return (
        f"the name says {' and '.join(words)}, {who} ({known.width}x{known.height}) says"
        f" {unnamed.layout}, {unnamed.projection}: taken for {taken.layout}, {taken.projection};"
        f" {' '.join(options)} to say otherwise"
    )


def _view(tags: NameTags, known: _Known) -> View:
    """How to see the picture if all of those tags count."""
    width, height, container = known.width, known.height, known.container
    layout, projection = known.layout, known.projection
    found_layout = layout or tags.layout or container.layout
    layout_reason = _source(layout, tags.layout_word, container.layout)
    found_projection = projection or tags.projection or container.projection
    projection_reason = _source(projection, tags.projection_word, container.projection)
    if found_layout is None and found_projection is None and _is_double_square(width, height):
        reason = f"{width}x{height} is 2:1 and wider than 1920"
        return View("sbs", False, reason, "equirect180", reason)
    if found_layout is None:
        found_layout, layout_reason = _layout_by_shape(found_projection, width, height)
    said_whole = found_projection == "equirect360" and projection_reason == _METADATA_SAY
    square = _is_near(_eye_ratio(found_layout, width, height), 1)
    if said_whole and square and found_layout != "mono":
        # Writers that know no bounds call half a sphere a whole one.
        found_projection = "equirect180"
        projection_reason = "the file's metadata say 360, but each eye is square"
    if found_projection is None:
        found_projection, projection_reason = _projection_by_shape(found_layout, width, height)
    right_first = False
    if found_layout != "mono":
        if tags.layout == found_layout and tags.order_stated:
            right_first = tags.right_first
        elif container.layout == found_layout:
            right_first = bool(container.right_first)
    view = View(found_layout, right_first, layout_reason, found_projection, projection_reason)
    if not is_squeezed(view, width, height):
        return view
    half = "half width" if view.layout == "sbs" else "half height"
    return replace(view, projection_reason=f"{projection_reason}, {half}")


def is_squeezed(view: View, width: int, height: int) -> bool:
    """Whether each eye has half the width (or height) that its projection calls for.

    So are the "half" formats, in which two eyes take the room of one. An ordinary film is taken
    for one of them when the whole picture has the shape of a screen.
    """
    if view.layout == "mono":
        return False
    if view.projection == "flat":
        return _is_screen(_ratio(width, height))
    factor = 0.5 if view.layout == "sbs" else 2.0
    return _is_near(_eye_ratio(view.layout, width, height), factor * _eye_shape(view.projection))


def misfit(view: View, width: int, height: int) -> str | None:
    """Why eyes of that shape may look stretched in their projection; None where they fit."""
    if view.projection == "flat" or is_squeezed(view, width, height):
        return None
    if _is_near(_eye_ratio(view.layout, width, height), _eye_shape(view.projection)):
        return None
    eye_height, eye_width = eye_size(view.layout, height, width)
    return (
        f"each eye is {eye_width}x{eye_height}, which is not {_eye_shape(view.projection):.0f}:1 as"
        f" in {view.projection}: if it looks stretched, say what it is with --projection"
    )


_METADATA_SAY = "the file's metadata say so"

#: Width by height of what people call a screen, from 5:4 to CinemaScope.
_SCREENS = (1.24, 2.5)
#: Of the logarithm. Cameras add rows: 8192x4320 is two squares; 8:9, half a film, is none.
_TOLERANCE = 0.07


def _is_screen(ratio: float) -> bool:
    return _SCREENS[0] <= ratio <= _SCREENS[1]


def _source(asked: str | None, word: str, metadata: str | None) -> str:
    if asked:
        return "as asked"
    if word:
        return f"name has {word!r}"
    return _METADATA_SAY if metadata else ""


def _is_double_square(width: int, height: int) -> bool:
    # Exact but for a pixel or two: with no other hint, films of 1.9:1 or 2.1:1 must not be it.
    return width > _HD_WIDTH and abs(width - 2 * height) <= 4


def _layout_by_shape(
    projection: ProjectionName | None, width: int, height: int
) -> tuple[Layout, str]:
    """The layout whose eyes come nearest to the shape of that projection.

    A square picture tagged `_180` could be one eye, or two of half width: it is taken for one,
    because whoever squeezes pictures says so in the name, or no player would show them rightly.
    """
    size = f"{width}x{height}"
    if projection is None:
        return "mono", f"nothing in name or metadata, and {size} is not 2:1 wider than 1920"
    if projection == "flat":
        return "mono", "nothing in name or metadata says that a flat picture has two eyes"
    layouts: tuple[Layout, ...] = ("mono", "sbs", "tb")  # in doubt the first
    shape = _eye_shape(projection)
    layout = min(layouts, key=lambda each: abs(math.log(_eye_ratio(each, width, height) / shape)))
    return layout, f"{size} is nearest to {_LAYOUT_WORDS[layout]} in {projection}"


_LAYOUT_WORDS: dict[Layout, str] = {
    "mono": "one eye",
    "sbs": "two eyes side by side",
    "tb": "two eyes one above the other",
}


def _projection_by_shape(layout: Layout, width: int, height: int) -> tuple[ProjectionName, str]:
    """What eyes of that shape show; one eye alone is an ordinary picture.

    | eye | side by side        | one above the other  |
    |-----|---------------------|----------------------|
    | 1:2 | 180, half width     |                      |
    | 1:1 | 180                 | 180                  |
    | 2:1 | 360                 | 360 (a square file)  |
    | 4:1 |                     | 360, half height     |

    Everything else is a film. Where a squeezed picture has the shape of a whole one, the whole one
    is taken: squares side by side are not 360 of half width, nor 2:1 above each other 180 of half
    height.
    """
    if layout == "mono":
        return "flat", "nothing in name or metadata says otherwise"
    shapes: tuple[tuple[float, ProjectionName], ...] = (
        (1, "equirect180"),
        (2, "equirect360"),
        (0.5, "equirect180") if layout == "sbs" else (4, "equirect360"),
    )
    ratio = _eye_ratio(layout, width, height)
    eye = f"{width // 2}x{height}" if layout == "sbs" else f"{width}x{height // 2}"
    for shape, projection in shapes:
        if _is_near(ratio, shape):
            return projection, f"each eye is {eye}"
    return "flat", f"each eye is {eye}, no shape of a sphere"


def _eye_shape(projection: ProjectionName) -> float:
    """Width by height of one eye that is not squeezed."""
    return 2.0 if projection == "equirect360" else 1.0


def _eye_ratio(layout: Layout, width: int, height: int) -> float:
    return _ratio(width, height) * {"mono": 1.0, "sbs": 0.5, "tb": 2.0}[layout]


def _ratio(width: int, height: int) -> float:
    return max(width, 1) / max(height, 1)


def _is_near(ratio: float, shape: float) -> bool:
    return abs(math.log(ratio / shape)) <= _TOLERANCE
