"""Which model cuts the subject out, and the options of each model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from pipeline.contract.fingerprint import NO_PIXELS


@dataclass(frozen=True, slots=True, kw_only=True)
class MattingSettings:
    """Which model cuts the subject out, and its options."""

    model: Annotated[
        str,
        Field(description="rvm, sam2, sam2+rvm, chroma, plate, depth, or one that is installed"),
    ] = "rvm"
    rvm_variant: Annotated[
        Literal["mobilenetv3", "resnet50"], Field(description="RVM network: fast, or finer")
    ] = "mobilenetv3"
    rvm_repo: Annotated[
        str, Field(description="RVM code: owner/name:ref for torch.hub, or a local folder")
    ] = "PeterL1n/RobustVideoMatting:53d74c6826735f01f4406b5ca9075eee27bec094"
    rvm_weights: Annotated[
        str | None, Field(description="RVM weights: a local .pth file, or an https address")
    ] = None
    rvm_weights_sha256: Annotated[
        str | None,
        Field(pattern="^[0-9a-fA-F]{64}$", description="sha256 the weights must have"),
    ] = None
    sam2_size: Annotated[
        Literal["tiny", "small", "base_plus", "large"], Field(description="SAM 2.1 network")
    ] = "small"
    sam2_checkpoint: Annotated[
        str | None,
        Field(description="SAM 2.1 weights: a local .pt file, or an https address"),
    ] = None
    sam2_checkpoint_sha256: Annotated[
        str | None,
        Field(pattern="^[0-9a-fA-F]{64}$", description="sha256 those weights must have"),
    ] = None
    sam2_image_size: Annotated[
        int,
        Field(
            ge=64,
            le=1024,
            multiple_of=64,
            description="side of SAM 2's input in pixels; below 1024 it is faster, and coarser",
        ),
    ] = 1024
    sam2_compile: Annotated[
        bool,
        Field(description="compile SAM 2 for the GPU: slow to begin, then faster; alters bits"),
    ] = False
    sam2_seed: Annotated[
        Literal["rvm", "depth", "plate", "chroma"],
        Field(description="model whose matte tells SAM 2 who the subject is"),
    ] = "rvm"
    sam2_edge: Annotated[
        Literal["rvm", "depth", "plate", "chroma"],
        Field(description="sam2+rvm: model that draws the edge of the subject that SAM 2 follows"),
    ] = "rvm"
    # What the files of prompts say is in `VideoSettings.prompts_sha256`, whatever they are called.
    prompts: Annotated[
        str | None,
        Field(
            description="what tells sam2 who the subject is: a file for all videos, or a folder of"
            " files named STEM.prompts.yaml; null: such a file beside the video, if there is one"
        ),
    ] = field(default=None, metadata=NO_PIXELS)
    dlc_csv: Annotated[
        str | None,
        Field(description="the same from a table of DeepLabCut's; overrides other prompts"),
    ] = field(default=None, metadata=NO_PIXELS)
    dlc_bodyparts: Annotated[
        tuple[str, ...],
        Field(description="body parts that are taken from the table; []: all of every animal"),
    ] = field(default=(), metadata=NO_PIXELS)
    dlc_likelihood: Annotated[
        float,
        Field(ge=0, le=1, description="body parts less likely than this, 0 to 1, are left out"),
    ] = field(default=0.6, metadata=NO_PIXELS)
    continuous_correction: Annotated[
        bool,
        Field(description="sam2: the seed model points the subject out again inside a segment"),
    ] = False
    correction_interval: Annotated[
        int, Field(ge=1, description="frames from one correction to the next, by it or by dlc_csv")
    ] = 120
    chroma_color: Annotated[
        str,
        Field(
            pattern="^(auto|green|blue|#[0-9a-fA-F]{6})$",
            description="screen colour: auto, green, blue or #rrggbb",
        ),
    ] = "auto"
    plate_image: Annotated[
        str | None,
        Field(description="picture of the empty scene, as wide as the video; found if none"),
    ] = None
    plate_image_sha256: Annotated[
        str | None,
        Field(pattern="^[0-9a-fA-F]{64}$", description="sha256 that picture must have"),
    ] = None
