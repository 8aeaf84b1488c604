"""What is to be done to one video, and what came of it: frozen values that cross processes.

No behaviour but checks and fingerprints. The groups of settings that decide pixels live here, one a
file, because the pipeline obeys them; the settings file that a person writes
(`orchestrator/config.py`) is made of the same classes.
"""

from pipeline.spec.encoding import EncodingSettings
from pipeline.spec.fingerprint import PIXEL_VERSION
from pipeline.spec.jobs import AS_ASKED, Concession, FinishJob, SegmentJob
from pipeline.spec.matting import MattingSettings
from pipeline.spec.processing import AdaptiveScaling, ProcessingSettings
from pipeline.spec.results import (
    BorderFrame,
    FlagKind,
    MatteFlag,
    OutputFile,
    SegmentResult,
    Side,
    StageName,
    StageTimes,
    StereoSummary,
)
from pipeline.spec.settings import VideoSettings
from pipeline.spec.stereo import StereoSettings
from pipeline.spec.streaming import StreamingSettings, chunk_frames, is_huge, segment_frames
from pipeline.spec.video import AudioTrack, ColorTags, Layout, ProjectionName, VideoInfo

__all__ = [
    "AS_ASKED",
    "PIXEL_VERSION",
    "AdaptiveScaling",
    "AudioTrack",
    "BorderFrame",
    "ColorTags",
    "Concession",
    "EncodingSettings",
    "FinishJob",
    "FlagKind",
    "Layout",
    "MatteFlag",
    "MattingSettings",
    "OutputFile",
    "ProcessingSettings",
    "ProjectionName",
    "SegmentJob",
    "SegmentResult",
    "Side",
    "StageName",
    "StageTimes",
    "StereoSettings",
    "StereoSummary",
    "StreamingSettings",
    "VideoInfo",
    "VideoSettings",
    "chunk_frames",
    "is_huge",
    "segment_frames",
]
