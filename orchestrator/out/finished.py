"""Picks, of several times that a video was finished, the one that made certain files.

The same settings may have made files under several names (``--name``), or some of them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.fleet.journal_entries import Entry, VideoDone
from pipeline.contract import OutputFile


def last_done(outputs: Sequence[str], entries: Iterable[Entry]) -> VideoDone | None:
    """The last time that all files of these paths were finished.

    Args:
        outputs: absolute paths.
        entries: of their video under its settings, oldest first.
    """
    found = None
    for entry in entries:
        if isinstance(entry, VideoDone) and set(outputs) <= {file.path for file in entry.outputs}:
            found = entry
    return found


def last_files(outputs: Sequence[str], entries: Sequence[Entry]) -> Sequence[OutputFile]:
    """Those files as they were finished last, in the order of `outputs`; none if they never were.

    Args:
        outputs, entries: as for `last_done`.
    """
    done = last_done(outputs, entries)
    if done is not None:
        by_path = {file.path: file for file in done.outputs}
        return [by_path[path] for path in outputs]
    # Under the paths of an earlier version, which lead elsewhere.
    others = [entry for entry in entries if isinstance(entry, VideoDone)]
    return others[-1].outputs if others else ()
