"""Decides the encoder of a video, and rejects videos that a format or its codec cannot hold.

Done before a video is planned, in the parent process: loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from pipeline.contract import EncodingSettings, VideoInfo, VideoSettings
from pipeline.deliverables.device_trial import LEAST_CQ, MATRICES, DeviceTrial
from pipeline.deliverables.format import Format, Picture
from pipeline.deliverables.formats import FORMATS
from pipeline.encode.choice import (
    Codec,
    Trial,
    encoder_options,
    nvenc_works,
    settled,
    size_problem,
)
from pipeline.errors import InputError
from pipeline.structlog_import import structlog

_log = structlog.get_logger()


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
        SettingsError: a format cannot be had.
    """
    rows = [FORMATS[name] for name in settings.deliverables]
    pictures = [(row, row.picture(video)) for row in rows]
    _require_own_codecs(pictures, settings.encoding)
    sizes = {(shown.width, shown.height): None for row, shown in pictures if row.codec is None}
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
    from_gpu = [(row, shown) for row, shown in pictures if row.from_gpu]
    return replace(settings, encoding=_with_input(video, from_gpu, encoding, device_trial))


def possible_formats(
    video: VideoInfo,
    settings: VideoSettings,
    trial: Trial = nvenc_works,
    device_trial: DeviceTrial | None = None,
) -> tuple[VideoSettings, Mapping[str, InputError]]:
    """The settings with those formats that can be made of this video; why the others cannot.

    Raises:
        InputError: none can, by the first format's reason.
        SettingsError: a format cannot be had.
    """
    impossible: dict[str, InputError] = {}
    for name in settings.deliverables:
        try:
            with_encoder(video, replace(settings, deliverables=(name,)), trial, device_trial)
        except InputError as error:
            impossible[name] = error
    possible = tuple(name for name in settings.deliverables if name not in impossible)
    if not possible:
        raise next(iter(impossible.values()))
    return replace(settings, deliverables=possible), impossible


def _require_own_codecs(
    pictures: Sequence[tuple[Format, Picture]], encoding: EncodingSettings
) -> None:
    """Raises InputError: a format whose codec is its own has pictures too large for that."""
    for row, shown in pictures:
        for codec in get_args(Codec):
            if row.codec == codec:
                own = replace(encoding, codec=codec, encoder="software")
                if problem := size_problem(own, shown.width, shown.height):
                    raise InputError(*problem)


def _with_input(
    video: VideoInfo,
    pictures: Sequence[tuple[Format, Picture]],
    encoding: EncodingSettings,
    device_trial: DeviceTrial | None,
) -> EncodingSettings:
    """With `nvenc_input` decided, where it means anything.

    Args:
        pictures: of the formats whose encoders can take them from the GPU's memory.
    """
    if encoding.encoder != "nvenc" or encoding.nvenc_input == "pipe" or not pictures:
        return encoding
    if device_trial is None:
        why_not: str | None = "not all workers have a GPU"
    elif video.color.matrix not in (*MATRICES, "unspecified"):
        why_not = f"TorchCodec does not know the colour matrix {video.color.matrix}"
    elif encoding.nvenc_input == "auto" and any(
        row.bits_of(video, encoding) > 8 for row, _ in pictures
    ):
        why_not = "pictures of more than 8 bits go by the pipe"
    elif encoding.point().nvenc_cq < LEAST_CQ:
        why_not = f"with nvenc_cq below {LEAST_CQ} NVENC may crash, and must have its own process"
    else:
        options = tuple(encoder_options(encoding, 60))
        tried = (device_trial(options, shown.width, shown.height) for _, shown in pictures)
        why_not = next((problem for problem in tried if problem is not None), None)
    if why_not is None:
        return replace(encoding, nvenc_input="gpu")
    if encoding.nvenc_input == "gpu":
        raise InputError(
            f"NVENC cannot take pictures from the GPU's memory here: {why_not}",
            "set encoding.nvenc_input: auto",
        )
    _log.info("nvenc_by_pipe", reason=why_not)
    return replace(encoding, nvenc_input="pipe")
