"""Tell which files in OUT vrmatte made: nothing else there is ever replaced.

An output is ours when the journal has its path, or when a worker left a receipt for that very file:
a crash may come between the name of an output and its line in the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import Entry, VideoDone
from orchestrator.out.journal import measure
from pipeline.contract import OutputFile
from pipeline.files.receipts import has_receipt


@dataclass(frozen=True, slots=True)
class Ownership:
    """What is known of the files in OUT.

    Attributes:
        paths: of outputs that are ours.
        made: what each path was last finished as, and the id of the video.
    """

    paths: frozenset[str] = frozenset()
    made: Mapping[str, tuple[OutputFile, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Entry], replaceable: Iterable[str] = ()) -> Ownership:
        """By what a journal says.

        Args:
            replaceable: paths of files that a person gave up by asking for a fresh run.
        """
        made: dict[str, tuple[OutputFile, str]] = {}
        for entry in entries:
            if isinstance(entry, VideoDone):
                made |= {output.path: (output, entry.video) for output in entry.outputs}
        return cls(frozenset((*replaceable, *made)), made)

    def __call__(self, job: VideoJob, output: Path) -> bool:
        if str(output) in self.paths:
            return True
        name = job.settings.deliverables[job.outputs.index(str(output))]
        return has_receipt(Path(job.work_dir), name, output)

    def finished(self, output: Path) -> tuple[OutputFile, str] | None:
        """The output of that path, where it is there as a run finished it, and its video's id."""
        made = self.made.get(str(output))
        if made is None or measure((made[0].path,)) != (made[0].size_bytes,):
            return None
        return made
