"""Tell which files in OUT vrmatte made: nothing else there is ever replaced.

An output is ours when the journal has its path, or when a worker left a receipt for that very file:
a crash may come between the name of an output and its line in the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import Entry, VideoDone, VideoForgotten
from pipeline.contract import OutputFile
from pipeline.files.receipts import has_receipt


@dataclass(frozen=True, slots=True)
class Made:
    """An output as a run finished it.

    Attributes:
        video: the id of its video.
        frames: that it shows, by their numbers in the whole video; None: not known any more.
    """

    output: OutputFile
    video: str
    frames: range | None = None


@dataclass(frozen=True, slots=True)
class Ownership:
    """What is known of the files in OUT.

    Attributes:
        paths: of outputs that are ours.
        made: what each path was last finished as.
    """

    paths: frozenset[str] = frozenset()
    made: Mapping[str, Made] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        entries: Iterable[Entry],
        replaceable: Iterable[str] = (),
        known: Iterable[Mapping[str, Any]] = (),
    ) -> Ownership:
        """By what a journal says.

        Args:
            replaceable: paths of files that a person gave up by asking for a fresh run.
            known: videos as `orchestrator.out.ledger` has them, for the frames of each.
        """
        frames = {(video["id"], video.get("settings")): _frames(video) for video in known}
        made: dict[str, Made] = {}
        given_up = set(replaceable)
        for entry in entries:
            if isinstance(entry, VideoForgotten):
                given_up.update(entry.outputs)
                for path in entry.outputs:
                    made.pop(path, None)
            if isinstance(entry, VideoDone):
                shown = frames.get((entry.video, entry.settings))
                made |= {each.path: Made(each, entry.video, shown) for each in entry.outputs}
        return cls(frozenset((*given_up, *made)), made)

    def __call__(self, job: VideoJob, output: Path) -> bool:
        if str(output) in self.paths:
            return True
        name = job.settings.deliverables[job.outputs.index(str(output))]
        return has_receipt(Path(job.work_dir), name, output)

    def finished(self, output: Path) -> Made | None:
        """The output of that path that a run finished, if it is there, changed since or not."""
        made = self.made.get(str(output))
        return made if made is not None and output.is_file() else None


def _frames(video: Mapping[str, Any]) -> range:
    begin, every = video.get("start_frame", 0), video.get("every", 1)
    return range(begin, begin + video["frames"] * every, every)
