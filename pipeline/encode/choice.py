"""Chooses the encoder of H.264, HEVC and AV1: its options, and the largest picture it takes.

Files of different encoders cannot be joined, and their bits differ: `settled` decides once, before
a video is planned, and from then on the settings say it. A worker never decides.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.contract import EncodingSettings, MasteringData
from pipeline.encode.ffmpeg_pipe import ffmpeg_command
from pipeline.encode.hdr import svt_parameters, x265_parameters
from pipeline.files.child import tied

Codec = Literal["h264", "hevc", "av1"]
Family = Literal["nvenc", "software"]

#: A GPU that is there answers in a second or two; one that hangs is as good as none.
TRIAL_DEADLINE_S = 30.0

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

#: (codec, width, height) -> whether NVENC encodes such a picture here.
Trial = Callable[[Codec, int, int], bool]


def settled(
    encoding: EncodingSettings, width: int, height: int, trial: Trial | None = None
) -> EncodingSettings:
    """The settings with `encoder` decided for pictures of that size, where it is ``auto``.

    Args:
        trial: asked only where it matters; by default `nvenc_works`.
    """
    if encoding.encoder != "auto":
        return encoding
    works = (trial or nvenc_works)(encoding.codec, width, height)
    return replace(encoding, encoder="nvenc" if works else "software")


def family(encoding: EncodingSettings) -> Family:
    """What encodes. Where nobody settled ``auto``, it is the software: never a look at a GPU."""
    return "nvenc" if encoding.encoder == "nvenc" else "software"


def encoder_words(encoding: EncodingSettings) -> str:
    """Codec and encoder, for people."""
    by = "NVENC" if family(encoding) == "nvenc" else _SOFTWARE_WORDS[encoding.codec]
    return f"{encoding.codec.upper()} ({by})"


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


_TRIALS: dict[tuple[Codec, int, int], bool] = {}
_TRIALS_LOCK = threading.Lock()


def nvenc_works(codec: Codec, width: int, height: int) -> bool:
    """Whether one frame of that size is encoded by NVENC here; tried once per process and size.

    The trial is a child process: the one that asks never touches a GPU.
    """
    with _TRIALS_LOCK:  # sizes are asked for by several threads; one trial at a time
        key = (codec, width, height)
        if key not in _TRIALS:
            _TRIALS[key] = _fits(LIMITS[codec, "nvenc"], width, height) and _try_nvenc(*key)
        return _TRIALS[key]


def trial_command(codec: Codec, width: int, height: int) -> list[str]:
    """One black frame through the encoder as it will be used, to nowhere."""
    encoding = EncodingSettings(codec=codec, encoder="nvenc")
    return ffmpeg_command(
        *("-f", "lavfi", "-i", f"color=black:size={width}x{height}:rate=30", "-frames:v", "1"),
        *(*encoder_options(encoding, 60), "-f", "null", "-"),
    )


def _try_nvenc(codec: Codec, width: int, height: int) -> bool:
    try:
        done = subprocess.run(
            tied(trial_command(codec, width, height)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TRIAL_DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
