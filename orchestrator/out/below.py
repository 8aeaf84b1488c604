"""Paths of files in OUT as they are written down: relative to OUT, so that it may be moved.

In memory they are absolute. A path that leads out of OUT, as in a copy of an OUT whose paths were
written by an earlier version, stands for a file that is not there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from orchestrator.fleet.journal_entries import Entry, SegmentCommitted, VideoDone, VideoForgotten
from pipeline.files.disk import STATE_FOLDER

#: Where nothing ever is; for paths that lead elsewhere.
_NOWHERE = Path(STATE_FOLDER, "not in this output folder")


def out_of(journal: Path) -> Path | None:
    """The output folder that a journal belongs to; None if it lies in none, and speaks of none."""
    state = journal.absolute().parent
    return state.parent if state.name == STATE_FOLDER else None


def written(path: str, out: Path) -> str:
    """A path as it is written down: relative to `out` if it lies there, else as it is."""
    return str(found.relative_to(out)) if (found := _inside(path, out)) is not None else path


def in_out(path: str, out: Path) -> str:
    """A path that was written down, as an absolute one. Earlier versions wrote absolute ones."""
    found = _inside(str(out / path), out)
    return str(out / _NOWHERE / Path(path).name if found is None else found)


def entry_as_written(entry: Entry, out: Path | None) -> Entry:
    """A journal entry with its paths as they are written down."""
    if out is None:
        return entry
    return _with_paths(entry, lambda path: written(path, out), lambda path: written(path, out))


def entry_in_out(entry: Entry, out: Path | None) -> Entry:
    """A journal entry with absolute paths.

    The name of a segment alone stays one: it lies in the work folder of its video.
    """
    if out is None:
        return entry
    return _with_paths(
        entry,
        lambda path: in_out(path, out) if os.sep in path else path,
        lambda path: in_out(path, out),
    )


def _with_paths(entry: Entry, segment: Callable[[str], str], output: Callable[[str], str]) -> Entry:
    if isinstance(entry, SegmentCommitted):
        files = tuple(map(segment, entry.result.files))
        return replace(entry, result=replace(entry.result, files=files))
    if isinstance(entry, VideoDone):
        outputs = tuple(replace(file, path=output(file.path)) for file in entry.outputs)
        return replace(entry, outputs=outputs)
    if isinstance(entry, VideoForgotten):
        return replace(entry, outputs=tuple(map(output, entry.outputs)))
    return entry


def _inside(path: str, out: Path) -> Path | None:
    """An absolute path as one below `out`, or None; `out` may be reached by links."""
    found = Path(os.path.normpath(path))
    for root in (out, Path(os.path.realpath(out))):
        if found.is_absolute() and found != root and found.is_relative_to(root):
            return out / found.relative_to(root)
    return None
