"""`EncodingSettings`: how deliverables are encoded, by a word for the quality or by numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from pipeline.contract.encoder_points import POINTS, NvencPreset, Preset, Quality, QualityPoint
from pipeline.contract.fingerprint import NO_PIXELS, PIXELS_UNLESS_DEFAULT
from pipeline.contract.nvenc_ways import PIPES


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingSettings:
    """How the deliverables are encoded."""

    # Its numbers alter pixels, and they are part of the fingerprint; the word is not.
    quality: Annotated[
        Quality,
        Field(
            description="draft (fast, coarse), balanced, or best (slow, fine): sets every value "
            'below that is marked "by quality"; an explicit value overrides it'
        ),
    ] = field(default="balanced", metadata=NO_PIXELS)
    vp9_crf: Annotated[
        int | None, Field(ge=0, le=63, description="VP9: lower is better, larger; by quality")
    ] = None
    vp9_deadline: Annotated[
        Literal["realtime", "good"] | None,
        Field(description="VP9: realtime, or good (slower, smaller); by quality"),
    ] = None
    vp9_cpu_used: Annotated[
        int | None, Field(ge=0, le=8, description="VP9 speed: higher is faster; by quality")
    ] = None
    vp9_threads: Annotated[
        int, Field(ge=1, le=64, description="threads of one VP9 encoder; may alter bits")
    ] = 4
    keyframe_s: Annotated[
        float, Field(gt=0, le=60, description="seconds between keyframes, for seeking")
    ] = 2.0
    opus_kbps_per_channel: Annotated[
        int, Field(ge=16, le=256, description="kbit/s a channel of audio that must be converted")
    ] = 80
    aac_kbps_per_channel: Annotated[
        int,
        Field(ge=16, le=256, description="the same for MP4, which takes AAC, in kbit/s a channel"),
    ] = 96
    screen_color: Annotated[
        str,
        Field(pattern="^#[0-9a-fA-F]{6}$", description="colour behind a greenscreen, #rrggbb"),
    ] = "#2BE640"
    codec: Annotated[
        Literal["hevc", "h264", "av1"],
        Field(description="codec of formats that do not fix one: hevc, h264 or av1"),
    ] = "hevc"
    encoder: Annotated[
        Literal["auto", "nvenc", "software"],
        Field(description="auto: NVENC where it works; software: x264, x265, SVT-AV1"),
    ] = "auto"
    nvenc_input: Annotated[
        Literal["auto", "gpu", "pipe"],
        Field(
            description="how a greenscreen reaches NVENC: gpu (never leaves the GPU) or pipe; "
            "auto: gpu where a trial shows that its colours are right"
        ),
    ] = "auto"
    nvenc_pipe: Annotated[
        str,
        Field(
            pattern=f"^(auto|{'|'.join(PIPES)})$",
            description="whose NVENC encodes pictures that come by a pipe: "
            f"{' or '.join(PIPES)}; auto: the first that works",
        ),
    ] = field(default="auto", metadata=PIXELS_UNLESS_DEFAULT)
    hevc_preset: Annotated[
        Preset | None,
        Field(description="x265 speed: ultrafast, veryfast, fast, medium or slow; by quality"),
    ] = None
    hevc_crf: Annotated[
        int | None, Field(ge=0, le=51, description="x265: lower is better, larger; by quality")
    ] = None
    h264_preset: Annotated[
        Preset | None,
        Field(description="x264 speed: ultrafast, veryfast, fast, medium or slow; by quality"),
    ] = None
    h264_crf: Annotated[
        int | None, Field(ge=0, le=51, description="x264: lower is better, larger; by quality")
    ] = None
    av1_preset: Annotated[
        Preset | None,
        Field(description="SVT-AV1 speed: ultrafast, veryfast, fast, medium or slow; by quality"),
    ] = None
    av1_crf: Annotated[
        int | None, Field(ge=1, le=63, description="SVT-AV1: lower is better, larger; by quality")
    ] = None
    nvenc_preset: Annotated[
        NvencPreset | None, Field(description="NVENC speed: p1 (fast) to p7 (slow); by quality")
    ] = None
    nvenc_cq: Annotated[
        int | None, Field(ge=1, le=51, description="NVENC: lower is better, larger; by quality")
    ] = None
    encoder_threads: Annotated[
        int, Field(ge=1, le=64, description="threads of one software encoder; alters bits")
    ] = 4
    tiff_pages: Annotated[
        Literal["alpha", "labels"],
        Field(
            description="what a page of tiff holds: alpha, 0 to 255, or labels: 0 where nobody is,"
            " n where object n of the prompts is (1 where there is one)"
        ),
    ] = "alpha"

    def point(self) -> QualityPoint:
        """How every encoder is set: by `quality`, but for what is set by hand."""
        names = [f.name for f in dataclasses.fields(QualityPoint)]
        by_hand = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return dataclasses.replace(POINTS[self.quality], **by_hand)

    def spelled_out(self) -> EncodingSettings:
        """The same with nothing left to `quality`."""
        return dataclasses.replace(self, **dataclasses.asdict(self.point()))
