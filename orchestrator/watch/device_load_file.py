"""The load of a run so far, on disk: for the page of one that was killed. Nothing is decided by it.

``OUT/.vrmatte/load.json`` is replaced now and then while the run goes on; `report.json` has what
there was of a run that ended in order.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.settings.settings import STATE_FOLDER
from orchestrator.watch.device_load import LoadPoint
from pipeline.foreign.json_text import read_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA_VERSION = 1

_LONGEST_BYTES = 64 << 20

#: Written no more often than that: so much of a killed run's load is not known.
WRITE_S = 20.0


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """The load since a run's work began, as of `updated`."""

    schema: int
    updated: datetime
    points: tuple[LoadPoint, ...]


def load_path(out: Path) -> Path:
    return out / STATE_FOLDER / "load.json"


class LoadFile:
    """Writes the load so far, not too often. A disk that takes no more is no trouble of its.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, out: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = load_path(out)
        self._clock = clock
        self._next_at = float("-inf")

    def update(self, points: Sequence[LoadPoint], now: datetime) -> None:
        """Replace the file, unless that was done less than `WRITE_S` ago."""
        if not points or self._clock() < self._next_at:
            return
        self._next_at = self._clock() + WRITE_S
        record = _adapter().dump_python(LoadRecord(SCHEMA_VERSION, now, tuple(points)), mode="json")
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        with suppress(OSError):  # the run itself meets the disk's troubles, and tells of them
            draft.write_bytes(json.dumps(record, separators=(",", ":")).encode())
            draft.replace(self._path)  # not forced: after a power cut a page without it does


def read_load(out: Path, begun: datetime) -> tuple[LoadPoint, ...]:
    """The load of the run in `out` that began then; empty where it left none that can be read."""
    try:
        record = _adapter().validate_python(read_json(load_path(out), _LONGEST_BYTES))
    except ValueError:  # not there, cut off, or another schema's
        return ()
    has_zone = record.updated.tzinfo is not None
    known = record.schema == SCHEMA_VERSION and has_zone and record.updated >= begun
    return record.points if known else ()


@cache
def _adapter() -> TypeAdapter[LoadRecord]:
    from pydantic import TypeAdapter

    return TypeAdapter(LoadRecord)
