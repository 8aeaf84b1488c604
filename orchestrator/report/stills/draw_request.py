"""`DrawRequest`: frames to draw. In a file of its own, so that the drawing process starts soon."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DrawRequest:
    """What the child is given.

    Attributes:
        source: path of the source; `stream`, `begin_s`, `rotation`, `crop` (top, bottom, left,
            right), `mirrored` and `right_stream` as the probe found them. Empty where decoding
            resamples its pictures: they do not lie on the output's.
        frame_rate: of the output; the source has `every` times as many frames a second.
        first_frame: number in the source of the output's first frame.
        output: path of the output that is shown.
        is_matte: whether the output is alpha, in grey.
        frames: of the output, ascending.
        most_cpu_s: CPU seconds that it may take.
        layout, right_first: of the output's eyes.
    """

    source: str
    stream: int
    begin_s: float
    rotation: int
    frame_rate: float
    every: int
    first_frame: int
    output: str
    is_matte: bool
    frames: tuple[int, ...]
    most_cpu_s: int
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    mirrored: bool = False
    right_stream: int | None = None
    layout: str = "mono"
    right_first: bool = False
