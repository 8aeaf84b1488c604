"""VR tags in file names, read and written: what players know a picture by.

Any case, any order, set off by something that is neither letter nor digit. Knows no pictures: what
a name leaves open is decided in `pipeline/source/layout.py`.

Sources: Meta's media overview for `_LR`, `_RL`, `_TB`, `_BT` (named in the order in which the left
and the right eye's picture come: `_RL` has the right eye left, `_BT` has the left eye at the
bottom); Skybox's page on suffixes for 3DH, 3DV, OU, HOU, HSBS, 180x180, F180; the name rules in
XBVR (pkg/tasks/volume.go, pkg/api/heresphere.go) and PTMediaServer (utils/vr_naming.py) for the
lenses and their fields of view: RF52 190 degrees, MKX200 200, MKX220 and VRCA220 220.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.contract import Layout, ProjectionName

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
    """

    layout: Layout | None
    right_first: bool
    projection: ProjectionName | None
    alpha: bool
    words: tuple[str, ...]
    layout_word: str = ""
    projection_word: str = ""
    order_stated: bool = False


def read_tags(stem: str) -> NameTags:
    """What the name of a file, without its extension, says of its picture.

    Two eyes beat one, as "mono" is also said of sound. A lens beats "fisheye", and both beat 180,
    which players want beside them (`_LR_180_FISHEYE_F180_alpha`). Otherwise the last tag counts:
    tags are put at the end, and what comes before may be the title.
    """
    found = list(_find_tags(_words(stem)))
    layouts = [item for item in found if item.tag.layout not in (None, "mono")]
    layouts = layouts or [item for item in found if item.tag.layout]
    layout = layouts[-1].tag.layout if layouts else None
    orders = [item.tag.right_first for item in layouts if item.tag.layout == layout]
    stated = [order for order in orders if order is not None]
    projections = [item for item in found if item.tag.projection]
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
    )


def strip_tags(stem: str) -> str:
    """The name without its tags, and without the separators and brackets that held only them.

    A name of nothing but tags becomes "video", not itself: tags put at the end of it would be
    there twice.
    """
    while True:
        words = _words(stem)
        found = list(_find_tags(words))
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


@dataclass(frozen=True, slots=True)
class _Tag:
    """What a word means.

    Attributes:
        right_first: None where the word says nothing of the order of the eyes.
        rank: of `projection`: a number 0, a fisheye 1, a fisheye of a known field of view 2.
        joints: what may stand between the parts of a tag of several words.
    """

    layout: Layout | None = None
    right_first: bool | None = None
    projection: ProjectionName | None = None
    rank: int = 0
    alpha: bool = False
    joints: str = "_-"


_SBS, _TB, _MONO = _Tag("sbs"), _Tag("tb"), _Tag("mono")
_DOME, _SPHERE = _Tag(projection="equirect180"), _Tag(projection="equirect360")
_ANY_JOINT = "_- ."


def _lens(projection: ProjectionName) -> _Tag:
    return _Tag(projection=projection, rank=2, joints=_ANY_JOINT)


# Left out, because they say other things as often, or mean different pictures to different players:
# "3D" and "half" (no layout), "left-right" and "top bottom" with spaces (prose), "flat", "screen"
# and "full" (ordinary words), "EAC" (a cube, which is not known here).
_TAGS: dict[tuple[str, ...], _Tag] = {
    ("lr",): _Tag("sbs", right_first=False),
    ("rl",): _Tag("sbs", right_first=True),
    ("sbs",): _SBS,
    ("3dh",): _SBS,
    ("hsbs",): _SBS,
    ("h", "sbs"): _Tag("sbs", joints=_ANY_JOINT),
    ("half", "sbs"): _Tag("sbs", joints=_ANY_JOINT),
    ("sidebyside",): _SBS,
    ("side", "by", "side"): _SBS,
    ("tb",): _Tag("tb", right_first=False),
    ("bt",): _Tag("tb", right_first=True),
    ("ou",): _TB,
    ("3dv",): _TB,
    ("hou",): _TB,
    ("htb",): _TB,
    ("h", "ou"): _TB,
    ("half", "ou"): _Tag("tb", joints=_ANY_JOINT),
    ("overunder",): _TB,
    ("over", "under"): _TB,
    ("topbottom",): _TB,
    ("top", "bottom"): _TB,
    ("mono",): _MONO,
    ("2d",): _MONO,
    ("180",): _DOME,
    ("180x180",): _DOME,
    ("vr180",): _DOME,
    ("180vr",): _DOME,
    ("360",): _SPHERE,
    ("360x180",): _SPHERE,
    ("180x360",): _SPHERE,
    ("vr360",): _SPHERE,
    ("360vr",): _SPHERE,
    ("fisheye",): _Tag(projection="fisheye180", rank=1),
    ("f180",): _lens("fisheye180"),
    ("180f",): _lens("fisheye180"),
    ("rf52",): _lens("fisheye190"),
    ("mkx200",): _lens("fisheye200"),
    ("mkx220",): _lens("fisheye220"),
    ("vrca220",): _lens("fisheye220"),
    ("fisheye180",): _lens("fisheye180"),
    ("fisheye190",): _lens("fisheye190"),
    ("fisheye200",): _lens("fisheye200"),
    ("fisheye220",): _lens("fisheye220"),
    ("fisheye", "180"): _lens("fisheye180"),
    ("fisheye", "190"): _lens("fisheye190"),
    ("fisheye", "200"): _lens("fisheye200"),
    ("fisheye", "220"): _lens("fisheye220"),
}
_ALPHA = _Tag(alpha=True)
_LONGEST = max(len(parts) for parts in _TAGS)

