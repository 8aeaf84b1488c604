"""Snapshots, jobs and probes that tests of the orchestrator make up."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from orchestrator.snapshot import RunningTask, Snapshot, VideoState, WorkerState
from pipeline.errors import ErrorRecord, InputError
from pipeline.spec import ColorTags, Layout, VideoInfo
from workers.messages import TaskId


def video_info(path: Path, num_frames: int = 240, layout: Layout | None = None) -> VideoInfo:
    status = path.stat()
    return VideoInfo(
        path=str(path),
        size_bytes=status.st_size,
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
    )


@dataclass
class ProbeDouble:
    """Answers by the file's name, and counts."""

    num_frames: int = 240
    broken: tuple[str, ...] = ()
    probed: list[str] = field(default_factory=list)

    def __call__(
        self, path: Path, index_path: Path, *, layout: Layout | None, deadline_s: float | None
    ) -> VideoInfo:
        self.probed.append(path.name)
        if path.name in self.broken:
            raise InputError(f"{path} holds no video", "leave it out of the input")
        index_path.write_text("{}")
        return video_info(path, self.num_frames, layout)


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
