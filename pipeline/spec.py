"""What is to be done to one video: frozen values, no behaviour but checks and fingerprints.

The groups of settings that decide pixels live here, because the pipeline obeys them; the settings
file that a person writes (`orchestrator/config.py`) is made of the same classes. A field whose
metadata says ``pixels=False`` changes how the work is done but never what comes out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import Field

from pipeline.quality import POINTS, NvencPreset, Preset, Quality, QualityPoint

Layout = Literal["mono", "sbs", "tb"]

#: How one eye's picture shows the directions around it; see `pipeline/projection.py`. "flat" is
#: what an ordinary lens gives.
ProjectionName = Literal[
    "flat",
    "equirect180",
    "equirect360",
    "fisheye180",
    "fisheye190",
    "fisheye200",
    "fisheye220",
]

#: Raised when the same settings begin to give other frames, so that old segments are not reused.
PIXEL_VERSION = 3

NO_PIXELS = {"pixels": False}


@dataclass(frozen=True, slots=True)
class ColorTags:
    """Colour tags by FFmpeg's names; ``"unspecified"`` where the file is silent."""

    matrix: str = "unspecified"
    primaries: str = "unspecified"
    transfer: str = "unspecified"
    full_range: bool = False


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """One audio stream.

    Attributes:
        stream: index of the stream in the file.
        start_s: when its first packet plays, in seconds after the first picture; may be negative.
        end_s: when its last packet ends, on the same clock.
    """

    stream: int
    codec: str
    channels: int
    sample_rate: int
    start_s: float
    end_s: float
    language: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What the probe found out about one source file.

    Attributes:
        path: absolute path.
        fingerprint: sha256 of the file's head and tail, hexadecimal.
        width, height: of the upright picture, in pixels, both eyes together, before padding.
        pixel_format: FFmpeg's name.
        frame_rate: of the output, frames a second, exact.
        num_frames: frames of the output at that constant rate.
        source_frames: frames in the file.
        rotation: degrees counter-clockwise that make the stored picture upright: 0, 90, 180, 270.
        layout_reason: why that layout was taken, for the person who reads the plan.
        right_first: the right eye is the left (or upper) half of the picture.
        projection, projection_reason: of each eye's picture, and why that one.
        notes: what the person should know (padding, variable rate, ...), one line each.
        stream: index of the picture's stream in the file.
        begin_s: time stamp of the first picture, in seconds of the file's own clock.
    """

    path: str
    size_bytes: int
    mtime_ns: int
    fingerprint: str
    container: str
    codec: str
    width: int
    height: int
    pixel_format: str
    bit_depth: int
    frame_rate: Fraction
    num_frames: int
    source_frames: int
    variable_rate: bool
    color: ColorTags
    rotation: int
    audio: tuple[AudioTrack, ...]
    layout: Layout
    layout_reason: str
    title: str = ""
    notes: tuple[str, ...] = ()
    stream: int = 0
    begin_s: float = 0.0
    right_first: bool = False
    projection: ProjectionName = "flat"
    projection_reason: str = ""

    @property
    def eyes(self) -> int:
        return 1 if self.layout == "mono" else 2

    @property
    def even_width(self) -> int:
        """Width of the frames on their way through the pipeline: 4:2:0 needs an even one."""
        return self.width + self.width % 2

    @property
    def even_height(self) -> int:
        return self.height + self.height % 2

    @property
    def duration_s(self) -> float:
        return float(self.num_frames / self.frame_rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingSettings:
    """How a video is cut into segments and fed through the stages."""

    segment_frames: Annotated[
        int | None,
        Field(
            ge=1,
            description="frames in a segment, the unit of work and of loss; 600, or half of a"
            " shorter video",
        ),
    ] = None
    warmup_frames: Annotated[
        int | None,
        Field(ge=0, description="frames computed and dropped before a segment; the model's own"),
    ] = None
    chunk_frames: Annotated[
        int | None,
        Field(ge=1, le=64, description="frames given to the network at once; 4, 2 or 1 by size"),
    ] = None
    lanes: Annotated[
        int | None, Field(ge=1, le=64, description="segments in flight in a worker; by machine")
    ] = field(default=None, metadata=NO_PIXELS)


LONGEST_SEGMENT = 600

#: The least that is worth a segment of its own: its warm-up of 24 frames is a quarter then.
_SHORTEST_SEGMENT = 100


def segment_frames(video: VideoInfo, streaming: StreamingSettings) -> int:
    """Frames in a segment; by the video's length where the settings are silent.

    A short video is halved, so that two lanes can share it. By its own length, not by that of the
    range that is asked for: seams do not move with the range.
    """
    if streaming.segment_frames is not None:
        return streaming.segment_frames
    half = -(-video.num_frames // 2)
    return min(LONGEST_SEGMENT, video.num_frames if half < _SHORTEST_SEGMENT else half)


#: Beyond that a frame is 100 MB and its planes of floats half a gigabyte.
_HUGE_PIXELS = 5760 * 2880


def is_huge(video: VideoInfo) -> bool:
    """Whether its frames are so large that memory counts more than the time it saves."""
    return video.even_width * video.even_height > _HUGE_PIXELS


#: Frames of a chunk have this many pixels together at the most where the settings leave it open:
#: a small network wants several frames at once, but at 8K one is enough work and memory.
CHUNK_PIXELS = 8192 * 4096
LONGEST_CHUNK = 4


def chunk_frames(video: VideoInfo, streaming: StreamingSettings) -> int:
    """Frames given to the network at once; by the video's size where the settings are silent."""
    if streaming.chunk_frames is not None:
        return streaming.chunk_frames
    fit = CHUNK_PIXELS // (video.even_width * video.even_height)
    return max(1, min(LONGEST_CHUNK, fit))


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveScaling:
    """How the network's size is chosen, once for each video, by a trial.

    Sizes are tried from `max_scale` down, each `scale_factor` times the one before, until the
    network keeps its device busy for no more than `target_gpu_usage` of the time, or `min_scale` is
    reached. See `orchestrator/balance.py`.
    """

    target_gpu_usage: Annotated[float, Field(gt=0, le=1)] = 0.9
    min_scale: Annotated[float, Field(gt=0, le=1)] = 0.125
    max_scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    scale_factor: Annotated[float, Field(gt=0, lt=1)] = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingSettings:
    """How the network is run."""

    scale_factor: Annotated[
        float | None,
        Field(gt=0, le=1, description="network input size as a share of an eye; by size"),
    ] = None
    adaptive_scaling: Annotated[
        AdaptiveScaling | None,
        Field(
            description="choose that size by a trial of each video: {target_gpu_usage: 0.9,"
            " min_scale: 0.125, max_scale: 1.0, scale_factor: 0.7} is the largest size, from"
            " max_scale down in steps of scale_factor, that keeps the device busy for"
            " target_gpu_usage of the time or less"
        ),
    ] = None
    precision: Annotated[
        Literal["auto", "fp32", "fp16"],
        Field(description="auto: fp16 on a GPU, fp32 on the CPU"),
    ] = "auto"
    engine: Annotated[
        Literal["auto", "torch", "openvino"],
        Field(description="what runs rvm; auto: openvino on a CPU where it is installed"),
    ] = "auto"
    cuda_graphs: Annotated[
        Literal["auto", "off"],
        Field(description="rvm on a GPU: launch its network as a whole where that alters no bit"),
    ] = field(default="auto", metadata=NO_PIXELS)
    intra_op_threads: Annotated[
        int, Field(ge=1, le=256, description="CPU threads of one tensor operation; alters bits")
    ] = 1
    decode_threads: Annotated[
        int, Field(ge=0, le=64, description="CPU threads of one decoder; 0 lets FFmpeg choose")
    ] = field(default=2, metadata=NO_PIXELS)


