"""`RedoRequest`: what is made again of which video, as it was typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RedoRequest:
    """The command line.

    Attributes:
        video: a name of a video that OUT holds.
        begin, end: of the range, in times of its outputs; None: of the whole video.
        model: None: that of the video.
        assignments: ``GROUP.KEY=VALUE``, over the settings of the video.
        command: as it was typed.
    """

    out: Path
    video: str
    begin: str | None = None
    end: str | None = None
    model: str | None = None
    assignments: tuple[str, ...] = ()
    command: str = ""
