"""`ProcessingSettings`: size, precision, engine and threads of the network; further stages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from pipeline.contract.fingerprint import NO_PIXELS, PIXELS_UNLESS_DEFAULT, same_pixels


def _off(value: object) -> object:
    """YAML reads ``off`` as false."""
    return "off" if value is False else value


AutoOrOff = Annotated[
    Literal["auto", "off"],
    BeforeValidator(_off, json_schema_input_type=Literal["auto", "off", False]),
]


KernelChoice = Literal["auto", "torch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveScaling:
    """How the network's size is chosen, once for each video, by a trial.

    Sizes are tried from `max_scale` down, each `scale_factor` times the one before, until the
    network keeps its device busy for no more than `target_gpu_usage` of the time, or `min_scale` is
    reached. See `orchestrator/estimate/lanes_wanted.py`.
    """

    target_gpu_usage: Annotated[float, Field(gt=0, le=1)] = 0.9
    min_scale: Annotated[float, Field(gt=0, le=1)] = 0.125
    max_scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    scale_factor: Annotated[float, Field(gt=0, lt=1)] = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingSettings:
    """How the network is run."""

    scale_factor: Annotated[
        float | None,
        Field(gt=0, le=1, description="network input size as a share of an eye; by size"),
    ] = None
    adaptive_scaling: Annotated[
        AdaptiveScaling | None,
        Field(
            description="choose that size by a trial of each video: {target_gpu_usage: 0.9,"
            " min_scale: 0.125, max_scale: 1.0, scale_factor: 0.7} is the largest size, from"
            " max_scale down in steps of scale_factor, that keeps the device busy for"
            " target_gpu_usage of the time or less"
        ),
    ] = None
    precision: Annotated[
        Literal["auto", "fp32", "fp16"],
        Field(description="auto: fp16 on a GPU, fp32 on the CPU"),
    ] = "auto"
    engine: Annotated[
        Literal["auto", "torch", "cuda_graph", "compile", "openvino", "tensorrt"],
        Field(
            description="what runs rvm; auto: openvino on a CPU where it is installed, cuda_graph"
            " on a GPU; tensorrt is built in the background, and torch serves until then"
        ),
    ] = field(default="auto", metadata=same_pixels({"cuda_graph": "torch"}))
    engine_file: Annotated[
        str | None,
        Field(
            pattern="^[0-9a-f]{32}$",
            description="the built engine that makes the frames (`vrmatte engines list`); null: set"
            " for each video when it is planned",
        ),
    ] = field(default=None, metadata=PIXELS_UNLESS_DEFAULT)
    cuda_graphs: Annotated[
        AutoOrOff,
        Field(description="off: engine auto is torch on a GPU; the older name of engine: torch"),
    ] = field(default="auto", metadata=NO_PIXELS)
    kernels: Annotated[
        KernelChoice,
        Field(
            description="what works on whole pictures on a GPU; auto: Triton's kernels where they"
            " give the bits that PyTorch's operations give there"
        ),
    ] = field(default="auto", metadata=NO_PIXELS)
    stages: Annotated[
        tuple[str, ...],
        Field(description="further stages, which other packages bring, in this order"),
    ] = ()
    intra_op_threads: Annotated[
        int, Field(ge=1, le=256, description="CPU threads of one tensor operation; alters bits")
    ] = 1
    decode_threads: Annotated[
        int, Field(ge=0, le=64, description="CPU threads of one decoder; 0 lets FFmpeg choose")
    ] = field(default=2, metadata=NO_PIXELS)
