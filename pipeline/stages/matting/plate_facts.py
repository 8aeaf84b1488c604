"""`plate`: its options, and its row of the catalogue. The model is in `plate.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from pipeline.contract import ModelOptions
from pipeline.stages.matting.facts import MB, ModelBytes, ModelFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateOptions(ModelOptions):
    """Options of the difference to the empty scene."""

    prefix: ClassVar[str] = "plate"

    image: Annotated[
        str | None,
        Field(
            description="picture of the empty scene, as large as the video, with its eyes where"
            " the video has them; found if none"
        ),
    ] = None
    image_sha256: Annotated[
        str | None,
        Field(pattern="^[0-9a-fA-F]{64}$", description="sha256 that picture must have"),
    ] = None


PLATE = ModelFacts(
    name="plate",
    load="pipeline.stages.matting.plate:load",
    description="tripod shots whose subject moves",
    licence="Apache-2.0",
    automatic=4,
    fits="pipeline.stages.matting.plate_picture:require_picture_of",
    options=PlateOptions,
    memory=lambda matting, engine: ModelBytes(another=6 * MB),
    most_error=0.03,
)
