"""VR tags in file names, read and written: what players know a picture by.

Any case, any order, set off by something that is neither letter nor digit. Knows no pictures: what
a name leaves open is decided in `pipeline/source/picture/layout.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.contract import Layout, ProjectionName
from pipeline.vr_tags.name_words import Word, find_tags, words_of

_FALLBACK = "video"


@dataclass(frozen=True, slots=True)
class NameTags:
    """What a name says; None where it is silent.

    Attributes:
        right_first: the right eye is the left (or upper) half.
        alpha: the matte is packed into the picture.
        words: all tags, as spelled, in order.
        layout_word, projection_word: those that decided; empty where none did.
        order_stated: a tag of that layout says which eye is first ("LR" does, "SBS" does not).
        layout_doubtful, projection_doubtful: the word that decided may well be one of the title: a
            number or two letters that stand alone among words.
    """

    layout: Layout | None
    right_first: bool
    projection: ProjectionName | None
    alpha: bool
    words: tuple[str, ...]
    layout_word: str = ""
    projection_word: str = ""
    order_stated: bool = False
    layout_doubtful: bool = False
    projection_doubtful: bool = False


def read_tags(stem: str) -> NameTags:
    """What the name of a file, without its extension, says of its picture.

    Two eyes beat one, as "mono" is also said of sound. A lens beats "fisheye", and both beat 180,
    which players want beside them (`_LR_180_FISHEYE_F180_alpha`). Otherwise the last tag counts:
    tags are put at the end, and what comes before may be the title. Doubtful tags count where there
    are no others; whether they do at all the picture must say.
    """
    found = list(find_tags(words_of(stem)))
    layouts = [item for item in found if item.tag.layout not in (None, "mono")]
    layouts = layouts or [item for item in found if item.tag.layout]
    layouts = [item for item in layouts if not item.doubtful] or layouts
    layout = layouts[-1].tag.layout if layouts else None
    orders = [item.tag.right_first for item in layouts if item.tag.layout == layout]
    stated = [order for order in orders if order is not None]
    projections = [item for item in found if item.tag.projection]
    projections = [item for item in projections if not item.doubtful] or projections
    highest = max((item.tag.rank for item in projections), default=0)
    decisive = [item for item in projections if item.tag.rank == highest]
    return NameTags(
        layout,
        bool(stated and stated[-1]),
        decisive[-1].tag.projection if decisive else None,
        any(item.tag.alpha for item in found),
        tuple(item.spelled(stem) for item in found),
        layouts[-1].spelled(stem) if layouts else "",
        decisive[-1].spelled(stem) if decisive else "",
        bool(stated),
        bool(layouts and layouts[-1].doubtful),
        bool(decisive and decisive[-1].doubtful),
    )


def strip_tags(stem: str) -> str:
    """The name without its tags, and without the separators and brackets that held only them.

    A name of nothing but tags becomes "video", not itself: tags put at the end of it would be
    there twice.
    """
    while True:
        words = words_of(stem)
        found = list(find_tags(words))
        if not found:
            return stem or _FALLBACK
        stem = _without(stem, words, {k for item in found for k in range(item.first, item.last)})


def tags_for(
    layout: Layout, right_first: bool, projection: ProjectionName, *, alpha: bool = False
) -> str:
    """What to put behind a name so that players show the picture as it is; "" for an ordinary one.

    `read_tags` gives it back, but for "flat", which has no tag. 200 and 220 degrees are named by
    a lens, because DeoVR and HereSphere know those fields of view by no other name.

    Args:
        alpha: the matte is packed into the picture, which players look for in fisheyes only.

    Raises:
        ValueError: `alpha` with another projection.
    """
    if alpha and not projection.startswith("fisheye"):
        raise ValueError(f"players find no matte packed into {projection}")
    words = []
    if (layout, projection) != ("mono", "flat"):
        words.append(_LAYOUT_TAGS[layout][right_first])
    if alpha:
        words += [_PACKED_TAGS.get(projection, _PROJECTION_TAGS[projection].upper()), "alpha"]
    elif projection != "flat":
        words.append(_PROJECTION_TAGS[projection])
    return "".join(f"_{word}" for word in words)


_LAYOUT_TAGS: dict[Layout, tuple[str, str]] = {
    "mono": ("MONO", "MONO"),  # or players take a `_180` for side by side
    "sbs": ("LR", "RL"),
    "tb": ("TB", "BT"),
}
_PROJECTION_TAGS: dict[ProjectionName, str] = {
    "equirect180": "180",
    "equirect360": "360",
    "fisheye180": "fisheye",
    "fisheye190": "fisheye190",
    "fisheye200": "mkx200",
    "fisheye220": "vrca220",
}
_PACKED_TAGS: dict[ProjectionName, str] = {"fisheye180": "180_FISHEYE_F180"}


_JOINERS = r" _\-.,~\u2013\u2014\u00a0\u3000"  # dashes and spaces of other scripts as well
_OPENERS, _CLOSERS = r"(\[{<\uff08\u3010\u300c\u300e", r")\]}>\uff09\u3011\u300d\u300f"
# Where a tag was there is a slash now: the one sign that no name holds.
_EMPTIED = re.compile(rf"[{_OPENERS}][{_JOINERS}/]*/[{_JOINERS}/]*[{_CLOSERS}]")
_SEAM = re.compile(rf"([{_JOINERS}]*)/(?:[{_JOINERS}/]*/)?([{_JOINERS}]*)")
_NO_BRACKET = re.compile(rf"[^{_OPENERS}{_CLOSERS}]")


def _without(stem: str, words: list[Word], tagged: set[int]) -> str:
    """`stem` without those words, its gaps closed."""
    kept: list[str] = []
    place = 0
    while place < len(words):
        last = place
        while last < len(words) and last in tagged:
            last += 1
        begin = words[place - 1].end if place else 0
        if last == place:
            kept += [stem[begin : words[place].start], words[place].text]
            place += 1
            continue
        gaps = [stem[begin : words[place].start]]
        gaps += [
            _NO_BRACKET.sub("", stem[words[k].end : words[k + 1].start])
            for k in range(place, last - 1)
        ]
        at_end = last == len(words)
        gaps.append(stem[words[last - 1].end : None if at_end else words[last].start])
        closed = _close("/".join(gaps), at_start=place == 0, at_end=at_end)
        if at_end:
            return "".join(kept) + closed
        kept += [closed or ("" if place == 0 else "_"), words[last].text]
        place = last + 1
    return "".join(kept) + stem[words[-1].end :]


def _close(gap: str, *, at_start: bool, at_end: bool) -> str:
    """What stays between two words when the tags (slashes) between them go."""
    while True:
        emptied = _EMPTIED.sub("/", gap)
        if emptied == gap:
            break
        gap = emptied

    def seam(match: re.Match[str]) -> str:
        before, after = gap[: match.start()], gap[match.end() :]
        hangs = (at_start if not before else re.search(rf"[{_OPENERS}]$", before)) or (
            at_end if not after else re.match(rf"[{_CLOSERS}]", after)
        )
        return "" if hangs else max(match[1], match[2], key=len)

    return _SEAM.sub(seam, gap)
