"""The newest finished segment of each video in work, of which the page shows a thumbnail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.journal_entries import Entry, SegmentCommitted, VideoForgotten
from orchestrator.report.stills.stills import shown_format


@dataclass(frozen=True, slots=True)
class NewestSegment:
    """A file of one segment; `deliverable` is the format that it belongs to."""

    number: int
    path: str
    deliverable: str


class NewestSegments:
    """Reads a journal's entries as they grow, each once."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._read = 0
        self._newest: dict[str, SegmentCommitted] = {}

    def of(self, jobs: Iterable[VideoJob]) -> Mapping[str, NewestSegment]:
        """By the videos' ids; without those that have no finished segment, or no film."""
        stop = len(self._entries)
        for entry in self._entries[self._read : stop]:
            if isinstance(entry, SegmentCommitted):
                self._newest[entry.video] = entry
            elif isinstance(entry, VideoForgotten):
                self._newest.pop(entry.video, None)
        self._read = stop
        found = {}
        for job in jobs:
            last = self._newest.get(job.id)
            film = shown_format(job.settings.deliverables)
            if last is None or film is None or last.settings != job.settings.fingerprint():
                continue
            place = job.settings.deliverables.index(film)
            if place < len(last.result.files):
                path = str(PurePath(job.work_dir, last.result.files[place]))
                found[job.id] = NewestSegment(last.segment, path, film)
        return found
