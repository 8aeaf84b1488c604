"""Frozen values that cross processes: jobs, settings, results of one video.

No behaviour but checks and fingerprints. The groups of settings that decide pixels live here, one a
file, because the pipeline obeys them; the settings file that a person writes
(`orchestrator/settings/settings.py`) is made of the same classes.
"""

from pipeline.contract.edges import AS_MATTED, EdgeSettings, KeepOut
from pipeline.contract.encoding import EncodingSettings
from pipeline.contract.enhance import AS_SOURCE, EnhanceSettings
from pipeline.contract.fingerprint import PIXEL_VERSION
from pipeline.contract.jobs import AS_ASKED, Concession, FinishJob, SegmentJob
from pipeline.contract.matting import NO_MODEL, OPTIONS_CLASS, MattingSettings, ModelOptions
from pipeline.contract.processing import AdaptiveScaling, AutoOrOff, ProcessingSettings
from pipeline.contract.results import Finding, OutputFile, SegmentResult
from pipeline.contract.settings import AudioMode, VideoSettings
from pipeline.contract.stereo import StereoSettings
from pipeline.contract.streaming import StreamingSettings, chunk_frames, is_huge, segment_frames
from pipeline.contract.video import (
    Ambisonics,
    AudioTrack,
    Bounds,
    ColorTags,
    Crop,
    EyeShape,
    FirstField,
    Layout,
    MasteringData,
    ProjectionName,
    StoredView,
    VideoInfo,
    eye_size,
)

__all__ = [
    "AS_ASKED",
    "AS_MATTED",
    "AS_SOURCE",
    "NO_MODEL",
    "OPTIONS_CLASS",
    "PIXEL_VERSION",
    "AdaptiveScaling",
    "Ambisonics",
    "AudioMode",
    "AudioTrack",
    "AutoOrOff",
    "Bounds",
    "ColorTags",
    "Concession",
    "Crop",
    "EdgeSettings",
    "EncodingSettings",
    "EnhanceSettings",
    "EyeShape",
    "Finding",
    "FinishJob",
    "FirstField",
    "KeepOut",
    "Layout",
    "MasteringData",
    "MattingSettings",
    "ModelOptions",
    "OutputFile",
    "ProcessingSettings",
    "ProjectionName",
    "SegmentJob",
    "SegmentResult",
    "StereoSettings",
    "StoredView",
    "StreamingSettings",
    "VideoInfo",
    "VideoSettings",
    "chunk_frames",
    "eye_size",
    "is_huge",
    "segment_frames",
]
