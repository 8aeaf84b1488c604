"""`VideoJob` and `Plan`: what is made of each video, in segments, and where."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.contract import (
    FinishJob,
    OutputFile,
    SegmentJob,
    SegmentResult,
    VideoInfo,
    VideoSettings,
)
from pipeline.errors import ErrorRecord
from pipeline.stages.catalogue import output_video


@dataclass(frozen=True, slots=True)
class VideoJob:
    """A planned video.

    Attributes:
        id: names the source (path, size, mtime, fingerprint); a folder name under ``work/``.
        name: what a person calls it: its path relative to the input folder.
        outputs: final path of each deliverable, in the settings' order.
        segments: half-open runs of output frames, in order, covering the range without a gap.
        index_path: the video's frame index, shared by all settings.
        work_dir: folder of segment files; named by the source and the settings, so that changed
            settings never meet old segments.
        scratch_bytes: what it is expected to hold under ``work/`` at the most.
        ram_bytes, vram_bytes: what one of its segments is expected to need.
        differing: settings that are not as for most videos, by ``group.key``, as plain values.
        model_why: why this model was chosen for it; empty where a person named it.
        replaceable: those of `outputs` that are there and may be replaced.
        software_why: why the CPU encodes it though NVENC was not ruled out; empty otherwise.
        left_out: formats that were asked for and cannot be made of this video.
        former: where a part of a finished video is made again, its finished files.
        kept: of these, what is known of the segments that are not made again, by number; their
            results name no files.
    """

    id: str
    name: str
    info: VideoInfo
    settings: VideoSettings
    outputs: tuple[str, ...]
    segments: tuple[tuple[int, int], ...]
    index_path: str
    work_dir: str
    scratch_bytes: int = 0
    ram_bytes: int = 0
    vram_bytes: int = 0
    differing: tuple[tuple[str, object], ...] = field(default=(), hash=False)
    model_why: str = ""
    replaceable: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    software_why: str = ""
    former: tuple[OutputFile, ...] = ()
    kept: tuple[tuple[int, SegmentResult], ...] = ()

    @property
    def shown(self) -> VideoInfo:
        """The video as formats are given it: with the size that its stages give it."""
        return output_video(self.info, self.settings)

    @property
    def num_frames(self) -> int:
        return self.segments[-1][1] - self.segments[0][0]

    def segment_job(self, number: int) -> SegmentJob:
        start, stop = self.segments[number]
        return SegmentJob(
            self.info, self.settings, number, start, stop, self.index_path, self.work_dir
        )

    def finish_job(self, results: tuple[SegmentResult, ...]) -> FinishJob:
        return FinishJob(
            self.info,
            self.settings,
            results,
            self.outputs,
            self.work_dir,
            self.replaceable,
            self.former,
        )


@dataclass(frozen=True, slots=True)
class SetAside:
    """A source that is not processed, and why."""

    name: str
    path: str
    error: ErrorRecord


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in order, and what cannot be."""

    jobs: tuple[VideoJob, ...]
    set_aside: tuple[SetAside, ...]
