"""`MatteSums`: what is added up of the mattes of some frames, for `pipeline/judge/doubt.py`. Pure.

Integers only, so that sums over segments are the same however a video is cut, and in any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

#: Shares of a frame are added up in thousandths.
WHOLE = 1000


@dataclass(frozen=True, slots=True)
class Shape:
    """What the matte of one frame looks like, both eyes together; shares 0..1.

    Attributes:
        plain: of the matte, where the picture has no texture.
        faint: of the matte, what is neither transparent nor opaque.
        opaque: of the picture, what is opaque in the matte.
        gaps: of the matte with the gaps between its parts closed, what the gaps are.
        top: of the upper edge of the picture, what is matte.
        zenith: the same where that edge is straight up, and else 0.
    """

    plain: float = 0.0
    faint: float = 0.0
    opaque: float = 0.0
    gaps: float = 0.0
    top: float = 0.0
    zenith: float = 0.0


@dataclass(frozen=True, slots=True)
class MatteSums:
    """Of some frames. From `area` to `zenith` in thousandths, over the frames that hold a matte.

    Attributes:
        frames: how many were looked at.
        empty: in how many of them no eye holds a matte, or a trace of one that is nowhere opaque.
        disagreeing: in how many the two eyes hold different mattes.
        area: share of the picture that is matte, in the fuller eye.
        sky: the lesser of `Shape.plain` and `Shape.top`: the sky has both.
        scraps: the lesser of `Shape.gaps` and `Shape.faint`: a broken matte has both, people apart
            and whoever is far away have one of them.
        zenith: see `Shape`.
        persons: in how many frames RVM sees a person, where it was asked (`opinion.py`).
        missed: in how many of those most of the person is not in the matte.
    """

    frames: int = 0
    empty: int = 0
    disagreeing: int = 0
    area: int = 0
    sky: int = 0
    scraps: int = 0
    zenith: int = 0
    persons: int = 0
    missed: int = 0

    def __add__(self, other: MatteSums) -> MatteSums:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return MatteSums(*(one + another for one, another in pairs))

    @classmethod
    def of(cls, frames: Iterable[MatteSums]) -> MatteSums:
        """All of them together."""
        return sum(frames, cls())
