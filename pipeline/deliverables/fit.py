"""Which encoder, and whether a format and its codec take such a video: asked before it is planned.

Loads no torch: the parent process asks.
"""

from __future__ import annotations

from dataclasses import replace

import structlog

from pipeline.contract import EncodingSettings, ProjectionName, VideoInfo, VideoSettings
from pipeline.deliverables.device_trial import LEAST_CQ, MATRICES, DeviceTrial
from pipeline.encode.choice import Trial, encoder_options, nvenc_works, settled, size_problem
from pipeline.errors import InputError

_log = structlog.get_logger()

#: Formats that are made with `encoding.codec`.
BY_CODEC = frozenset({"greenscreen", "matte", "alphapack"})

#: Pixels: players of alpha-packed fisheyes decode 8192x4096 at the most.
LARGEST_PACKED = 4096


def packed_height(video: VideoInfo) -> int:
    """Height of the alpha-packed fisheye of a video, half of its width: even, 4096 at the most.

    It is the larger side of an eye, of which a half-width picture has one only: the middle of the
    picture, where people are, keeps its pixels.

    Raises:
        InputError: the video has no two eyes, or is neither a fisheye nor a half sphere.
    """
    sees = {"flat": "what an ordinary lens sees", "equirect360": "all 360 degrees"}
    reason = None
    if video.eyes != 2:
        reason = f"it has one eye ({video.layout_reason})"
    elif video.projection in sees:
        reason = f"it holds {sees[video.projection]} ({video.projection_reason})"
    if reason is not None:
        raise InputError(
            f"an alpha-packed fisheye cannot be made of {video.path}: {reason}",
            "choose other formats for it, or say what it is with --layout and --projection",
        )
    height, width = video.even_height, video.even_width
    if video.layout == "sbs":
        width //= 2
    else:
        height //= 2
    side = min(max(height, width), LARGEST_PACKED)
    return side + side % 2


def packed_projection(video: VideoInfo) -> ProjectionName:
    """What the eyes of its alpha-packed fisheye show: half spheres become fisheyes of 180."""
    return "fisheye180" if video.projection == "equirect180" else video.projection


def with_encoder(
    video: VideoInfo,
    settings: VideoSettings,
    trial: Trial = nvenc_works,
    device_trial: DeviceTrial | None = None,
) -> VideoSettings:
    """The settings with `encoding.encoder` decided for this video, where a format needs one.

    Where none does, nothing is tried and nothing changes: the same settings, on any machine.

    Args:
        device_trial: asked whether NVENC takes pictures from the GPU's memory; None: they are not
            all there.

    Raises:
        InputError: a format cannot hold this video, the codec cannot hold its pictures, or NVENC
            is asked for and does not work.
    """
    if "hevc-alpha" in settings.deliverables:
        alone = replace(settings.encoding, codec="hevc", encoder="software")
        if problem := size_problem(alone, video.even_width, video.even_height):
            raise InputError(*problem)
    sizes = _picture_sizes(video, settings)
    if not sizes:
        return settings
    encoding = settings.encoding
    if encoding.encoder == "auto":
        made = {settled(encoding, *size, trial).encoder for size in sizes}
        encoding = replace(encoding, encoder="nvenc" if made == {"nvenc"} else "software")
    for width, height in sizes:
        if problem := size_problem(encoding, width, height):
            raise InputError(*problem)
        if settings.encoding.encoder == "nvenc" and not trial(encoding.codec, width, height):
            raise InputError(
                f"NVENC does not encode {encoding.codec} pictures of {width}x{height}"
                " on this machine",
                "set encoding.encoder: auto",
            )
    return replace(settings, encoding=_with_input(video, settings, encoding, device_trial))


def _with_input(
    video: VideoInfo,
    settings: VideoSettings,
    encoding: EncodingSettings,
    device_trial: DeviceTrial | None,
) -> EncodingSettings:
    """With `nvenc_input` decided, where it means anything."""
    if encoding.encoder != "nvenc" or encoding.nvenc_input == "pipe":
        return encoding
    if "greenscreen" not in settings.deliverables:
        return encoding
    if device_trial is None:
        why_not: str | None = "not all workers have a GPU"
    elif video.color.matrix not in (*MATRICES, "unspecified"):
        why_not = f"TorchCodec does not know the colour matrix {video.color.matrix}"
    elif encoding.point().nvenc_cq < LEAST_CQ:
        why_not = f"with nvenc_cq below {LEAST_CQ} NVENC may crash, and must have its own process"
    else:
        options = tuple(encoder_options(encoding, 60))
        why_not = device_trial(options, video.even_width, video.even_height)
    if why_not is None:
        return replace(encoding, nvenc_input="gpu")
    if encoding.nvenc_input == "gpu":
        raise InputError(
            f"NVENC cannot take pictures from the GPU's memory here: {why_not}",
            "set encoding.nvenc_input: auto",
        )
    _log.info("nvenc_by_pipe", reason=why_not)
    return replace(encoding, nvenc_input="pipe")


def _picture_sizes(video: VideoInfo, settings: VideoSettings) -> list[tuple[int, int]]:
    """(width, height) of every picture that `encoding.codec` must take."""
    sizes = []
    formats = BY_CODEC.intersection(settings.deliverables)
    if "alphapack" in formats:
        height = packed_height(video)
        sizes.append((2 * height, height))
    if formats - {"alphapack"}:
        sizes.append((video.even_width, video.even_height))
    return sizes
