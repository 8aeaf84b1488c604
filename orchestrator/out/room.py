"""Disk space of the output folder: the need of a run before it begins, and a watch during it.

Scratch means the segments of a video, which lie under ``work/`` until it is done. Together they are
about as large as the output that is joined from them, so while it is joined the disk holds source,
output and scratch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.fleet.jobs import Plan, SetAside, VideoJob
from orchestrator.words import readable_size
from pipeline.contract import EncodingSettings, VideoInfo
from pipeline.contract.encoder_points import Quality
from pipeline.deliverables.format import Format
from pipeline.deliverables.formats import FORMATS
from pipeline.errors import ErrorRecord, MachineError
from pipeline.files.disk import disk_error
from pipeline.text import printable

#: A VP9 matte as a share of its source, as expected. Measured at crf 30, realtime 5, on real
#: footage: RVM 1.0 (960x540), a noisy clean plate 1.0 (3840x1920); one third of the picture kept
#: 0.3, all of it 0.7. The demo clips, small and full of texture: 1.2 to 3.1. So source, output and
#: scratch are planned as 3 times the source, and are within 4 while it is half as much again.
EXPECTED_SHARE_OF_SOURCE = 1.0

#: Of sources that are hardly compressed it is less: bytes per pixel of the frame. RVM as above
#: 0.023, the plate 0.012, the demo clips 0.015 to 0.017; all of a soft picture (3840x2160) 0.006.
EXPECTED_BYTES_PER_PIXEL = 0.023

#: The same on the low side, a small person in a large picture (8 Mbit/s at 8192x4096 and 60
#: frames/s): a run is refused, and a video set aside, only when it surely cannot end well. What
#: turns out larger is met by a clean stop.
LEAST_BYTES_PER_PIXEL = 0.0005

#: A quality's files as a multiple of a balanced one's, by codec (docs/benchmarks/009-disk.md). Of
#: ProRes and of TIFF all are alike. NVENC's are taken for the software's: nobody has measured them.
SHARE_OF_QUALITY: Mapping[str, Mapping[Quality, float]] = {
    "vp9": {"draft": 0.9, "balanced": 1.0, "best": 1.2},
    "hevc": {"draft": 0.65, "balanced": 1.0, "best": 1.5},
    "h264": {"draft": 0.55, "balanced": 1.0, "best": 1.5},
    "av1": {"draft": 0.9, "balanced": 1.0, "best": 1.3},
}


def gigabytes(value: float) -> int:
    """Bytes of a setting in GB."""
    return round(value * 1e9)


def output_bytes(
    info: VideoInfo,
    num_frames: int,
    formats: Sequence[str] = ("webm",),
    encoding: EncodingSettings = EncodingSettings(),  # noqa: B008  it is frozen
    *,
    least: bool = False,
) -> int:
    """About how large the outputs of a video will be, or surely, all formats together, by its
    source and no look at its pictures; without sound."""
    pixels = info.even_width * info.even_height * num_frames
    rate = LEAST_BYTES_PER_PIXEL if least else EXPECTED_BYTES_PER_PIXEL
    share = num_frames / (info.num_frames * info.every)
    most = EXPECTED_SHARE_OF_SOURCE * info.size_bytes * share
    one = min(pixels * rate, most)
    return round(
        sum(
            row.size.picture_bytes(one, pixels, least) * _share_of_quality(row, encoding)
            for row in (FORMATS[name] for name in formats)
        )
    )


def _share_of_quality(row: Format, encoding: EncodingSettings) -> float:
    """Of one format; 1 where its size does not depend on the quality, or it is not known how."""
    shares = SHARE_OF_QUALITY.get(row.codec_for(encoding), {})
    return shares.get(encoding.quality, 1.0)


def scratch_bytes(
    info: VideoInfo,
    num_frames: int,
    formats: Sequence[str] = ("webm",),
    encoding: EncodingSettings = EncodingSettings(),  # noqa: B008  it is frozen
) -> int:
    """About how much a video will hold under ``work/`` besides the file that is joined."""
    return output_bytes(info, num_frames, formats, encoding)


def least_bytes(job: VideoJob) -> int:
    """What its outputs, and as much again its scratch, will surely take."""
    formats = job.settings.deliverables
    return output_bytes(job.shown, job.num_frames, formats, job.settings.encoding, least=True)


def check_room(
    jobs: Sequence[VideoJob], free_bytes: int, in_flight: int, reserve_bytes: int = 0
) -> None:
    """See to it that outputs and scratch fit.

    Args:
        jobs: those that are to be done.
        free_bytes: on the disk of the output folder, with what earlier runs left of these jobs.
        in_flight: videos that hold scratch at a time.
        reserve_bytes: what must remain free.

    Raises:
        MachineError: they surely do not fit.
    """
    sizes = sorted((least_bytes(job) for job in jobs), reverse=True)
    needed = sum(sizes) + sum(sizes[:in_flight]) + reserve_bytes
    if needed > free_bytes:
        raise MachineError(
            f"no room: the outputs, and the {readable_size(reserve_bytes)} that must stay free"
            f" (limits.reserve_gb), need at least {readable_size(needed)},"
            f" the disk of the output folder has {readable_size(free_bytes)} free",
            "make room, or choose another output folder",
        )


def within_scratch(plan: Plan, limit_bytes: int, is_done: Callable[[VideoJob], bool]) -> Plan:
    """Set aside the videos that alone would hold more scratch than is allowed."""
    kept, aside = [], list(plan.set_aside)
    for job in plan.jobs:
        least = least_bytes(job)
        if least <= limit_bytes or is_done(job):
            kept.append(job)
            continue
        error = ErrorRecord(
            "disk",
            f"its segments need at least {readable_size(least)} until they are joined,"
            f" limits.scratch_gb allows {limit_bytes / 1e9:g} GB",
            f"allow some {readable_size(max(least, job.scratch_bytes))}, or do a part of it"
            " (--max-frames)",
        )
        aside.append(SetAside(job.name, job.info.path, error))
    return replace(plan, jobs=tuple(kept), set_aside=tuple(aside))


@dataclass(frozen=True, slots=True)
class DiskWatch:
    """Looks whether the output folder is still the one that the run holds, and has room.

    Attributes:
        out: the folder.
        lock: its lock file.
        held: device and inode of the lock that the run holds.
        reserve_bytes: below this much free space no more tasks are begun.
    """

    out: Path
    lock: Path
    held: tuple[int, int]
    reserve_bytes: int

    def trouble(self) -> ErrorRecord | None:
        """Why no more can be written, or None. Two system calls: ask as often as you like."""
        shown = printable(str(self.out))
        try:
            status = self.lock.stat()
            disk = os.statvfs(self.lock)
        except OSError as error:
            return ErrorRecord.of(disk_error(error, printable(str(self.lock))))
        if (status.st_dev, status.st_ino) != self.held:
            return ErrorRecord(
                "disk",
                f"the output folder {shown} was replaced while the run used it",
                "leave it alone, then run again",
            )
        if disk.f_flag & os.ST_RDONLY:
            return ErrorRecord(
                "disk",
                f"the disk of the output folder {shown} is read-only now",
                "make it writable, then run again: it goes on where it stopped",
            )
        free = disk.f_bavail * disk.f_frsize
        if free < self.reserve_bytes:
            return ErrorRecord(
                "disk",
                f"the disk of the output folder {shown} has {free / 1e9:.2f} GB left,"
                f" less than limits.reserve_gb ({self.reserve_bytes / 1e9:g})",
                "make room on that disk, then run again: it goes on where it stopped",
            )
        return None
