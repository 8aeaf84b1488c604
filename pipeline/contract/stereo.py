"""`StereoSettings`: how the mattes of the two eyes are made to agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field


@dataclass(frozen=True, slots=True, kw_only=True)
class StereoSettings:
    """How the mattes of the two eyes are made to agree; see `pipeline/stages/stereo/refiner.py`."""

    mode: Annotated[
        Literal["independent", "master_slave", "fuse"],
        Field(
            description="independent: each eye as it is; master_slave: one eye mends the other; "
            "fuse: whichever eye the pictures bear out mends the other"
        ),
    ] = "fuse"
    master_eye: Annotated[
        Literal["left", "right"], Field(description="the eye that is believed in master_slave")
    ] = "left"
    consistency_threshold: Annotated[
        float,
        Field(
            ge=0, le=1, description="agreement of the eyes, 0 to 1, below which a frame is mended"
        ),
    ] = 0.99
    disparity_correction: Annotated[
        float,
        Field(
            ge=-4096,
            le=4096,
            description="pixels added to every disparity, for rigs with a constant offset",
        ),
    ] = 0.0
    baseline: Annotated[
        float, Field(gt=0, le=10, description="metres between the lenses, for the depth reported")
    ] = 0.064
    focal_length: Annotated[
        float | None,
        Field(gt=0, description="pixels, for the depth reported; by the field of view"),
    ] = None
