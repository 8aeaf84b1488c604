"""How a run stands at one moment, and the file that shows it to other processes.

``OUT/.vrmatte/live.json`` is replaced every two seconds during the run, less often with very many
videos, and once at its end.
`vrmatte status` and the page read it. Nothing is decided by it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator.fleet.snapshot import Snapshot
from orchestrator.settings.settings import STATE_FOLDER
from orchestrator.watch.device_load import DeviceLoad
from pipeline.foreign.json_text import read_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA_VERSION = 1
STANDING_FILE = "live.json"

#: The file is written no more often than that. It tells of all videos: where there are more than
#: `WRITE_VIDEOS` it is written less often, but before a reader takes the run for silent.
WRITE_S, LONGEST_WRITE_S = 2.0, 20.0
WRITE_VIDEOS = 2000
_LONGEST_BYTES = 64 << 20

#: Findings grow with the length of a video, and the journal has them.
_LEFT_OUT = {"snapshot": {"videos": {"__all__": {"findings"}}}}

Phase = Literal["starting", "working", "stopping", "ended"]


@dataclass(frozen=True, slots=True)
class Standing:
    """A run at one moment. Every time is in seconds, every rate in frames a second.

    Attributes:
        schema: of the file; another one is not read.
        pid: the leading process.
        updated, started: with their time zone.
        phase: "starting" until the first frame of this run is there, "stopping" after it was told
            to stop, "ended" in the last one.
        elapsed_s: since the work began.
        to_go_s: about how long until all is done; None while that is not known.
        share_done: of the pixels of all videos that have not been given up, 0..1.
        fps: of the run, over the last half minute.
        worker_fps: likewise of each worker that has tasks.
        load: the newest sample, one a worker; empty before the first.
        events: the last few changes, oldest first, as lines for a person.
    """

    schema: int
    pid: int
    updated: datetime
    started: datetime
    phase: Phase
    elapsed_s: float
    to_go_s: float | None
    share_done: float
    fps: float
    worker_fps: dict[int, float]
    snapshot: Snapshot
    load: tuple[DeviceLoad, ...] = ()
    events: tuple[str, ...] = ()


def standing_path(out: Path) -> Path:
    """The file in which the run in the output folder `out` shows how it stands."""
    return out / STATE_FOLDER / STANDING_FILE


class StandingFile:
    """Writes how the run stands, not too often. An error of the disk is ignored here.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, out: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = standing_path(out)
        self._clock = clock
        self._written_at: float | None = None

    def update(self, standing: Standing) -> None:
        """Replace the file, unless that was done less than `WRITE_S` ago and the run goes on."""
        now = self._clock()
        videos = len(standing.snapshot.videos)
        write_s = min(LONGEST_WRITE_S, WRITE_S * max(1.0, videos / WRITE_VIDEOS))
        young = self._written_at is not None and now - self._written_at < write_s
        if young and standing.phase != "ended":
            return
        self._written_at = now
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        # By json, which knows how to write a name that is not valid UTF-8.
        said = _adapter().dump_python(standing, mode="json", exclude=_LEFT_OUT)
        text = json.dumps(said, separators=(",", ":"))
        with suppress(OSError):  # the run itself meets the disk's troubles, and tells of them
            with draft.open("wb") as file:
                file.write(text.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            # Its folder is not forced: after a power cut an older one does as well.
            draft.replace(self._path)


def read_standing(out: Path) -> Standing | None:
    """The last standing of a run in `out`; None if there is none that can be read.

    It may be that of a run that was killed: see `OutFolder.in_use`.
    """
    try:
        standing = _adapter().validate_python(read_json(standing_path(out), _LONGEST_BYTES))
    except ValueError:  # not there, cut off, or another schema's
        return None
    has_zones = standing.updated.tzinfo is not None and standing.started.tzinfo is not None
    return standing if standing.schema == SCHEMA_VERSION and has_zones else None


@cache
def _adapter() -> TypeAdapter[Standing]:
    from pydantic import TypeAdapter

    return TypeAdapter(Standing)
