"""Results of a finished segment and of a published file, with findings and times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth telling about a run of frames.

    The parent process passes findings on and reads none of them. Each source has one file that
    makes its findings and reads them back: `pipeline/judge/findings.py`,
    `pipeline/stages/stereo/findings.py`. Findings of any other source become notes in the report.

    Attributes:
        source: the stage that found it.
        kind: what was found, by the source's own name for it.
        first_frame, last_frame: frame numbers of the source video, both included.
        eye: 0 (left) or 1 where it concerns one eye of two; None otherwise.
        values: in the kind's own measure.
        detail: in the kind's own words.
    """

    source: str
    kind: str
    first_frame: int
    last_frame: int
    eye: int | None = None
    values: tuple[float, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """What a finished segment left.

    Two results are equal whatever time they took.

    Attributes:
        files: one a deliverable, in the settings' order.
        concealed_frames: frames that the decoder never gave, filled with their neighbour.
        decoder: what decoded, in words ("NVDEC", "CPU", "CPU: Video not supported").
        digests: sha256 of each of `files` when it was committed, hexadecimal.
        findings: of all stages, in the order of the chain.
        stage_seconds: how long each stage was at work, by its name; see
            `pipeline/flow/stage_clock.py`. Empty where it was not measured.
        wall_s: from the segment's beginning to its files' names; 0 where it was not measured.
    """

    files: tuple[str, ...]
    num_frames: int
    concealed_frames: int = 0
    decoder: str = ""
    digests: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    stage_seconds: Mapping[str, float] = field(default_factory=dict, compare=False)
    wall_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A published deliverable.

    Attributes:
        digest: sha256 when it was verified, hexadecimal; empty for files of earlier versions.
        notes: what was given up when it was joined, one line each.
        audio: `VideoSettings.audio` of the time.
    """

    deliverable: str
    path: str
    size_bytes: int
    num_frames: int
    digest: str = ""
    notes: tuple[str, ...] = ()
    audio: str = "keep"
