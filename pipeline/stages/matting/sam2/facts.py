"""`sam2` and `sam2+rvm`: their options, and their rows of the catalogue. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.contract import MattingSettings, ModelOptions
from pipeline.contract.fingerprint import PIXELS_UNLESS_DEFAULT
from pipeline.stages.matting.facts import MB, ModelBytes, ModelFacts, Weights

Sam2Size = Literal["tiny", "small", "base_plus", "large"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sam2Options(ModelOptions):
    """Options of SAM 2, by itself and with another model's edges."""

    prefix: ClassVar[str] = "sam2"

    size: Annotated[Sam2Size, Field(description="SAM 2.1 network")] = "small"
    checkpoint: Annotated[
        str | None,
        Field(description="SAM 2.1 weights: a local .pt file, or an https address"),
    ] = None
    checkpoint_sha256: Annotated[
        str | None,
        Field(pattern="^[0-9a-fA-F]{64}$", description="sha256 those weights must have"),
    ] = None
    image_size: Annotated[
        int,
        Field(
            ge=64,
            le=1024,
            multiple_of=64,
            description="side of SAM 2's input in pixels; below 1024 it is faster, and coarser",
        ),
    ] = 1024
    region: Annotated[
        Literal["whole", "auto"],
        Field(
            description="what SAM 2's network sees; whole: the whole eye; auto: a square around"
            " the subject, which follows it, in eyes larger than its input (not judged yet)"
        ),
    ] = field(default="whole", metadata=PIXELS_UNLESS_DEFAULT)
    compile: Annotated[
        bool,
        Field(description="compile SAM 2 for the GPU: slow to begin, then faster; alters bits"),
    ] = False
    seed: Annotated[str, Field(description="model whose matte tells SAM 2 who the subject is")] = (
        "rvm"
    )
    edge: Annotated[
        str,
        Field(description="sam2+rvm: model that draws the edge of the subject that SAM 2 follows"),
    ] = "rvm"


#: By the size of the network: what SAM 2 adds beside a model that is loaded (docs/decisions/015);
#: the weights that a worker holds; and what a segment takes to follow an object through a frame,
#: with 1024 pixels a side (docs/benchmarks/006-sam2.md).
_ANOTHER = {"tiny": 191 * MB, "small": 219 * MB, "base_plus": 359 * MB, "large": 934 * MB}
_WEIGHTS = {"tiny": 160 * MB, "small": 190 * MB, "base_plus": 325 * MB, "large": 900 * MB}
_SEGMENT = {"tiny": 870 * MB, "small": 870 * MB, "base_plus": 1075 * MB, "large": 1090 * MB}
_SIDE = 1024

#: By windows: the pictures of the frame before, of both eyes, and the objects' finer logits.
_WINDOWS = 150 * MB


def _memory(matting: MattingSettings, engine: str) -> ModelBytes:
    options = matting.of(Sam2Options)
    return ModelBytes(
        another=_ANOTHER[options.size],
        weights=_WEIGHTS[options.size],
        segment=_SEGMENT[options.size] * (options.image_size / _SIDE) ** 2
        + (_WINDOWS if options.region == "auto" else 0),
    )


def _choice(matting: MattingSettings) -> str:
    options = matting.of(Sam2Options)
    return f"{options.size} {options.checkpoint or ''}".strip()


_CHECKPOINT = Weights(
    name="sam2",
    choice=_choice,
    fetch="pipeline.stages.matting.sam2.weights:fetch",
    missing="pipeline.stages.matting.sam2.weights:missing",
    local=lambda matting: matting.of(Sam2Options).checkpoint,
    unreachable="pipeline.stages.matting.sam2.weights:unreachable",
)

SAM2 = ModelFacts(
    name="sam2",
    load="pipeline.stages.matting.sam2.load:load",
    description="this person and no other: follows whom prompts, or matting.sam2_seed, point out",
    needs="weights, fetched once, and what its seed model needs",
    licence="Apache-2.0, code and weights, by its authors",
    options=Sam2Options,
    helpers=("seed",),
    weights=_CHECKPOINT,
    follows_prompts=True,
    memory=_memory,
    slow_on_cpu=True,
)

SAM2_RVM = ModelFacts(
    name="sam2+rvm",
    load="pipeline.stages.matting.sam2.edge:load",
    description="the same, with edges drawn by rvm (matting.sam2_edge)",
    needs="weights, fetched once, and what its seed and edge models need",
    licence="Apache-2.0, code and weights, by its authors; and that of its edge model",
    options=Sam2Options,
    helpers=("seed", "edge"),
    weights=_CHECKPOINT,
    follows_prompts=True,
    memory=_memory,
    slow_on_cpu=True,
)
