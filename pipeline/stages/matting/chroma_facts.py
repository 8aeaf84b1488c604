"""`chroma`: its options, and its row of the catalogue. The model is in `chroma.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from pipeline.contract import ModelOptions
from pipeline.stages.matting.facts import MB, ModelBytes, ModelFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class ChromaOptions(ModelOptions):
    """Options of the keyer."""

    prefix: ClassVar[str] = "chroma"

    color: Annotated[
        str,
        Field(
            pattern="^(auto|green|blue|#[0-9a-fA-F]{6})$",
            description="screen colour: auto, green, blue or #rrggbb",
        ),
    ] = "auto"


#: Measured: chroma, depth and plate take 16 MB together (docs/decisions/015).
CHROMA = ModelFacts(
    name="chroma",
    load="pipeline.stages.matting.chroma:load",
    description="green or blue screen",
    licence="Apache-2.0",
    options=ChromaOptions,
    memory=lambda matting, engine: ModelBytes(another=6 * MB),
    backdrop="green",
    automatic=1,
    suits="pipeline.stages.matting.chroma_screen:suits",
    most_error=0.01,
)
