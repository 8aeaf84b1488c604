"""Adds up the results of a video's segments. Knows no stage and no kind of finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from pipeline.contract import Finding, SegmentResult


@dataclass(frozen=True, slots=True)
class SegmentSums:
    """Several segments together; `VideoState` says what each is."""

    findings: tuple[Finding, ...]
    stage_seconds: Mapping[str, float]
    wall_s: float
    concealed_frames: int
    decoders: tuple[str, ...]


def added_up(results: Sequence[SegmentResult]) -> SegmentSums:
    """All segments that are there, in order."""
    seconds: dict[str, float] = {}
    for result in results:
        for stage, taken in result.stage_seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + taken
    return SegmentSums(
        findings=tuple(chain.from_iterable(result.findings for result in results)),
        stage_seconds=seconds,
        wall_s=sum(result.wall_s for result in results),
        concealed_frames=sum(result.concealed_frames for result in results),
        decoders=tuple(dict.fromkeys(result.decoder for result in results if result.decoder)),
    )
