"""What a preview is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.settings.settings import Settings
from pipeline.judge.doubt import Doubt


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """The command line.

    Attributes:
        at: times, as ``12.5``, ``1:02`` or ``1:00:02``; none: some are chosen.
        sheet: the picture that is written, PNG or JPEG by its name.
        width: of each picture on it, in pixels.
        compare: models that are shown side by side; none: the one of the settings alone.
    """

    video: Path
    settings: Settings
    sheet: Path
    at: tuple[str, ...] = ()
    width: int = 640
    compare: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be thought of a model's mattes.

    Attributes:
        lacking: why there are none, in one line; empty where there are.
    """

    model: str
    doubts: tuple[Doubt, ...] = ()
    lacking: str = ""

    @property
    def is_good(self) -> bool:
        return not (self.doubts or self.lacking)

    def seen(self) -> tuple[str, ...]:
        """A line for each thing that was seen, without advice."""
        if self.lacking:
            return ("not shown",)
        return tuple(f"{_name(doubt)}: {doubt.seen}" for doubt in self.doubts) or (_NO_DOUBT,)

    def lines(self) -> Iterator[str]:
        """The lines that a terminal shows."""
        if self.lacking:
            yield f"{self.model}: not shown: {self.lacking}"
        elif not self.doubts:
            yield f"{self.model}: {_NO_DOUBT}"
        for doubt in self.doubts:
            yield f"{self.model}: {_name(doubt)}: {doubt}"


_NO_DOUBT = "no doubt found"


def _name(doubt: Doubt) -> str:
    return doubt.kind.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Preview:
    """What a sheet shows.

    Attributes:
        frames: numbers of the frames on it, as the whole video counts them.
        verdicts: of its models, in their order.
        chosen: the model that was chosen for the video, and why; empty where a person named it.
    """

    frames: tuple[int, ...]
    verdicts: tuple[Verdict, ...]
    chosen: str = ""

    @property
    def is_doubtful(self) -> bool:
        """Whether no model made mattes without a doubt."""
        return not any(verdict.is_good for verdict in self.verdicts)
