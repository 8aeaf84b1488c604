"""Snapshots, jobs and probes that tests of the orchestrator make up."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from orchestrator.fleet.snapshot import RunningTask, Snapshot, VideoState, WorkerState
from pipeline.contract import ColorTags, Layout, ProjectionName, VideoInfo
from pipeline.errors import ErrorRecord, InputError
from tests.indexes import plain_index
from workers.messages import TaskId


def video_info(
    path: Path,
    num_frames: int = 240,
    layout: Layout | None = None,
    size_bytes: int | None = None,
) -> VideoInfo:
    status = path.stat()
    return VideoInfo(
        path=str(path),
        size_bytes=status.st_size if size_bytes is None else size_bytes,
        mtime_ns=status.st_mtime_ns,
        fingerprint="0" * 64,
        container="mov,mp4",
        codec="h264",
        width=1920,
        height=960,
        pixel_format="yuv420p",
        bit_depth=8,
        frame_rate=Fraction(30000, 1001),
        num_frames=num_frames,
        source_frames=num_frames,
        variable_rate=False,
        color=ColorTags(),
        rotation=0,
        audio=(),
        layout=layout or "sbs",
        layout_reason="asked for" if layout else "2:1",
        projection="equirect180",
        projection_reason="2:1",
    )


@dataclass
class ProbeDouble:
    """Answers by the file's name, and counts; `size_bytes` is said of files, if given."""

    num_frames: int = 240
    broken: tuple[str, ...] = ()
    size_bytes: int | None = None
    probed: list[str] = field(default_factory=list)

    def __call__(
        self,
        path: Path,
        index_path: Path,
        *,
        layout: Layout | None,
        deadline_s: float | None,
        projection: ProjectionName | None = None,
    ) -> VideoInfo:
        self.probed.append(path.name)
        if path.name in self.broken:
            raise InputError(f"{path} holds no video", "leave it out of the input")
        info = video_info(path, self.num_frames, layout, self.size_bytes)
        stamps = np.arange(self.num_frames, dtype=np.int64)
        keys = np.zeros(1, dtype=np.int64)
        rate = info.frame_rate
        plain_index(1 / rate, stamps, keys, rate, self.num_frames).save(index_path)
        return info


def video(
    name: str = "talk_LR_180.mp4",
    *,
    id: str = "v0",
    status: str = "pending",
    frames_done: int = 0,
    segments_done: int = 0,
    started_at: float | None = None,
    ended_at: float | None = None,
    retries: int = 0,
    earlier: bool = False,
    error: ErrorRecord | None = None,
) -> VideoState:
    return VideoState(
        id=id,
        name=name,
        status=status,  # type: ignore[arg-type]
        num_frames=240,
        frames_done=frames_done,
        num_segments=4,
        segments_done=segments_done,
        retries=retries,
        error=error,
        outputs=(),
        earlier=earlier,
        started_at=started_at,
        ended_at=ended_at,
        work_s=0.0,
        concealed_frames=0,
        decoders=(),
    )


def running(segment: int | None, frames_done: int = 0, video: str = "v0") -> RunningTask:
    return RunningTask(TaskId(video, segment), 1, 0 if segment is None else 60, frames_done)


def worker(
    id: int = 0,
    *,
    status: str = "ready",
    tasks: tuple[RunningTask, ...] = (),
    faults: int = 0,
    error: ErrorRecord | None = None,
) -> WorkerState:
    return WorkerState(
        id=id,
        life=1 + faults,
        status=status,  # type: ignore[arg-type]
        device="NVIDIA L4 (cuda:0)",
        lanes=2,
        faults=faults,
        tasks=tasks,
        error=error,
    )


def snapshot(
    now: float, videos: tuple[VideoState, ...], *workers: WorkerState, stopping: bool = False
) -> Snapshot:
    return Snapshot(now, videos, workers, stopping)
