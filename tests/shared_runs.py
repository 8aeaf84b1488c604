"""Folders of videos, and their runs without trouble: made once a session, compared with by many.

A test that changes the videos or OUT works on a copy.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.clips import ClipSpec
from tests.made_once import MadeOnce
from tests.runs import CommandRun, HereRun, outputs

GetClip = Callable[[ClipSpec], Path]

#: As a settings file, or as groups of settings.
RunSettings = str | Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class VideosOf:
    """Lays out painted clips in a folder."""

    made_once: MadeOnce
    clip: GetClip

    def __call__(self, specs: Sequence[ClipSpec], *, links: bool = False) -> Path:
        """The folder of the clips as copies, or as symbolic links to them."""

        def lay_out(folder: Path) -> None:
            for spec in specs:
                path = folder / spec.name
                path.parent.mkdir(exist_ok=True)
                if links:
                    path.symlink_to(self.clip(spec))
                else:
                    shutil.copy2(self.clip(spec), path)

        return self.made_once("videos", (tuple(specs), links), lay_out)


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A run that came to its end.

    Attributes:
        outputs: hashes by path below OUT, as `tests.runs.outputs` gives them.
    """

    out: Path
    outputs: dict[str, str]


@dataclass(frozen=True, slots=True)
class UndisturbedRun:
    """Runs clips to the end."""

    made_once: MadeOnce
    videos_of: VideosOf

    def __call__(
        self, specs: Sequence[ClipSpec], settings: RunSettings, *options: str, links: bool = False
    ) -> Undisturbed:
        """The run of ``videos_of(specs)``.

        Args:
            settings: as text for a run by the command line, which may have `options`; as a
                mapping for a run in this process, with threads as workers.
        """
        videos = self.videos_of(specs, links=links)

        def make(folder: Path) -> None:
            if isinstance(settings, str):
                command = CommandRun(videos, folder / "out", settings, options)
                assert command.process.wait() == 0, command.said()
                assert command.left_behind() == []
            else:
                assert not options
                here = HereRun(videos, folder / "out", settings, threads=True)
                assert here.run() == 0, here.said.getvalue()
            (folder / "outputs.json").write_text(json.dumps(outputs(folder / "out")))

        folder = self.made_once("undisturbed", (videos.name, settings, options), make)
        return Undisturbed(folder / "out", json.loads((folder / "outputs.json").read_text()))
