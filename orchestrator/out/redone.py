"""Tells what is in force of a journal: what redos did counts, what was begun anew does not.

A redo works under a fingerprint of its own, so that its segments meet no others. When it is done,
its one line in the journal stands for this: the segments that it made again replace those of the
video, and the video is done with the new files, under the settings that it was made with.
So a later run with these finds it done, and its flags are those of what is in the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from orchestrator.fleet.journal_entries import (
    Entry,
    Redo,
    RedoStarted,
    SegmentCommitted,
    VideoDone,
    VideoForgotten,
    VideoSetAside,
)
from orchestrator.out.finished import last_done
from orchestrator.words import precise
from pipeline.text import printable

#: What a fresh run makes void.
_OF_WORK = (SegmentCommitted, VideoDone, VideoSetAside, RedoStarted)


class Unfolder:
    """Takes entries in their order, and gives those that stand for them.

    Attributes:
        redos: all that were ever begun, by video and fingerprint.
        begun: those that are not done.
    """

    def __init__(self) -> None:
        self.redos: set[tuple[str, str]] = set()
        self.begun: dict[tuple[str, str], Redo] = {}
        self._made: dict[tuple[str, str], dict[int, SegmentCommitted]] = {}
        # By video, settings and path of a file: when it was finished last.
        self._done: dict[tuple[str, str], dict[str, VideoDone]] = {}

    def unfold(self, entry: Entry) -> Iterator[Entry]:
        """What an entry stands for; itself, unless it ends a redo."""
        key = _key_of(entry)
        if isinstance(entry, VideoDone) and key in self.begun:
            yield from self._redone(entry, self.begun.pop(key))
            return
        yield entry
        if isinstance(entry, RedoStarted):
            self.redos.add(key)
            self.begun[key] = entry.redo
            self._made.setdefault(key, {})
        elif isinstance(entry, SegmentCommitted) and key in self._made:
            self._made[key][entry.segment] = entry
        elif isinstance(entry, VideoDone):
            self._keep(entry)
        elif isinstance(entry, VideoForgotten):
            self._forget(entry)

    def _keep(self, done: VideoDone) -> None:
        paths = dict.fromkeys((file.path for file in done.outputs), done)
        self._done.setdefault((done.video, done.settings), {}).update(paths)

    def _forget(self, entry: VideoForgotten) -> None:
        self._done.pop((entry.video, entry.settings), None)
        for (video, settings), redo in [*self.begun.items()]:
            if (video, redo.former) == (entry.video, entry.settings):
                del self.begun[video, settings], self._made[video, settings]

    def _redone(self, entry: VideoDone, redo: Redo) -> Iterator[Entry]:
        made = self._made.pop((entry.video, entry.settings))
        names = [redo.former]
        if redo.is_whole:  # as by a run with those settings
            names.insert(0, redo.made_with)
        for name in dict.fromkeys(names):
            for number in range(redo.first, redo.stop):
                if number in made:  # its files are gone
                    yield replace(made[number], settings=name, sizes=())
            redone = (*self._kept(entry, redo), redo) if name == redo.former else ()
            done = replace(entry, settings=name, redone=redone)
            self._keep(done)
            yield done

    def _kept(self, entry: VideoDone, redo: Redo) -> list[Redo]:
        """Parts of the same files that earlier redos made, and this one did not."""
        by_path = self._done.get((entry.video, redo.former), {})
        before = next((by_path[each.path] for each in entry.outputs if each.path in by_path), None)
        return [part for part in before.redone if not _within(part, redo)] if before else []


def in_force(entries: Sequence[Entry], unfolder: Unfolder) -> list[Entry]:
    """What the entries of a journal stand for, without what fresh runs made void.

    With a video as a run made it, all redos of it are void.
    """
    void = {_key_of(e): n for n, e in enumerate(entries) if isinstance(e, VideoForgotten)}
    for entry in entries if void else ():
        if isinstance(entry, RedoStarted):
            since = void.get((entry.video, entry.redo.former), -1)
            void[_key_of(entry)] = max(since, void.get(_key_of(entry), -1))
    found = []
    for number, entry in enumerate(entries):
        begun_anew = void.get(_key_of(entry), -1)
        for each in unfolder.unfold(entry):
            is_void = number < max(begun_anew, void.get(_key_of(each), -1))
            if not (is_void and isinstance(each, _OF_WORK)):
                found.append(each)
    return found


def parts_redone(outputs: Sequence[str], entries: Iterable[Entry]) -> tuple[Redo, ...]:
    """The parts that were made again of the files of these paths, the last one last.

    Args:
        outputs, entries: as for `orchestrator.out.finished.last_done`.
    """
    done = last_done(outputs, entries)
    return () if done is None else done.redone


def unfinished_redos(entries: Iterable[Entry]) -> dict[tuple[str, str], Redo]:
    """The last redo of each video, if it was begun, and neither finished nor failed.

    By the video's id and the fingerprint of the settings under which it is finished.
    """
    found: dict[tuple[str, str], RedoStarted] = {}
    for entry in entries:
        if isinstance(entry, RedoStarted):
            found[entry.video, entry.redo.former] = entry
        elif isinstance(entry, VideoDone):
            found.pop(_key_of(entry), None)
        elif isinstance(entry, VideoSetAside):
            found = {key: e for key, e in found.items() if _key_of(e) != _key_of(entry)}
    return {key: begun.redo for key, begun in found.items()}


def redo_in_words(redo: Redo) -> str:
    """``0:12.00 to 0:24.00``."""
    if redo.is_whole:
        return "the whole video"
    return f"{precise(redo.begin_s)} to {precise(redo.end_s)}"


def differs_in_words(redo: Redo) -> str:
    """``matting.choke 2, matting.model chroma``."""
    said = ", ".join(f"{key} {value}" for key, value in redo.differs.items())
    return printable(said or "the settings of the video")


def _key_of(entry: Entry) -> tuple[str, str]:
    """The video and the settings that an entry is about; nothing that is like any, if none."""
    if isinstance(entry, (*_OF_WORK, VideoForgotten)):
        return entry.video, entry.settings
    return "", ""


def _within(part: Redo, other: Redo) -> bool:
    return other.first <= part.first and part.stop <= other.stop