#: Words of the languages that titles are written in: within a sentence only capitals are tags.
_PROSE_WORDS = {"ou", "mono"}
_PROSE_GAP = re.compile(r"[ .,]+")
_NUMBER = re.compile(r"v?\d+")
_TIMES, _DEGREES = "\N{MULTIPLICATION SIGN}", "\N{DEGREE SIGN}\N{MASCULINE ORDINAL INDICATOR}"
_UNITS = {"p", "fps", "hz", "kbps", "mbps", "mb", "gb", "s", "sec", "min", "m", "km", "kmh", "mph"}


@dataclass(frozen=True, slots=True)
class _Word:
    """A run of letters and digits of a name.

    Attributes:
        key: lower case, without the sign of degrees.
        before, after: what stands between it and its neighbours; None where it has none.
    """

    start: int
    end: int
    text: str
    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class _Found:
    """A tag, and the words ``first <= k < last`` that it is made of."""

    tag: _Tag
    first: int
    last: int
    start: int
    end: int

    def spelled(self, stem: str) -> str:
        return stem[self.start : self.end]


def _in_word(character: str) -> bool:
    # A mark that belongs to the letter before it is no separator: names come decomposed as well.
    mark = unicodedata.category(character).startswith("M")
    return mark or character.isalnum() or character in f"{_TIMES}{_DEGREES}"


def _words(stem: str) -> list[_Word]:
    spans: list[tuple[int, int]] = []
    for k, character in enumerate(stem):
        if not _in_word(character):
            continue
        if spans and spans[-1][1] == k:
            spans[-1] = (spans[-1][0], k + 1)
        else:
            spans.append((k, k + 1))
    words = []
    for k, (start, end) in enumerate(spans):
        before = stem[spans[k - 1][1] : start] if k else None
        after = stem[end : spans[k + 1][0]] if k + 1 < len(spans) else None
        key = stem[start:end].lower().replace(_TIMES, "x").rstrip(_DEGREES)
        words.append(_Word(start, end, stem[start:end], key, before, after))
    return words


def _find_tags(words: list[_Word]) -> Iterator[_Found]:
    """The tags from left to right; of several words, where there is one, rather than of one."""
    place, after_tag = 0, False
    while place < len(words):
        found = _tag_at(words, place, after_tag)
        if found:
            yield found
        place = found.last if found else place + 1
        after_tag = found is not None


def _tag_at(words: list[_Word], first: int, after_tag: bool) -> _Found | None:
    for count in range(min(_LONGEST, len(words) - first), 0, -1):
        parts = words[first : first + count]
        tag = _TAGS.get(tuple(part.key for part in parts))
        if tag and all(part.after and part.after in tag.joints for part in parts[:-1]):
            break
    else:
        # "alpha" is an ordinary word: only behind another tag is it one.
        parts, tag = words[first : first + 1], _ALPHA
        if not after_tag or parts[0].key != "alpha":
            return None
    if len(parts) == 1 and not _stands_alone(parts[0], words, first):
        return None
    return _Found(tag, first, first + len(parts), parts[0].start, parts[-1].end)


def _stands_alone(word: _Word, words: list[_Word], place: int) -> bool:
    """Whether a word that looks like a tag is not just a part of a sentence, date or figure."""
    before, after = word.before, word.after
    if word.key in _PROSE_WORDS and not word.text.isupper():
        begins = before is None or _PROSE_GAP.fullmatch(before) is not None
        return not (begins and after is not None and _PROSE_GAP.fullmatch(after))
    if word.text in ("180", "360"):
        following = words[place + 1].key if after is not None else ""
        if after == " " and following in _UNITS:
            return False
        if after == "." and following.isdecimal():  # 180.5
            return False
        if before in ("-", ".") and _NUMBER.fullmatch(words[place - 1].key):
            # 2023-180, v1.180; but 23.09.15.180.LR
            return after == before and (following,) in _TAGS
    return True


_JOINERS = r" _\-.,~\u2013\u2014\u00a0\u3000"  # dashes and spaces of other scripts as well
_OPENERS, _CLOSERS = r"(\[{<\uff08\u3010\u300c\u300e", r")\]}>\uff09\u3011\u300d\u300f"
# Where a tag was there is a slash now: the one sign that no name holds.
_EMPTIED = re.compile(rf"[{_OPENERS}][{_JOINERS}/]*/[{_JOINERS}/]*[{_CLOSERS}]")
_SEAM = re.compile(rf"([{_JOINERS}]*)/(?:[{_JOINERS}/]*/)?([{_JOINERS}]*)")
_NO_BRACKET = re.compile(rf"[^{_OPENERS}{_CLOSERS}]")


def _without(stem: str, words: list[_Word], tagged: set[int]) -> str:
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
