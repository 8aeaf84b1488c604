"""`EdgeSettings`: what a person corrects of a matte's edge, and where nothing is kept."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from pydantic import Field

from pipeline.contract.fingerprint import NO_PIXELS

#: Of a video, and of one region: they are drawn by hand, and travel with each job.
MOST_REGIONS, MOST_CORNERS = 64, 256

#: No picture is larger.
_FARTHEST = 32768

_Coordinate = Annotated[float, Field(ge=-_FARTHEST, le=_FARTHEST, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepOut:
    """A region of an eye in which alpha is 0.

    Attributes:
        points: its corners, (x, y), in pixels of one eye as in prompts; they may lie outside.
    """

    eye: Literal["left", "right", "both"] = "both"
    points: Annotated[
        tuple[tuple[_Coordinate, _Coordinate], ...],
        Field(min_length=3, max_length=MOST_CORNERS),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """Corrections of the matte that a model gives; see `pipeline/stages/edges/stage.py`."""

    choke: Annotated[
        float,
        Field(
            ge=-50,
            le=50,
            allow_inf_nan=False,
            description="pixels of an eye by which the matte's edge moves in; below 0: out",
        ),
    ] = 0.0
    feather: Annotated[
        float,
        Field(
            ge=0,
            le=50,
            allow_inf_nan=False,
            description="pixels of an eye to either side of the edge over which it is softened",
        ),
    ] = 0.0
    gamma: Annotated[
        float,
        Field(
            ge=0.2,
            le=5,
            allow_inf_nan=False,
            description="alpha becomes alpha to the power of 1/gamma: above 1 what is half"
            " transparent becomes fuller, below 1 thinner",
        ),
    ] = 1.0
    despill: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            allow_inf_nan=False,
            description="how much of the nearby background's colour (with chroma, the screen's) is"
            " taken out of the subject's colours at its edge, 0 to 1",
        ),
    ] = 0.0
    keep_out: Annotated[
        tuple[KeepOut, ...],
        Field(
            max_length=MOST_REGIONS,
            description="regions where nothing is kept, such as a tripod: [{eye: left, points:"
            " [[x, y], ...]}]; eye: left, right or both; pixels of one eye, as in prompts;"
            " STEM.keep_out.yaml beside a video adds to them",
        ),
    ] = ()
    # Its content decides pixels, whatever it is called.
    keep_out_image: Annotated[
        str | None,
        Field(
            description="grey picture by which alpha is multiplied: black where nothing is kept,"
            " white elsewhere; as large as one eye (for both) or as the whole picture"
        ),
    ] = field(default=None, metadata=NO_PIXELS)
    keep_out_image_sha256: Annotated[
        str | None,
        Field(pattern="^[0-9a-fA-F]{64}$", description="sha256 that picture must have"),
    ] = None

    @classmethod
    def fields_by_key(cls) -> dict[str, str]:
        """The field of each setting, by its name in a settings file: the same."""
        return {each.name: each.name for each in fields(cls)}


#: Nothing is corrected.
AS_MATTED = EdgeSettings()
