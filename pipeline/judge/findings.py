"""Findings about mattes: the values that a segment's judge makes, and their encoding.

Loads no torch.

| kind | frames | eye | values | detail |
|---|---|---|---|---|
| a `FlagKind` | of the flag | if it is one of two | the worst that was measured | the side |
| dropped | all of the segment | | flags that were left out | |
| area | all of the segment | | mean areas of equal parts | |
| border | one | | area of each eye | "cut", if it is the first of another picture |
| sums | all that were looked at | | `MatteSums`, its fields in order | |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, field, fields
from typing import Literal, get_args

from pipeline.contract import Finding
from pipeline.judge.sums import MatteSums

#: `Finding.source` of all that is judged of mattes.
SOURCE = "judge"

FlagKind = Literal["empty", "eyes_disagree", "jump", "flicker", "touches_edge"]

#: Of an eye's picture, at which a subject may be cut off.
Side = Literal["left", "right", "top"]

_DROPPED, _AREA, _BORDER, _CUT = "dropped", "area", "border", "cut"

#: Kind of a finding that holds `MatteSums`; several add up.
SUMS = "sums"
_FLAG_KINDS: dict[str, FlagKind] = {kind: kind for kind in get_args(FlagKind)}
_SIDES: dict[str, Side] = {side: side for side in get_args(Side)}

#: Every kind of finding that is read here.
KINDS = frozenset((*_FLAG_KINDS, _DROPPED, _AREA, _BORDER, SUMS))


@dataclass(frozen=True, slots=True)
class MatteFlag:
    """A run of frames whose matte deserves a look; see `pipeline/judge/flags.py`.

    Attributes:
        first_frame, last_frame: numbers in the source, both included.
        eye: 0 (left) or 1 where it is only that one of two; None otherwise.
        value: the worst that was measured, in the kind's own measure.
        side: for touches_edge, where that was; None otherwise.
    """

    kind: FlagKind
    first_frame: int
    last_frame: int
    eye: int | None
    value: float
    side: Side | None = None


@dataclass(frozen=True, slots=True)
class BorderFrame:
    """One of the first or last frames of a segment, to be compared across its border.

    Attributes:
        frame: number in the source.
        area: the matte's share of each eye's picture, 0..1.
        cut: the picture is another one than in the frame before.
    """

    frame: int
    area: tuple[float, ...]
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Areas:
    """The matte's share of the picture: means over equal parts of the frames ``start..stop``."""

    start: int
    stop: int
    means: tuple[float, ...]


@dataclass(slots=True)
class Judged:
    """What is judged of the mattes of one or several segments.

    Attributes:
        flags: those near a segment's ends are not final before they are joined with its
            neighbours' (`pipeline/judge/summary.py`).
        dropped_flags: flags that were left out; the worst are kept.
        areas: one a segment.
        border: the first and last frames of each segment.
        sums: over all frames; none where an older version judged them.
    """

    flags: list[MatteFlag] = field(default_factory=list)
    dropped_flags: int = 0
    areas: list[Areas] = field(default_factory=list)
    border: list[BorderFrame] = field(default_factory=list)
    sums: MatteSums = field(default_factory=MatteSums)

    @classmethod
    def read(cls, findings: Iterable[Finding]) -> Judged:
        """What findings say, in their order; those of other sources are passed over."""
        judged = cls()
        for found in findings:
            if found.source == SOURCE:
                judged._take(found)
        return judged

    def _take(self, found: Finding) -> None:
        if found.kind == _BORDER:
            border = BorderFrame(found.first_frame, found.values, found.detail == _CUT)
            self.border.append(border)
        elif found.kind == _AREA:
            self.areas.append(Areas(found.first_frame, found.last_frame + 1, found.values))
        elif found.kind == _DROPPED:
            self.dropped_flags += round(found.values[0])
        elif found.kind == SUMS:
            if len(found.values) == len(fields(MatteSums)):  # or another version's
                self.sums += MatteSums(*map(round, found.values))
        elif (kind := _FLAG_KINDS.get(found.kind)) is not None:
            side = _SIDES.get(found.detail)
            [value] = found.values
            self.flags.append(
                MatteFlag(kind, found.first_frame, found.last_frame, found.eye, value, side)
            )

    def findings(self, start: int, stop: int) -> tuple[Finding, ...]:
        """The same as findings of one segment of the frames ``start..stop``."""
        found = [
            Finding(
                SOURCE,
                flag.kind,
                flag.first_frame,
                flag.last_frame,
                flag.eye,
                (flag.value,),
                flag.side or "",
            )
            for flag in self.flags
        ]
        if self.dropped_flags:
            found.append(
                Finding(SOURCE, _DROPPED, start, stop - 1, values=(float(self.dropped_flags),))
            )
        for area in self.areas:
            found.append(Finding(SOURCE, _AREA, area.start, area.stop - 1, values=area.means))
        for frame in self.border:
            detail = _CUT if frame.cut else ""
            found.append(
                Finding(SOURCE, _BORDER, frame.frame, frame.frame, None, frame.area, detail)
            )
        if self.sums != MatteSums():
            values = tuple(map(float, astuple(self.sums)))
            found.append(Finding(SOURCE, SUMS, start, stop - 1, values=values))
        return tuple(found)
