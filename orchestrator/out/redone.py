"""Tells what a redo did as if the video had been finished that way, for all who read the journal.

A redo works under a fingerprint of its own, so that its segments meet no others. When it is done,
its one line in the journal stands for this as well: the segments that it made again replace those
of the video, and the video is done with the new files, under the settings that it was made with.
So a later run with these finds it done, and its flags are those of what is in the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from orchestrator.fleet.journal_entries import (
    Entry,
    Redo,
    RedoStarted,
    SegmentCommitted,
    VideoDone,
    VideoSetAside,
)
from orchestrator.words import precise
from pipeline.text import printable


class Unfolder:
    """Takes entries in their order, and gives those that stand for them.

    Attributes:
        begun: redos that are not done, by video and fingerprint.
    """

    def __init__(self) -> None:
        self.begun: dict[tuple[str, str], Redo] = {}
        self._made: dict[tuple[str, str], dict[int, SegmentCommitted]] = {}
        self._done: dict[tuple[str, str], VideoDone] = {}

    def unfold(self, entry: Entry) -> Iterator[Entry]:
        """The entry, and what follows from it."""
        yield entry
        if isinstance(entry, RedoStarted):
            self.begun[entry.video, entry.settings] = entry.redo
            self._made.setdefault((entry.video, entry.settings), {})
        elif isinstance(entry, SegmentCommitted):
            made = self._made.get((entry.video, entry.settings))
            if made is not None:
                made[entry.segment] = entry
        elif isinstance(entry, VideoDone):
            redo = self.begun.pop((entry.video, entry.settings), None)
            if redo is None:
                self._done[entry.video, entry.settings] = entry
            else:
                yield from self._redone(entry, redo)

    def _redone(self, entry: VideoDone, redo: Redo) -> Iterator[Entry]:
        made = self._made.pop((entry.video, entry.settings))
        names = [redo.former]
        if redo.is_whole:  # as by a run with those settings
            names.insert(0, redo.made_with)
        for name in dict.fromkeys(names):
            for number in range(redo.first, redo.stop):
                if number in made:  # its files are gone
                    yield replace(made[number], settings=name, sizes=())
            before = self._done.get((entry.video, name))
            parts = () if before is None or name != redo.former else before.redone
            kept = [part for part in parts if not _within(part, redo)]
            redone = (*kept, redo) if name == redo.former else ()
            done = replace(entry, settings=name, redone=redone)
            self._done[entry.video, name] = done
            yield done


def unfolded(entries: Iterable[Entry]) -> list[Entry]:
    """All of them."""
    unfolder = Unfolder()
    return [each for entry in entries for each in unfolder.unfold(entry)]


def redone_by_video(entries: Iterable[Entry]) -> dict[str, tuple[Redo, ...]]:
    """The parts that were made again of the files that each video has now, by its id."""
    found: dict[str, tuple[Redo, ...]] = {}
    for entry in entries:
        if isinstance(entry, VideoDone):
            found[entry.video] = entry.redone
    return {video: parts for video, parts in found.items() if parts}


def unfinished_redos(entries: Iterable[Entry]) -> dict[str, Redo]:
    """The last redo of each video, by its id, if it was begun, and neither finished nor failed."""
    found: dict[str, RedoStarted] = {}
    for entry in entries:
        if isinstance(entry, RedoStarted):
            found[entry.video] = entry
        elif isinstance(entry, VideoDone):
            found.pop(entry.video, None)
        elif isinstance(entry, VideoSetAside):
            begun = found.get(entry.video)
            if begun is not None and begun.settings == entry.settings:
                del found[entry.video]
    return {video: begun.redo for video, begun in found.items()}


def redo_in_words(redo: Redo) -> str:
    """``0:12.00 to 0:24.00``."""
    if redo.is_whole:
        return "the whole video"
    return f"{precise(redo.begin_s)} to {precise(redo.end_s)}"


def differs_in_words(redo: Redo) -> str:
    """``matting.choke 2, matting.model chroma``."""
    said = ", ".join(f"{key} {value}" for key, value in redo.differs.items())
    return printable(said or "the settings of the video")


def _within(part: Redo, other: Redo) -> bool:
    return other.first <= part.first and part.stop <= other.stop
