"""How the eyes of a segment agreed, and the findings that carry it to the parent process.

Loads no torch.

| kind | frames | values |
|---|---|---|
| mended | a run of frames in which one eye's matte was mended from the other's | |
| agreement | all that were compared | mean agreement before mending, 0..1 |
| distance | all that were compared | median distance of the subject in metres |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.contract import Finding

if TYPE_CHECKING:
    from pipeline.stages.stereo.refiner import StereoRefiner

#: `Finding.source` of all that is found of two eyes.
SOURCE = "stereo"

_MENDED, _AGREEMENT, _DISTANCE = "mended", "agreement", "distance"

#: Every kind of finding that is read here.
KINDS = frozenset((_MENDED, _AGREEMENT, _DISTANCE))


@dataclass(frozen=True, slots=True)
class StereoSummary:
    """How the eyes agreed in a run of frames; see `pipeline/stages/stereo/refiner.py`.

    Attributes:
        num_frames: how many were looked at.
        mended_frames: numbers of those that were changed.
        mean_agreement: 0..1, before mending; None without frames.
        subject_depth_m: median distance of the subject in metres; None where it is not known.
    """

    num_frames: int
    mended_frames: tuple[int, ...]
    mean_agreement: float | None
    subject_depth_m: float | None


def stereo_findings(refiner: StereoRefiner, first: int, stop: int) -> tuple[Finding, ...]:
    """What is found of the frames ``first..stop`` of a segment; none where no eyes were compared.

    Args:
        refiner: all of them have passed through it.
    """
    return as_findings(refiner.summary(first, stop), first, stop)


def as_findings(summary: StereoSummary, first: int, stop: int) -> tuple[Finding, ...]:
    """What `summary` says, as findings of the frames ``first..stop``."""
    runs = _runs(summary.mended_frames)
    found = [Finding(SOURCE, _MENDED, begin, end) for begin, end in runs]
    values = ((_AGREEMENT, summary.mean_agreement), (_DISTANCE, summary.subject_depth_m))
    for kind, value in values:
        if value is not None:
            found.append(Finding(SOURCE, kind, first, stop - 1, values=(value,)))
    return tuple(found)


def mended_frames(findings: Iterable[Finding]) -> int:
    """In how many frames one eye's matte was mended from the other's."""
    return sum(found.last_frame - found.first_frame + 1 for found in _of(findings, _MENDED))


def subject_depth_m(findings: Iterable[Finding]) -> float | None:
    """The subject's distance in the middle one of the segments that know it, in metres."""
    known = sorted(found.values[0] for found in _of(findings, _DISTANCE))
    return known[len(known) // 2] if known else None


def _of(findings: Iterable[Finding], kind: str) -> Iterator[Finding]:
    return (found for found in findings if found.source == SOURCE and found.kind == kind)


def _runs(frames: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as runs of consecutive ones, first and last of each."""
    runs: list[tuple[int, int]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], frame
        else:
            runs.append((frame, frame))
    return runs
