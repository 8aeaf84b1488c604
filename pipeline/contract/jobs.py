"""Jobs of a worker: `SegmentJob` computes one segment, `FinishJob` joins a video."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.contract.results import OutputFile, SegmentResult
from pipeline.contract.settings import VideoSettings
from pipeline.contract.video import VideoInfo


@dataclass(frozen=True, slots=True)
class SegmentJob:
    """One segment of one video.

    Attributes:
        number: position of the segment in the video's list, from 0.
        start, stop: frames of the output that it delivers, half open.
        index_path: the video's frame index (`pipeline/source/timing/frame_index.py`).
        work_dir: folder for this video under these settings; segment files and prepared data.
    """

    video: VideoInfo
    settings: VideoSettings
    number: int
    start: int
    stop: int
    index_path: str
    work_dir: str

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop <= self.video.num_frames:
            raise ValueError(f"segment {self.start}..{self.stop} of {self.video.num_frames} frames")

    @property
    def num_frames(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Concession:
    """How an attempt is made easier than the settings ask, after others failed.

    Attributes:
        cpu_decode: do not try the GPU's decoder.
        chunk_divisor: chunks for the network are this many times smaller.
    """

    cpu_decode: bool = False
    chunk_divisor: int = 1


AS_ASKED = Concession()


@dataclass(frozen=True, slots=True)
class FinishJob:
    """Join the segments of a video into its deliverables.

    Attributes:
        segments: the results of all segments, in order. One without files is taken from `former`.
        outputs: final path of each deliverable, in the settings' order.
        replaceable: those of `outputs` that are there and may be replaced.
        former: where a part of a finished video is made again, the finished files, one a
            deliverable; they bear the names in `outputs`.
    """

    video: VideoInfo
    settings: VideoSettings
    segments: tuple[SegmentResult, ...]
    outputs: tuple[str, ...]
    work_dir: str
    replaceable: tuple[str, ...] = ()
    former: tuple[OutputFile, ...] = ()
