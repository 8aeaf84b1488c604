"""The cost model of a video: its cost class (videos that share a trial), pixels, joining time."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.estimate.trial import StageRequest
from orchestrator.fleet.jobs import VideoJob
from orchestrator.fleet.snapshot import Snapshot

#: Joining a video of no frames, and a pixel of each frame, until one has been seen: half a second
#: for 120 frames of 1280x640.
JOINING_S, JOINING_PIXEL_S = 0.4, 1.2e-9

#: A frame of four times the pixels takes 2.8 times as long: a part of each does not grow with it.
#: CPU seconds of a frame at 640x320, 1280x640 and 2560x1280: depth 0.120, 0.370, 0.961
#: (docs/benchmarks/007-time-to-go.md).
GROWTH = 0.75

Kind = tuple[object, ...]


def kind_of(what: VideoJob | StageRequest) -> Kind:
    """Videos of one kind cost the same a frame."""
    info, settings = what.info, what.settings
    return (
        (info.even_width, info.even_height, info.eyes, info.codec, info.bit_depth),
        (settings.matting, settings.processing, settings.stereo),
        (settings.deliverables, settings.encoding),
    )


def pixels(job: VideoJob) -> int:
    """Pixels of one frame, both eyes."""
    return job.info.even_width * job.info.even_height


def frame_work(job: VideoJob) -> float:
    """What a frame takes by its size alone, 1 for a million pixels: a guess for kinds not seen."""
    return float((pixels(job) / 1e6) ** GROWTH)


def share_done(jobs: Sequence[VideoJob], snapshot: Snapshot) -> float:
    """Of the pixels of all videos that have not been given up, 0..1."""
    # There may be jobs that came after the snapshot.
    alive = [(j, v) for j, v in zip(jobs, snapshot.videos, strict=False) if v.status != "failed"]
    total = sum(pixels(job) * video.num_frames for job, video in alive)
    done = sum(pixels(job) * video.frames_done for job, video in alive)
    return done / total if total else 1.0


def joining_seconds(job: VideoJob) -> float:
    """How long joining its segments takes, as a guess."""
    return JOINING_S + job.num_frames * pixels(job) * JOINING_PIXEL_S
