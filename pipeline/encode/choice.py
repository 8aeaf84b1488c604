"""The encoders of H.264, HEVC and AV1: their options, and the largest picture each takes.

Files of different encoders cannot be joined, and their bits differ: which one it is, is decided
once, before a video is planned (`pipeline/deliverables/fit.py`), and from then on the settings say
it. A worker never decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.contract import EncodingSettings, MasteringData
from pipeline.contract.nvenc_ways import PIPES, named, nvenc_way
from pipeline.encode.ffmpeg_pipe import raw_command
from pipeline.encode.hdr import svt_parameters, x265_parameters
from pipeline.encode.raw_pictures import RawCommand

Codec = Literal["h264", "hevc", "av1"]
Family = Literal["nvenc", "software"]

_NAMES = {"h264": "H.264", "hevc": "HEVC", "av1": "AV1"}
_SOFTWARE = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1"}
_SOFTWARE_WORDS = {"h264": "x264", "hevc": "x265", "av1": "SVT-AV1"}
_SVT_PRESETS = {"ultrafast": 12, "veryfast": 10, "fast": 8, "medium": 6, "slow": 4}


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """The largest picture, in pixels, and the shortest side of a small one."""

    width: int
    height: int
    area: int
    least: int = 2


#: Software: the highest levels that players know of: H.264 6.2 (Rec. ITU-T H.264, table A-1), HEVC
#: 6.2 (H.265, A.4.1), AV1 6.3 (AV1 specification, annex A.3). NVENC: NVIDIA's support matrix.
LIMITS: dict[tuple[Codec, Family], SizeLimit] = {
    ("h264", "software"): SizeLimit(16384, 16384, 139_264 * 256),
    ("hevc", "software"): SizeLimit(16888, 16888, 35_651_584, least=16),
    ("av1", "software"): SizeLimit(16384, 8704, 35_651_584),
    ("h264", "nvenc"): SizeLimit(4096, 4096, 4096 * 4096),
    ("hevc", "nvenc"): SizeLimit(8192, 8192, 8192 * 8192),
    ("av1", "nvenc"): SizeLimit(8192, 8192, 8192 * 8192),
}


def family(encoding: EncodingSettings) -> Family:
    """What encodes. Where nobody settled ``auto``, it is the software: never a look at a GPU."""
    return "nvenc" if encoding.encoder == "nvenc" else "software"


def encoder_words(encoding: EncodingSettings, *, from_gpu: bool = False) -> str:
    """Codec and encoder, for people; of NVENC also whose it is, where that is decided.

    Args:
        from_gpu: the format's encoder can take pictures from the GPU's memory.
    """
    by = software_words(encoding)
    if family(encoding) == "nvenc":
        in_gpu = from_gpu and encoding.nvenc_input == "gpu"
        way = "gpu" if in_gpu else encoding.nvenc_pipe
        by = "NVENC" if way not in ("gpu", *PIPES) else f"NVENC by {nvenc_way(way).words}"
    return f"{encoding.codec.upper()} ({by})"


def software_words(encoding: EncodingSettings) -> str:
    """The encoder of that codec on the CPU, for people."""
    return _SOFTWARE_WORDS[encoding.codec]


def pipe_command(encoding: EncodingSettings) -> RawCommand:
    """What makes the command of an encoder that reads a pipe."""
    if family(encoding) == "nvenc" and encoding.nvenc_pipe in PIPES:
        command: RawCommand = named(nvenc_way(encoding.nvenc_pipe).command)
        return command
    return raw_command


def size_problem(encoding: EncodingSettings, width: int, height: int) -> tuple[str, str] | None:
    """Why no picture of that size can be encoded so, and what to set instead; None if it can."""
    codec, by = encoding.codec, family(encoding)
    limit = LIMITS[codec, by]
    if _fits(limit, width, height):
        return None
    maker = "NVENC" if by == "nvenc" else "any level of it"
    others = [
        f"encoding.codec: {other}"
        for other in ("hevc", "av1", "h264")
        if other != codec and _fits(LIMITS[other, by], width, height)
    ]
    if by == "nvenc" and _fits(LIMITS[codec, "software"], width, height):
        others.append("encoding.encoder: software")
    advice = f"set {' or '.join(others)}" if others else "scale the source"
    if min(width, height) < limit.least:
        return f"{width}x{height} is too small for {_NAMES[codec]}", advice
    most = f"{limit.width}x{limit.height}, {limit.area / 1e6:.1f} megapixels at most"
    return f"{width}x{height} is too large for {_NAMES[codec]} by {maker} ({most})", advice


def _fits(limit: SizeLimit, width: int, height: int) -> bool:
    if min(width, height) < limit.least:
        return False
    return width <= limit.width and height <= limit.height and width * height <= limit.area


def encoder_options(
    encoding: EncodingSettings,
    keyframe_interval: int,
    *,
    deep: bool = False,
    mastering: MasteringData | None = None,
) -> list[str]:
    """ffmpeg's options for one segment of 4:2:0 pictures, such that segments can be joined.

    Every group of pictures is closed and as long as asked for, so that frame k * interval is a
    keyframe; parameter sets follow from the settings alone. There are no B frames: time stamps are
    then those of decoding, a segment may have one frame only, no edit list shifts the picture
    against the sound in players that ignore it, and a decoder in a headset holds fewer pictures.

    Args:
        deep: 10 bits a sample instead of 8.
        mastering: written where the encoder can, which the format's row says.
    """
    gop = str(keyframe_interval)
    if family(encoding) == "nvenc":
        point = encoding.point()
        options = [
            *("-c:v", f"{encoding.codec}_nvenc", "-preset", point.nvenc_preset, "-tune", "hq"),
            *("-rc", "vbr", "-cq", str(point.nvenc_cq), "-b:v", "0"),
            *("-bf", "0", "-g", gop, "-no-scenecut", "1", "-forced-idr", "1", "-strict_gop", "1"),
        ]
    else:
        options = ["-c:v", _SOFTWARE[encoding.codec], *_software_options(encoding, gop, mastering)]
    if encoding.codec == "hevc":
        options += ["-tag:v", "hvc1"]  # players of Apple take no other
    planes = "yuv420p"
    if deep:  # NVENC takes no other of 10 bits
        planes = "p010le" if family(encoding) == "nvenc" else "yuv420p10le"
    return [*options, "-pix_fmt", planes]


def _software_options(
    encoding: EncodingSettings, gop: str, mastering: MasteringData | None
) -> list[str]:
    threads = str(encoding.encoder_threads)
    point = encoding.point()
    if encoding.codec == "h264":
        return [
            *("-preset", point.h264_preset, "-crf", str(point.h264_crf), "-threads", threads),
            *("-g", gop, "-keyint_min", gop, "-sc_threshold", "0", "-bf", "0", "-flags", "+cgop"),
        ]
    if encoding.codec == "hevc":
        # Frame threads would follow from the machine where they are not given.
        parameters = (
            f"log-level=error:info=0:pools={threads}:frame-threads=2:bframes=0"
            f":keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0{x265_parameters(mastering)}"
        )
        quality = ["-preset", point.hevc_preset, "-crf", str(point.hevc_crf)]
        return [*quality, "-x265-params", parameters]
    quality = ["-preset", str(_SVT_PRESETS[point.av1_preset]), "-crf", str(point.av1_crf)]
    # irefresh-type 2: keyframes close their group; scd: none besides the regular ones.
    parameters = f"lp={threads}:irefresh-type=2:scd=0{svt_parameters(mastering)}"
    return [*quality, "-g", gop, "-svtav1-params", parameters]
