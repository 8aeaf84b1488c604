"""Reads segments from journal lines that were written before results had findings.

Such a result has one field for each kind of finding, and four stages with fixed names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from pipeline.contract import Finding
from pipeline.judge.findings import Areas, BorderFrame, Judged, MatteFlag
from pipeline.stages.stereo.findings import StereoSummary, as_findings


@dataclass(frozen=True, slots=True)
class _Result:
    stereo: StereoSummary | None = None
    flags: tuple[MatteFlag, ...] = ()
    dropped_flags: int = 0
    area: tuple[float, ...] = ()
    border: tuple[BorderFrame, ...] = ()
    stages: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class _Segment:
    start: int
    stop: int
    result: _Result


_SEGMENT = TypeAdapter(_Segment)


def brought_up_to_date(entry: dict[str, Any]) -> dict[str, Any]:
    """The fields of a journal entry as they are written now.

    Raises:
        ValidationError: it is the entry of a segment, and damaged.
    """
    if entry.get("kind") != "segment" or "findings" in entry.get("result", {}):
        return entry
    older = _SEGMENT.validate_python(entry, strict=False)
    seconds = {
        name.removesuffix("_s"): taken for name, taken in (older.result.stages or {}).items()
    }
    result = {
        **entry["result"],
        "findings": _findings(older),
        "wall_s": seconds.pop("wall", 0.0),
        "stage_seconds": seconds,
    }
    return {**entry, "result": result}


def _findings(older: _Segment) -> tuple[Finding, ...]:
    start, stop, result = older.start, older.stop, older.result
    judged = Judged(
        flags=list(result.flags),
        dropped_flags=result.dropped_flags,
        areas=[Areas(start, stop, result.area)] if result.area else [],
        border=list(result.border),
    )
    found = judged.findings(start, stop)
    return found if result.stereo is None else (*as_findings(result.stereo, start, stop), *found)