@dataclass(frozen=True, slots=True, kw_only=True)
class MattingSettings:
    """Which model cuts the subject out, and its options."""

    model: Annotated[
        str,
        Field(description="rvm, sam2, sam2+rvm, chroma, plate, depth, or one that is installed"),
    ] = "rvm"
    rvm_variant: Annotated[
        Literal["mobilenetv3", "resnet50"], Field(description="RVM network: fast, or finer")
    ] = "mobilenetv3"
    rvm_repo: Annotated[
        str, Field(description="RVM code: owner/name:ref for torch.hub, or a local folder")
    ] = "PeterL1n/RobustVideoMatting:53d74c6826735f01f4406b5ca9075eee27bec094"
    rvm_weights: Annotated[
        str | None, Field(description="RVM weights: a local .pth file, or an https address")
    ] = None
    rvm_weights_sha256: Annotated[
        str | None,
        Field(pattern="^[0-9a-fA-F]{64}$", description="sha256 the weights must have"),
    ] = None
    sam2_size: Annotated[
        Literal["tiny", "small", "base_plus", "large"], Field(description="SAM 2.1 network")
    ] = "small"
    sam2_checkpoint: Annotated[
        str | None,
        Field(description="SAM 2.1 weights: a local .pt file, or an https address"),
    ] = None
    sam2_checkpoint_sha256: Annotated[
        str | None,
        Field(pattern="^[0-9a-fA-F]{64}$", description="sha256 those weights must have"),
    ] = None
    sam2_image_size: Annotated[
        int,
        Field(
            ge=64,
            le=1024,
            multiple_of=64,
            description="side of SAM 2's input in pixels; below 1024 it is faster, and coarser",
        ),
    ] = 1024
    sam2_compile: Annotated[
        bool,
        Field(description="compile SAM 2 for the GPU: slow to begin, then faster; alters bits"),
    ] = False
    sam2_seed: Annotated[
        Literal["rvm", "depth", "plate", "chroma"],
        Field(description="model whose matte tells SAM 2 who the subject is"),
    ] = "rvm"
    sam2_edge: Annotated[
        Literal["rvm", "depth", "plate", "chroma"],
        Field(description="sam2+rvm: model that draws the edge of the subject that SAM 2 follows"),
    ] = "rvm"
    # What the files of prompts say is in `VideoSettings.prompts_sha256`, whatever they are called.
    prompts: Annotated[
        str | None,
        Field(
            description="what tells sam2 who the subject is: a file for all videos, or a folder of"
            " files named STEM.prompts.yaml; null: such a file beside the video, if there is one"
        ),
    ] = field(default=None, metadata=NO_PIXELS)
    dlc_csv: Annotated[
        str | None,
        Field(description="the same from a table of DeepLabCut's; goes before other prompts"),
    ] = field(default=None, metadata=NO_PIXELS)
    dlc_bodyparts: Annotated[
        tuple[str, ...],
        Field(description="body parts that are taken from the table; []: all of every animal"),
    ] = field(default=(), metadata=NO_PIXELS)
    dlc_likelihood: Annotated[
        float,
        Field(ge=0, le=1, description="body parts less likely than this, 0 to 1, are left out"),
    ] = field(default=0.6, metadata=NO_PIXELS)
    continuous_correction: Annotated[
        bool,
        Field(description="sam2: the seed model points the subject out again inside a segment"),
    ] = False
    correction_interval: Annotated[
        int, Field(ge=1, description="frames from one correction to the next, by it or by dlc_csv")
    ] = 120
    chroma_color: Annotated[
        str,
        Field(
            pattern="^(auto|green|blue|#[0-9a-fA-F]{6})$",
            description="screen colour: auto, green, blue or #rrggbb",
        ),
    ] = "auto"
    plate_image: Annotated[
        str | None,
        Field(description="picture of the empty scene, as wide as the video; found if none"),
    ] = None
    plate_image_sha256: Annotated[
        str | None,
        Field(pattern="^[0-9a-fA-F]{64}$", description="sha256 that picture must have"),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StereoSettings:
    """How the mattes of the two eyes are made to agree; see `pipeline/refine/stereo.py`."""

    mode: Annotated[
        Literal["independent", "master_slave", "fuse"],
        Field(
            description="independent: each eye as it is; master_slave: one eye mends the other; "
            "fuse: whichever eye the pictures bear out mends the other"
        ),
    ] = "fuse"
    master_eye: Annotated[
        Literal["left", "right"], Field(description="the eye that is believed in master_slave")
    ] = "left"
    consistency_threshold: Annotated[
        float,
        Field(
            ge=0, le=1, description="agreement of the eyes, 0 to 1, below which a frame is mended"
        ),
    ] = 0.99
    disparity_correction: Annotated[
        float,
        Field(
            ge=-4096,
            le=4096,
            description="pixels added to every disparity, for rigs with a constant offset",
        ),
    ] = 0.0
    baseline: Annotated[
        float, Field(gt=0, le=10, description="metres between the lenses, for the depth reported")
    ] = 0.064
    focal_length: Annotated[
        float | None,
        Field(gt=0, description="pixels, for the depth reported; by the field of view"),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingSettings:
    """How the deliverables are encoded."""

    # Its numbers alter pixels, and they are part of the fingerprint; the word is not.
    quality: Annotated[
        Quality,
        Field(
            description="draft (fast, coarse), balanced, or best (slow, fine): what every setting "
            'below that is "by quality" becomes; a value given there goes before it'
        ),
    ] = field(default="balanced", metadata=NO_PIXELS)
    vp9_crf: Annotated[
        int | None, Field(ge=0, le=63, description="VP9: lower is better, larger; by quality")
    ] = None
    vp9_deadline: Annotated[
        Literal["realtime", "good"] | None,
        Field(description="VP9: realtime, or good (slower, smaller); by quality"),
    ] = None
    vp9_cpu_used: Annotated[
        int | None, Field(ge=0, le=8, description="VP9 speed: higher is faster; by quality")
    ] = None
    vp9_threads: Annotated[
        int, Field(ge=1, le=64, description="threads of one VP9 encoder; may alter bits")
    ] = 4
    keyframe_s: Annotated[
        float, Field(gt=0, le=60, description="seconds between keyframes, for seeking")
    ] = 2.0
    opus_kbps_per_channel: Annotated[
        int, Field(ge=16, le=256, description="kbit/s a channel of audio that must be converted")
    ] = 80
    aac_kbps_per_channel: Annotated[
        int,
        Field(ge=16, le=256, description="the same for MP4, which takes AAC, in kbit/s a channel"),
    ] = 96
    screen_color: Annotated[
        str,
        Field(pattern="^#[0-9a-fA-F]{6}$", description="colour behind a greenscreen, #rrggbb"),
    ] = "#2BE640"
    codec: Annotated[
        Literal["hevc", "h264", "av1"],
        Field(description="codec of greenscreen and matte: hevc, h264 or av1"),
    ] = "hevc"
    encoder: Annotated[
        Literal["auto", "nvenc", "software"],
        Field(description="auto: NVENC where it works; software: x264, x265, SVT-AV1"),
    ] = "auto"
    nvenc_input: Annotated[
        Literal["auto", "gpu", "pipe"],
        Field(
            description="how a greenscreen reaches NVENC: gpu (never leaves the GPU) or pipe; "
            "auto: gpu where a trial shows that its colours are right"
        ),
    ] = "auto"
    hevc_preset: Annotated[
        Preset | None,
        Field(description="x265 speed: ultrafast, veryfast, fast, medium or slow; by quality"),
    ] = None
    hevc_crf: Annotated[
        int | None, Field(ge=0, le=51, description="x265: lower is better, larger; by quality")
    ] = None
    h264_preset: Annotated[
        Preset | None,
        Field(description="x264 speed: ultrafast, veryfast, fast, medium or slow; by quality"),
    ] = None
    h264_crf: Annotated[
        int | None, Field(ge=0, le=51, description="x264: lower is better, larger; by quality")
    ] = None
    av1_preset: Annotated[
        Preset | None,
        Field(description="SVT-AV1 speed: ultrafast, veryfast, fast, medium or slow; by quality"),
    ] = None
    av1_crf: Annotated[
        int | None, Field(ge=1, le=63, description="SVT-AV1: lower is better, larger; by quality")
    ] = None
    nvenc_preset: Annotated[
        NvencPreset | None, Field(description="NVENC speed: p1 (fast) to p7 (slow); by quality")
    ] = None
    nvenc_cq: Annotated[
        int | None, Field(ge=1, le=51, description="NVENC: lower is better, larger; by quality")
    ] = None
    encoder_threads: Annotated[
        int, Field(ge=1, le=64, description="threads of one software encoder; alters bits")
    ] = 4
    tiff_pages: Annotated[
        Literal["alpha", "labels"],
        Field(
            description="what a page of tiff holds: alpha, 0 to 255, or labels: 0 where nobody is,"
            " n where object n of the prompts is (1 where there is one)"
        ),
    ] = "alpha"

    def point(self) -> QualityPoint:
        """How every encoder is set: by `quality`, but for what is set by hand."""
        names = [f.name for f in dataclasses.fields(QualityPoint)]
        by_hand = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return dataclasses.replace(POINTS[self.quality], **by_hand)

    def spelled_out(self) -> EncodingSettings:
        """The same with nothing left to `quality`."""
        return dataclasses.replace(self, **dataclasses.asdict(self.point()))


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSettings:
    """Everything but the source that decides what comes out of one video.

    Attributes:
        deliverables: names of the formats to make.
        start_frame, max_frames: the range, in frames of the output; None means to the end.
        prompts_sha256: of what is said of the subject (`pipeline/prompt_store.py`); None: nothing.
    """

    deliverables: tuple[str, ...] = ("webm",)
    start_frame: int = 0
    max_frames: int | None = None
    streaming: StreamingSettings = StreamingSettings()
    processing: ProcessingSettings = ProcessingSettings()
    matting: MattingSettings = MattingSettings()
    stereo: StereoSettings = StereoSettings()
    encoding: EncodingSettings = EncodingSettings()
    prompts_sha256: str | None = None

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when the output would."""
        decided = dataclasses.replace(self, encoding=self.encoding.spelled_out())
        text = json.dumps([PIXEL_VERSION, _pixel_fields(decided)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _pixel_fields(value: Any) -> Any:
    if not dataclasses.is_dataclass(value):
        return value
    return {
        f.name: _pixel_fields(getattr(value, f.name))
        for f in dataclasses.fields(value)
        if f.metadata.get("pixels", True)
    }


@dataclass(frozen=True, slots=True)
class SegmentJob:
    """One segment of one video.

    Attributes:
        number: position of the segment in the video's list, from 0.
        start, stop: frames of the output that it delivers, half open.
        index_path: the video's frame index (`pipeline/frame_index.py`).
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
class StereoSummary:
    """How the eyes agreed in a run of frames; see `pipeline/refine/stereo.py`.

    Attributes:
        num_frames: how many were looked at.
        mended_frames: numbers of those that were changed.
        mean_agreement: 0..1, before mending; None without frames.
        subject_depth_m: median distance of the subject in metres; None where it is not known.
    """

    num_frames: int
    mended_frames: tuple[int, ...]
    mean_agreement: float | None
    subject_depth_m: float | None


FlagKind = Literal["empty", "eyes_disagree", "jump", "flicker", "touches_edge"]

#: Of an eye's picture, at which a subject may be cut off.
Side = Literal["left", "right", "top"]


@dataclass(frozen=True, slots=True)
class MatteFlag:
    """A run of frames whose matte deserves a look; see `pipeline/matte_flags.py`.

    Attributes:
        first_frame, last_frame: numbers in the source, both included.
        eye: 0 (left) or 1 where it is only that one of two; None otherwise.
        value: the worst that was measured, in the kind's own measure.
        side: for touches_edge, where that was; None otherwise.
    """

    kind: FlagKind
    first_frame: int
    last_frame: int
    eye: int | None
    value: float
    side: Side | None = None


@dataclass(frozen=True, slots=True)
class BorderFrame:
    """One of the first or last frames of a segment, to be compared across its border.

    Attributes:
        frame: number in the source.
        area: the matte's share of each eye's picture, 0..1.
        cut: the picture is another one than in the frame before.
    """

    frame: int
    area: tuple[float, ...]
    cut: bool = False


StageName = Literal["decode", "matte", "planes", "encode"]


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Seconds that each stage of the way of a frame was at work; see `pipeline/stage_clock.py`.

    Attributes:
        wall_s: from the segment's beginning to its files' names; of several, added up.
        decode_s: from the file to RGB.
        matte_s: the model, and what is made of its matte before it is shown.
        planes_s: what the encoders are given, and its copy to the host.
        encode_s: writing, checking and naming the files.
    """

    wall_s: float
    decode_s: float
    matte_s: float
    planes_s: float
    encode_s: float


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """What a finished segment left.

    Attributes:
        files: one a deliverable, in the settings' order.
        digests: sha256 of each of `files` when it was committed, hexadecimal.
        concealed_frames: frames that the decoder never gave, filled with their neighbour.
        decoder: what decoded, in words ("NVDEC", "CPU", "CPU: Video not supported").
        stereo: how the eyes agreed; None where there is one, or nobody looked.
        flags: by kind and frame; those near the segment's ends are not final before they are
            joined with its neighbours' (`orchestrator/flags.py`).
        dropped_flags: how many there were beside them; the worst are kept.
        area: the matte's share of the picture, means over equal parts of the segment.
        border: its first and last frames.
        stages: what took its time; None where nobody measured. Nothing of what makes two results
            the same.
    """

    files: tuple[str, ...]
    num_frames: int
    concealed_frames: int = 0
    decoder: str = ""
    digests: tuple[str, ...] = ()
    stereo: StereoSummary | None = None
    flags: tuple[MatteFlag, ...] = ()
    dropped_flags: int = 0
    area: tuple[float, ...] = ()
    border: tuple[BorderFrame, ...] = ()
    stages: StageTimes | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class FinishJob:
    """Join the segments of a video into its deliverables.

    Attributes:
        segments: the results of all segments, in order.
        outputs: final path of each deliverable, in the settings' order.
    """

    video: VideoInfo
    settings: VideoSettings
    segments: tuple[SegmentResult, ...]
    outputs: tuple[str, ...]
    work_dir: str


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A published deliverable."""

    deliverable: str
    path: str
    size_bytes: int
    num_frames: int
