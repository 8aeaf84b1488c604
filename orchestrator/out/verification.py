"""Checks finished files against what the journal says of them: they are there, whole, unchanged.

`vrmatte verify OUT` and the last gate ask it. Every byte is read, so no run does it by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestrator.fleet.journal_entries import Entry, VideoDone
from pipeline.contract import OutputFile
from pipeline.files.publish import file_digest

Finding = Literal["whole", "only its size is known", "is not there", "has changed", "is unreadable"]

#: What a file may be called that is as it was made, as far as anybody knows.
GOOD: tuple[Finding, ...] = ("whole", "only its size is known")


@dataclass(frozen=True, slots=True)
class Verified:
    """One finished file, and what was found.

    Attributes:
        detail: why it is unreadable, in words; empty otherwise.
    """

    output: OutputFile
    found: Finding
    detail: str = ""

    @property
    def is_good(self) -> bool:
        return self.found in GOOD


def finished_files(entries: Iterable[Entry]) -> tuple[OutputFile, ...]:
    """The outputs of all videos that are done, by path; of each what was said of it last."""
    last = {
        output.path: output
        for entry in entries
        if isinstance(entry, VideoDone)
        for output in entry.outputs
    }
    return tuple(last[path] for path in sorted(last))


def verified(outputs: Iterable[OutputFile]) -> Iterator[Verified]:
    """Read each file and compare it; one after the other, as each is asked for."""
    for output in outputs:
        yield _verified(output)


def _verified(output: OutputFile) -> Verified:
    path = Path(output.path)
    try:
        if not path.is_file():
            return Verified(output, "is not there")
        if path.stat().st_size != output.size_bytes:
            return Verified(output, "has changed")
        if not output.digest:  # of an earlier version
            return Verified(output, "only its size is known")
        same = file_digest(path) == output.digest
    except OSError as error:
        return Verified(output, "is unreadable", error.strerror or str(error))
    return Verified(output, "whole" if same else "has changed")
