"""Tell which files in OUT vrmatte made: nothing else there is ever replaced.

An output is ours when the journal has its path, or any entry of its video: a crash may come between
the rename of the output and its line in the journal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import (
    Entry,
    SegmentCommitted,
    TaskLost,
    VideoDone,
    VideoSetAside,
)


@dataclass(frozen=True, slots=True)
class Ownership:
    """Attributes: ids of the videos that were worked on, and paths of outputs that are ours."""

    videos: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()

    @classmethod
    def of(cls, entries: Iterable[Entry], replaceable: Iterable[str] = ()) -> Ownership:
        """By what a journal says.

        Args:
            replaceable: paths of files that a person gave up by asking for a fresh run.
        """
        videos: set[str] = set()
        paths = set(replaceable)
        for entry in entries:
            if isinstance(entry, VideoDone):
                paths.update(output.path for output in entry.outputs)
            if isinstance(entry, (VideoDone, SegmentCommitted, TaskLost, VideoSetAside)):
                videos.add(entry.video)
        return cls(frozenset(videos), frozenset(paths))

    def __call__(self, job: VideoJob, output: Path) -> bool:
        return job.id in self.videos or str(output) in self.paths
