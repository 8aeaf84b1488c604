"""Tell which files in OUT vrmatte made: nothing else there is ever replaced.

An output is ours when the journal has its path, or when a worker left a receipt for that very file:
a crash may come between the name of an output and its line in the journal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import Entry, VideoDone
from pipeline.files.receipts import has_receipt


@dataclass(frozen=True, slots=True)
class Ownership:
    """Attributes: paths of outputs that are ours."""

    paths: frozenset[str] = frozenset()

    @classmethod
    def of(cls, entries: Iterable[Entry], replaceable: Iterable[str] = ()) -> Ownership:
        """By what a journal says.

        Args:
            replaceable: paths of files that a person gave up by asking for a fresh run.
        """
        paths = set(replaceable)
        for entry in entries:
            if isinstance(entry, VideoDone):
                paths.update(output.path for output in entry.outputs)
        return cls(frozenset(paths))

    def __call__(self, job: VideoJob, output: Path) -> bool:
        if str(output) in self.paths:
            return True
        name = job.settings.deliverables[job.outputs.index(str(output))]
        return has_receipt(Path(job.work_dir), name, output)
