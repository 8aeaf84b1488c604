"""`EnhanceSettings`: how pictures are made larger, steadier and cleaner."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from pipeline.contract.fingerprint import NO_PIXELS


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhanceSettings:
    """See `pipeline/stages/enhance`. At the defaults pictures stay as they are."""

    scale: Annotated[
        Literal[1, 2, 4],
        Field(description="how many times as wide and high the pictures become; 1: as they are"),
    ] = 1
    model: Annotated[
        str,
        Field(
            min_length=1,
            description="what makes them larger: span (faithful), compact (for noisy sources),"
            " lanczos (no network), or a file of weights (.pth, .safetensors)",
        ),
    ] = "span"
    # Its content decides pixels, whatever it is called.
    weights: Annotated[
        str | None,
        Field(description="span, compact: a folder that has their files, in place of the cache"),
    ] = field(default=None, metadata=NO_PIXELS)
    model_sha256: Annotated[
        str | None,
        Field(pattern="^[0-9a-fA-F]{64}$", description="sha256 that a file of weights must have"),
    ] = None
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        Field(description="of its network; auto: fp16 on a GPU; bf16 on a CPU that has it"),
    ] = "auto"
    quality: Annotated[
        Literal["fast", "balanced", "best"],
        Field(
            description="of enlarged pictures: fast, each frame by itself; balanced, calmed as its"
            " file needs it and steadied by the frame before; best, by two frames before"
        ),
    ] = "balanced"
    denoise: Annotated[
        Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | Literal["auto"] | None,
        Field(
            description="how much a frame is calmed before it is made larger, 0 to 1, by what is"
            " around each pixel and by the two frames before: takes out noise and what strong"
            " compression leaves; auto: by how strongly the file is compressed; null: by quality",
        ),
    ] = None
    stabilise: Annotated[
        int | None,
        Field(
            ge=0,
            le=3,
            description="frames before by which a frame is steadied in time; null: by quality",
        ),
    ] = None
    steady_matte: Annotated[
        int,
        Field(
            ge=0,
            le=3,
            description="frames before by which a matte is steadied in time, where it flickers and"
            " the picture does not; whether or not pictures become larger",
        ),
    ] = 0
    sharpen: Annotated[
        float,
        Field(ge=0, le=1, allow_inf_nan=False, description="how much edges are sharpened, 0 to 1"),
    ] = 0.0
    grain: Annotated[
        float,
        Field(ge=0, le=1, allow_inf_nan=False, description="film grain, 0 to 1, as in both eyes"),
    ] = 0.0
    tile: Annotated[
        int | None,
        Field(
            ge=64,
            le=4096,
            description="side of the parts in which an eye goes through the network, in pixels of"
            " the source; null: 256 on a CPU, 1024 on a GPU; it alters the last bits at most",
        ),
    ] = None

    @property
    def calms(self) -> float | Literal["auto"]:
        """`denoise`, or what the quality says of pictures that become larger."""
        if self.denoise is not None:
            return self.denoise
        return "auto" if self.scale > 1 and self.quality != "fast" else 0.0

    @property
    def history(self) -> int:
        """`stabilise`, or what the quality says of pictures that become larger."""
        if self.stabilise is not None:
            return self.stabilise
        return {"fast": 0, "balanced": 1, "best": 2}[self.quality] if self.scale > 1 else 0


#: Pictures stay as they are.
AS_SOURCE = EnhanceSettings()
