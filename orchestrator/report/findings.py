"""The findings of a video as the report shows them: flags with times, figures, and notes.

Findings of sources that nothing here knows, such as another package's stage, become notes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

from orchestrator.fleet.jobs import VideoJob
from orchestrator.words import clock
from pipeline.contract import Finding
from pipeline.judge import findings as judge
from pipeline.judge.doubt import Doubt, doubts_of
from pipeline.judge.findings import FlagKind, MatteFlag, Side
from pipeline.judge.summary import summarised
from pipeline.stages.stereo import findings as stereo

#: Flags, or times of a note, that are named in one line.
MOST_NAMED = 4

_WORDS: Mapping[FlagKind, str] = {
    "empty": "matte empty",
    "eyes_disagree": "eyes disagree",
    "jump": "matte jumps",
    "flicker": "matte flickers",
    "touches_edge": "subject cut off",
}

_KNOWN = frozenset((source.SOURCE, kind) for source in (judge, stereo) for kind in source.KINDS)


@dataclass(frozen=True, slots=True)
class TimedFlag:
    """A `MatteFlag` with its times.

    Attributes:
        start_s, end_s: of the source, in seconds from its first frame; the end is that of the last
            frame.
    """

    kind: FlagKind
    first_frame: int
    last_frame: int
    eye: int | None
    value: float
    start_s: float
    end_s: float
    side: Side | None = None


@dataclass(frozen=True, slots=True)
class VideoFindings:
    """What the findings of one video say; see `VideoReport` for the names that they share.

    Attributes:
        notes: of other sources' findings, one line a kind.
        doubts: about the frames that are there.
        subject_depth_m: None where there are doubts: it would be that of something else.
    """

    flags: tuple[TimedFlag, ...] = ()
    dropped_flags: int = 0
    area: tuple[float | None, ...] = ()
    mended_frames: int = 0
    subject_depth_m: float | None = None
    notes: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()


def read_findings(job: VideoJob, findings: Sequence[Finding]) -> VideoFindings:
    """Sum up the findings of the segments that are there, which are in order."""
    rate, phase_s = job.info.frame_rate, job.info.phase_s
    matte = summarised(findings, job.segments, rate)
    doubts = doubts_of(findings, job.settings.matting.model)
    return VideoFindings(
        flags=tuple(timed(flag, rate, phase_s) for flag in matte.flags),
        dropped_flags=matte.dropped_flags,
        area=matte.area,
        mended_frames=stereo.mended_frames(findings),
        subject_depth_m=None if doubts else stereo.subject_depth_m(findings),
        notes=tuple(_notes(findings, rate, phase_s)),
        doubts=doubts,
    )


class FindingsReader:
    """`read_findings` for a run that goes on: videos without new findings are not read again."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[tuple[Finding, ...], VideoFindings]] = {}

    def __call__(self, job: VideoJob, findings: tuple[Finding, ...]) -> VideoFindings:
        before = self._read.get(job.id)
        if before is not None and before[0] is findings:
            return before[1]
        found = read_findings(job, findings)
        self._read[job.id] = findings, found
        return found


def timed(flag: MatteFlag, frame_rate: Fraction, phase_s: Fraction = Fraction(0)) -> TimedFlag:
    """The flag with its times; `phase_s` is when frame 0 plays."""
    start_s, end_s = _seconds(flag, frame_rate, phase_s)
    return TimedFlag(
        flag.kind,
        flag.first_frame,
        flag.last_frame,
        flag.eye,
        flag.value,
        round(start_s, 3),
        round(end_s, 3),
        flag.side,
    )


def in_words(flags: Sequence[TimedFlag], dropped: int = 0) -> str:
    """``0:12 matte empty, 0:40-0:52 eyes disagree and 3 more``: the worst, by time."""
    order = list(_WORDS)
    named = sorted(flags, key=lambda f: (order.index(f.kind), f.first_frame - f.last_frame))
    named = sorted(named[:MOST_NAMED], key=lambda f: f.first_frame)
    lines = dict.fromkeys(f"{_span(f.start_s, f.end_s)} {_words(f)}" for f in named)
    more = len(flags) + dropped - len(named)
    return ", ".join(lines) + (f" and {more} more" if more else "")


def at_the_edge(flag: TimedFlag) -> str:
    """`` at the left edge``, where it is known which; nothing for flags of other kinds."""
    if flag.kind != "touches_edge":
        return ""
    return f" at the {flag.side} edge" if flag.side else " at the edge"


def _words(flag: TimedFlag) -> str:
    return _WORDS[flag.kind] + at_the_edge(flag)


def _notes(findings: Iterable[Finding], rate: Fraction, phase_s: Fraction) -> Iterator[str]:
    """``denoise: ghost at 0:12, 0:40-0:52 and 3 more``: one line for each kind nothing else reads.

    The first times of each are named.
    """
    others: dict[tuple[str, str], list[Finding]] = {}
    for found in findings:
        if (found.source, found.kind) not in _KNOWN:
            others.setdefault((found.source, found.kind), []).append(found)
    for (source, kind), group in others.items():
        times = dict.fromkeys(_when(found, rate, phase_s) for found in islice(group, MOST_NAMED))
        more = len(group) - MOST_NAMED
        yield f"{source}: {kind} at {', '.join(times)}" + (f" and {more} more" if more > 0 else "")


def _when(found: Finding, rate: Fraction, phase_s: Fraction) -> str:
    """``0:40-0:52 (left)``."""
    detail = f" ({found.detail})" if found.detail else ""
    return _span(*_seconds(found, rate, phase_s)) + detail


def _seconds(run: MatteFlag | Finding, rate: Fraction, phase_s: Fraction) -> tuple[float, float]:
    """When a run of frames begins, and when its last frame ends."""
    begin_s, end_s = run.first_frame / rate, (run.last_frame + 1) / rate
    return float(phase_s + begin_s), float(phase_s + end_s)


def _span(start_s: float, end_s: float) -> str:
    first, last = clock(start_s), clock(end_s)
    return first if end_s - start_s < 2 else f"{first}-{last}"
