"""The whole of `vrmatte bench`: `vrmatte run`, in a process that notes when things happen.

The run is the real one; what is noted is read off the states of the run that its progress is drawn
from. Run as ``python -m orchestrator.bench.whole SETTINGS CLIP OUT RESULT``.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.contract import VideoInfo, VideoSettings
from pipeline.errors import VrmatteError

if TYPE_CHECKING:
    from orchestrator.fleet.jobs import VideoJob
    from orchestrator.fleet.snapshot import Snapshot
    from orchestrator.run.supervisor import Outcome

#: Next to the result: the clip's frame index, for whoever decodes it afterwards.
INDEX_NAME = "index.json"


@dataclass(frozen=True, slots=True)
class Noted:
    """What a run was, and when it got how far; times by `time.monotonic`, which processes share.

    Attributes:
        info, settings: of the clip as it was planned, all that was left open decided.
    """

    info: VideoInfo
    settings: VideoSettings
    segments: tuple[tuple[int, int], ...]
    workers: int
    lanes: int
    ready_at: float
    first_frame_at: float
    first_frames: int
    last_segment_at: float
    cpu_s: float


class Watch:
    """Notes the moments of a run of one video; `supervise` takes the place of the real one."""

    def __init__(self, index_copy: Path) -> None:
        self._index_copy = index_copy
        self._job: VideoJob | None = None
        self._workers: tuple[int, int] = (0, 0)
        self._ready_at: float | None = None
        self._first: tuple[float, int] | None = None
        self._last_at: float | None = None

    def supervise(
        self,
        jobs: Sequence[VideoJob],
        *arguments: Any,
        on_change: Callable[[Snapshot], None],
        **named: Any,
    ) -> Outcome:
        from orchestrator.run.supervisor import run

        (self._job,) = jobs
        shutil.copyfile(self._job.index_path, self._index_copy)

        def noting(snapshot: Snapshot) -> None:
            self.note(snapshot, time.monotonic())
            on_change(snapshot)

        return run(jobs, *arguments, on_change=noting, **named)

    def note(self, snapshot: Snapshot, now: float) -> None:
        (video,) = snapshot.videos
        self._workers = len(snapshot.workers), snapshot.workers[0].lanes
        if self._ready_at is None and any(w.status == "ready" for w in snapshot.workers):
            self._ready_at = now
        if self._first is None and video.frames_done:
            self._first = now, video.frames_done
        if self._last_at is None and video.segments_done == video.num_segments:
            self._last_at = now

    def noted(self) -> Noted | None:
        """None where the run did not get to its end."""
        if self._job is None or self._ready_at is None or not self._first or not self._last_at:
            return None
        return Noted(
            info=self._job.info,
            settings=self._job.settings,
            segments=self._job.segments,
            workers=self._workers[0],
            lanes=self._workers[1],
            ready_at=self._ready_at,
            first_frame_at=self._first[0],
            first_frames=self._first[1],
            last_segment_at=self._last_at,
            cpu_s=time.process_time(),
        )


def main(settings_path: str, clip: str, out: str, result: str) -> int:
    from pydantic import TypeAdapter
    from rich.console import Console

    from orchestrator.report.run_page import NoPage
    from orchestrator.run.request import Request, Surroundings
    from orchestrator.run.run import run
    from orchestrator.settings.settings import load_settings
    from pipeline.stages.matting.fetch import fetch_model, settle_model

    console = Console(stderr=True, highlight=False)
    watch = Watch(Path(result).with_name(INDEX_NAME))
    around = Surroundings(
        console, console, fetch_model, settle_model, supervise=watch.supervise, page=NoPage
    )
    settings = load_settings(Path(settings_path), {})
    status = run(Request((Path(clip),), Path(out), settings), around)
    noted = watch.noted()
    if status or noted is None:
        return status or 1
    Path(result).write_bytes(TypeAdapter(Noted).dump_json(noted))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except VrmatteError as error:
        sys.exit(f"error: {error}")
