"""What a finished segment and a published file left, with what was noticed about the matte."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth telling of a run of frames.

    Attributes:
        source: the stage that found it.
        kind: what was found, by the source's own name for it.
        first_frame, last_frame: numbers in the source, both included.
        eye: 0 (left) or 1 where it is only that one of two; None otherwise.
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

    Attributes:
        files: one a deliverable, in the settings' order.
        digests: sha256 of each of `files` when it was committed, hexadecimal.
        concealed_frames: frames that the decoder never gave, filled with their neighbour.
        decoder: what decoded, in words ("NVDEC", "CPU", "CPU: Video not supported").
        stereo: how the eyes agreed; None where there is one, or nobody looked.
        flags: by kind and frame; those near the segment's ends are not final before they are
            joined with its neighbours' (`orchestrator/fleet/matte_summary.py`).
        dropped_flags: how many there were beside them; the worst are kept.
        area: the matte's share of the picture, means over equal parts of the segment.
        border: its first and last frames.
        stages: what took its time; None where nobody measured. Nothing of what makes two results
            the same.
    """

    files: tuple[str, ...]
    num_frames: int
    concealed_frames: int = 0
    decoder: str = ""
    digests: tuple[str, ...] = ()
    stereo: StereoSummary | None = None
    flags: tuple[MatteFlag, ...] = ()
    dropped_flags: int = 0
    area: tuple[float, ...] = ()
    border: tuple[BorderFrame, ...] = ()
    findings: tuple[Finding, ...] = ()
    stages: StageTimes | None = field(default=None, compare=False)


StageName = Literal["decode", "matte", "planes", "encode"]


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Seconds that each stage of the way of a frame was at work; see
    `pipeline/flow/stage_clock.py`.

    Attributes:
        wall_s: from the segment's beginning to its files' names; of several, added up.
        decode_s: from the file to RGB.
        matte_s: the model, its first look at the video too, and what is made of its matte.
        planes_s: what the encoders are given, and its copy to the host.
        encode_s: writing, checking and naming the files.
    """

    wall_s: float
    decode_s: float
    matte_s: float
    planes_s: float
    encode_s: float


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


FlagKind = Literal["empty", "eyes_disagree", "jump", "flicker", "touches_edge"]

#: Of an eye's picture, at which a subject may be cut off.
Side = Literal["left", "right", "top"]


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
class OutputFile:
    """A published deliverable."""

    deliverable: str
    path: str
    size_bytes: int
    num_frames: int
