"""Finds the tags in the words of a name, and which of them may be words of the title.

Knows no pictures and no meaning of several tags together: that is `in_names.py`.

Sources: Meta's media overview for `_LR`, `_RL`, `_TB`, `_BT` (named in the order in which the left
and the right eye's picture come: `_RL` has the right eye left, `_BT` has the left eye at the
bottom); Skybox's page on suffixes for 3DH, 3DV, OU, HOU, HSBS, 180x180, F180; the name rules in
XBVR (pkg/tasks/volume.go, pkg/api/heresphere.go) and PTMediaServer (utils/vr_naming.py) for the
lenses and their fields of view: RF52 190 degrees, MKX200 200, MKX220 and VRCA220 220. Commedia and
Skybox take tags behind a space, too; DeoVR's and HereSphere's stand behind an underscore.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.contract import Layout, ProjectionName


@dataclass(frozen=True, slots=True)
class Tag:
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


_SBS, _TB, _MONO = Tag("sbs"), Tag("tb"), Tag("mono")
_DOME, _SPHERE = Tag(projection="equirect180"), Tag(projection="equirect360")
_ANY_JOINT = "_- ."


def _lens(projection: ProjectionName) -> Tag:
    return Tag(projection=projection, rank=2, joints=_ANY_JOINT)


# Left out, because they say other things as often, or mean different pictures to different players:
# "3D" and "half" (no layout), "left-right" and "top bottom" with spaces (prose), "flat", "screen"
# and "full" (ordinary words), "EAC" (a cube, which is not known here).
_TAGS: dict[tuple[str, ...], Tag] = {
    ("lr",): Tag("sbs", right_first=False),
    ("rl",): Tag("sbs", right_first=True),
    ("sbs",): _SBS,
    ("3dh",): _SBS,
    ("hsbs",): _SBS,
    ("h", "sbs"): Tag("sbs", joints=_ANY_JOINT),
    ("half", "sbs"): Tag("sbs", joints=_ANY_JOINT),
    ("sidebyside",): _SBS,
    ("side", "by", "side"): _SBS,
    ("tb",): Tag("tb", right_first=False),
    ("bt",): Tag("tb", right_first=True),
    ("ou",): _TB,
    ("3dv",): _TB,
    ("hou",): _TB,
    ("htb",): _TB,
    ("h", "ou"): _TB,
    ("half", "ou"): Tag("tb", joints=_ANY_JOINT),
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
    ("fisheye",): Tag(projection="fisheye180", rank=1),
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
_ALPHA = Tag(alpha=True)
_LONGEST = max(len(parts) for parts in _TAGS)

#: Words of the languages that titles are written in: within a sentence only capitals are tags.
_PROSE_WORDS = {"ou", "mono"}
_PROSE_GAP = re.compile(r"[ .,]+")
_TITLE_GAP = re.compile(r"[ .,_-]+")
#: Single words that titles hold as well: numbers, and abbreviations of other things.
_ALSO_WORDS = {"180", "360", "lr", "rl", "tb", "bt", "ou", "sbs", "2d", "mono", "fisheye"}
#: Beside one of these such a word is a tag.
_HINTS = {"3d", "vr", "stereo", "half", "full"}
#: Words before a number that counts.
_COUNTED = {"take", "scene", "shot", "part", "episode", "ep", "no", "nr", "number", "day", "room"}
_COUNTED |= {"reel", "roll", "slate", "track", "chapter", "file", "teil", "tag", "szene"}
_COUNTED |= {"img", "dsc", "mvi", "vid", "cam", "lesson", "level", "route", "flight", "bus"}
_NUMBER = re.compile(r"v?\d+")
_TIMES, _DEGREES = "\N{MULTIPLICATION SIGN}", "\N{DEGREE SIGN}\N{MASCULINE ORDINAL INDICATOR}"
_UNITS = {"p", "fps", "hz", "kbps", "mbps", "mb", "gb", "s", "sec", "min", "m", "km", "kmh", "mph"}


@dataclass(frozen=True, slots=True)
class Word:
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
class Found:
    """A tag, and the words ``first <= k < last`` that it is made of."""

    tag: Tag
    first: int
    last: int
    start: int
    end: int
    doubtful: bool = False

    def spelled(self, stem: str) -> str:
        return stem[self.start : self.end]


def _in_word(character: str) -> bool:
    # A mark that belongs to the letter before it is no separator: names come decomposed as well.
    mark = unicodedata.category(character).startswith("M")
    return mark or character.isalnum() or character in f"{_TIMES}{_DEGREES}"


def words_of(stem: str) -> list[Word]:
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
        words.append(Word(start, end, stem[start:end], key, before, after))
    return words


def find_tags(words: list[Word]) -> Iterator[Found]:
    """The tags from left to right; of several words, where there is one, rather than of one."""
    found = list(_tags_in_order(words))
    tagged = {place for item in found for place in range(item.first, item.last)}
    for item in found:
        beside = {item.first - 1, item.last}
        alone = item.last - item.first == 1 and tagged.isdisjoint(beside)
        yield replace(item, doubtful=alone and _may_be_a_word(words, item.first))


def _tags_in_order(words: list[Word]) -> Iterator[Found]:
    place, after_tag = 0, False
    while place < len(words):
        found = _tag_at(words, place, after_tag)
        if found:
            yield found
        place = found.last if found else place + 1
        after_tag = found is not None


def _may_be_a_word(words: list[Word], place: int) -> bool:
    """Whether a tag that no other one is beside may be meant as a word or a number of the title."""
    word = words[place]
    if word.key not in _ALSO_WORDS or word.text[-1] in _DEGREES:
        return False
    previous = words[place - 1].key if place else ""
    following = words[place + 1].key if place + 1 < len(words) else ""
    if previous in _HINTS or following in _HINTS:
        return False
    spaced = all(gap is None or gap.isspace() for gap in (word.before, word.after))
    if word.key.isdecimal():
        return spaced or previous in _COUNTED or (not place and following.isalpha())
    return spaced or (previous.isalpha() and following.isalpha())


def _tag_at(words: list[Word], first: int, after_tag: bool) -> Found | None:
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
    if parts[0].key == "tb" and not after_tag and _counts_bytes(words, first):
        return None
    return Found(tag, first, first + len(parts), parts[0].start, parts[-1].end)


def _stands_alone(word: Word, words: list[Word], place: int) -> bool:
    """Whether a word that looks like a tag is not just a part of a sentence, date or figure."""
    before, after = word.before, word.after
    if word.key in _PROSE_WORDS and not word.text.isupper():
        begins = before is None or _PROSE_GAP.fullmatch(before) is not None
        if begins and after is not None and _PROSE_GAP.fullmatch(after):
            return False
    if word.key in _PROSE_WORDS and _is_in_a_title(words, place):
        return False
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


def _is_in_a_title(words: list[Word], place: int) -> bool:
    """Whether ordinary words of the same case stand before and behind a word: Plage_ou_ville."""
    if place == 0 or place + 1 == len(words):
        return False
    word, *beside = words[place], words[place - 1], words[place + 1]
    gaps = (word.before or "", word.after or "")
    return all(_TITLE_GAP.fullmatch(gap) for gap in gaps) and all(
        other.text.isalpha()
        and (other.key,) not in _TAGS
        and other.text.isupper() == word.text.isupper()
        for other in beside
    )


def _counts_bytes(words: list[Word], place: int) -> bool:
    """Whether TB are terabytes: "1 TB disk", "2_TB_backup"; but "clip_2_TB", "clip_360_TB"."""
    word = words[place]
    number = words[place - 1].text if place else ""
    if not (number.isdecimal() and len(number) < 4):
        return False
    following = words[place + 1].text if place + 1 < len(words) else ""
    return word.before == " " or (following.isalpha() and (following.lower(),) not in _TAGS)
