"""The encoders' numbers (CRF, CQ, presets) that each `--quality` word stands for.

The points of VP9, x264, x265 and SVT-AV1 are chosen among those that `benchmarks/encoders.py`
measured (docs/benchmarks/004-speed.md); those of NVENC are not measured, for want of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Quality = Literal["draft", "balanced", "best"]

#: x264's and x265's names for how long an encoder searches; `pipeline/encode/choice.py` has
#: SVT-AV1's.
Preset = Literal["ultrafast", "veryfast", "fast", "medium", "slow"]
NvencPreset = Literal["p1", "p2", "p3", "p4", "p5", "p6", "p7"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityPoint:
    """How every encoder is set; the names are those of `EncodingSettings`, which may change each.

    Attributes:
        vp9_deadline, vp9_cpu_used: how long libvpx searches; a higher number is faster.
        vp9_crf, hevc_crf, h264_crf, av1_crf, nvenc_cq: quality; lower is better and larger.
        hevc_preset, h264_preset, av1_preset, nvenc_preset: how long the others search.
    """

    vp9_deadline: Literal["realtime", "good"]
    vp9_cpu_used: int
    vp9_crf: int
    hevc_preset: Preset
    hevc_crf: int
    h264_preset: Preset
    h264_crf: int
    av1_preset: Preset
    av1_crf: int
    nvenc_preset: NvencPreset
    nvenc_cq: int


POINTS: Mapping[Quality, QualityPoint] = {
    "draft": QualityPoint(
        vp9_deadline="realtime",
        vp9_cpu_used=8,
        vp9_crf=34,
        hevc_preset="ultrafast",
        hevc_crf=20,
        h264_preset="veryfast",
        h264_crf=24,
        av1_preset="veryfast",
        av1_crf=30,
        nvenc_preset="p3",
        nvenc_cq=28,
    ),
    "balanced": QualityPoint(
        vp9_deadline="realtime",
        vp9_cpu_used=6,
        vp9_crf=30,
        hevc_preset="veryfast",
        hevc_crf=18,
        h264_preset="veryfast",
        h264_crf=18,
        av1_preset="medium",
        av1_crf=24,
        nvenc_preset="p5",
        nvenc_cq=22,
    ),
    "best": QualityPoint(
        vp9_deadline="good",
        vp9_cpu_used=3,
        vp9_crf=24,
        hevc_preset="medium",
        hevc_crf=14,
        h264_preset="medium",
        h264_crf=14,
        av1_preset="medium",
        av1_crf=18,
        nvenc_preset="p7",
        nvenc_cq=18,
    ),
}
