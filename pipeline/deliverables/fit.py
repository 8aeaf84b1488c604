"""Decides the encoder of a video, and rejects videos that a format or its codec cannot hold.

Done before a video is planned, in the parent process: loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from pipeline.contract import EncodingSettings, VideoInfo, VideoSettings
from pipeline.contract.nvenc_ways import WAYS, NvencWay
from pipeline.deliverables.device_trial import LEAST_CQ, MATRICES
from pipeline.deliverables.format import Format, Picture
from pipeline.deliverables.formats import FORMATS
from pipeline.encode.choice import Codec, encoder_options, size_problem
from pipeline.encode.nvenc_trial import Asked, Nvenc
from pipeline.errors import InputError
from pipeline.structlog_import import structlog

_log = structlog.get_logger()


class NoNvenc(Exception):
    """NVENC does not encode this video; the message says why, and what to set instead."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


def without_gpu(way: NvencWay, asked: Asked) -> str | None:
    """`Nvenc` where no worker has a GPU."""
    return "no worker has a GPU"


def with_encoder(
    video: VideoInfo, settings: VideoSettings, nvenc: Nvenc = without_gpu
) -> VideoSettings:
    """The settings with `encoding.encoder` decided for this video, where a format needs one.

    Where none does, nothing is tried and nothing changes: the same settings, on any machine.

    Args:
        nvenc: asked whether a way to NVENC works.

    Raises:
        InputError: a format cannot hold this video, the codec cannot hold its pictures, or NVENC
            is asked for and does not work.
        SettingsError: a format cannot be had.
    """
    rows = [FORMATS[name] for name in settings.deliverables]
    pictures = [(row, row.picture(video)) for row in rows]
    _require_own_codecs(pictures, settings.encoding)
    open_ones = [(row, shown) for row, shown in pictures if row.codec is None]
    if not open_ones:
        return settings
    encoding = settings.encoding
    if encoding.encoder != "software":
        try:
            return replace(settings, encoding=_by_nvenc(video, open_ones, encoding, nvenc))
        except NoNvenc as why:
            if encoding.encoder == "nvenc":
                raise InputError(why.message, why.advice) from None
    encoding = replace(encoding, encoder="software")
    for _, shown in open_ones:
        if problem := size_problem(encoding, shown.width, shown.height):
            raise InputError(*problem)
    return replace(settings, encoding=encoding)


def why_software(video: VideoInfo, settings: VideoSettings, nvenc: Nvenc) -> str | None:
    """Why `with_encoder` took an encoder of the CPU though NVENC was not ruled out.

    None where it did not.

    Args:
        settings: as they were given to `with_encoder`.
        nvenc: the same; trials are not repeated.
    """
    pictures = [(FORMATS[name], FORMATS[name].picture(video)) for name in settings.deliverables]
    open_ones = [(row, shown) for row, shown in pictures if row.codec is None]
    if settings.encoding.encoder == "software" or not open_ones:
        return None
    try:
        _by_nvenc(video, open_ones, settings.encoding, nvenc)
    except NoNvenc as why:
        return why.message
    return None


def possible_formats(
    video: VideoInfo, settings: VideoSettings, nvenc: Nvenc = without_gpu
) -> tuple[VideoSettings, Mapping[str, InputError]]:
    """The settings with those formats that can be made of this video; why the others cannot.

    Raises:
        InputError: none can, by the first format's reason.
        SettingsError: a format cannot be had.
    """
    impossible: dict[str, InputError] = {}
    for name in settings.deliverables:
        try:
            with_encoder(video, replace(settings, deliverables=(name,)), nvenc)
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


def _by_nvenc(
    video: VideoInfo,
    pictures: Sequence[tuple[Format, Picture]],
    asked: EncodingSettings,
    nvenc: Nvenc,
) -> EncodingSettings:
    """The settings with the ways of these pictures to NVENC.

    Pictures stay in the GPU's memory where that is wanted and works; all others come by the first
    pipe that works for all of them.

    Raises:
        NoNvenc: some of the pictures have no way.
        InputError: they are to stay in the GPU's memory (`nvenc_input: gpu`), and cannot.
    """
    asked = replace(asked, encoder="nvenc")
    for _, shown in pictures:
        if problem := size_problem(asked, shown.width, shown.height):
            raise NoNvenc(*problem)
    [in_gpu] = [way for way in WAYS if way.takes == "gpu"]
    staying = [(row, shown) for row, shown in pictures if row.from_gpu]
    why_piped = _problem_in_gpu(video, staying, asked, in_gpu, nvenc) if staying else None
    chosen, piped = replace(asked, nvenc_input="pipe"), pictures
    if staying and why_piped is None:
        chosen = replace(asked, nvenc_input="gpu")
        piped = [(row, shown) for row, shown in pictures if not row.from_gpu]
    if piped:
        why_not = {} if why_piped is None else {in_gpu.name: why_piped}
        way = _first_pipe(video, piped, chosen, nvenc, why_not)
        chosen = replace(chosen, nvenc_pipe=way.name)
    if why_piped is not None and asked.nvenc_input == "gpu":
        raise InputError(
            f"NVENC cannot take pictures from the GPU's memory here: {why_piped}",
            "set encoding.nvenc_input: auto",
        )
    if why_piped is not None and asked.nvenc_input == "auto":
        _log.info("nvenc_by_pipe", way=chosen.nvenc_pipe, reason=why_piped)
    return chosen


def _first_pipe(
    video: VideoInfo,
    pictures: Sequence[tuple[Format, Picture]],
    encoding: EncodingSettings,
    nvenc: Nvenc,
    why_not: dict[str, str],
) -> NvencWay:
    """The first way by a pipe that takes all of these pictures.

    Args:
        why_not: why other ways do not work; added to.

    Raises:
        NoNvenc: none does.
    """
    for way in WAYS:
        if way.takes != "pipe":
            continue
        if encoding.nvenc_pipe not in ("auto", way.name):
            why_not[way.name] = f"not asked for (encoding.nvenc_pipe: {encoding.nvenc_pipe})"
            continue
        for row, shown in pictures:
            problem = nvenc(way, _asked(video, row, shown, encoding))
            if problem is not None:
                why_not[way.name] = problem
                break
        else:
            return way
    raise NoNvenc(
        f"NVENC does not encode {encoding.codec} pictures of {_sizes(pictures)} here:"
        f" {_reasons(why_not)}",
        "`vrmatte doctor` says more; encoding.encoder: auto lets the CPU encode",
    )


def _problem_in_gpu(
    video: VideoInfo,
    pictures: Sequence[tuple[Format, Picture]],
    encoding: EncodingSettings,
    way: NvencWay,
    nvenc: Nvenc,
) -> str | None:
    """Why NVENC does not take these pictures from the GPU's memory."""
    if encoding.nvenc_input == "pipe":
        return "not asked for (encoding.nvenc_input: pipe)"
    if video.color.matrix not in (*MATRICES, "unspecified"):
        return f"TorchCodec does not know the colour matrix {video.color.matrix}"
    deep = any(row.bits_of(video, replace(encoding, nvenc_input="pipe")) > 8 for row, _ in pictures)
    if encoding.nvenc_input == "auto" and deep:
        return "pictures of more than 8 bits go by a pipe"
    if encoding.point().nvenc_cq < LEAST_CQ:
        return f"with nvenc_cq below {LEAST_CQ} NVENC may crash, and must have its own process"
    options = tuple(encoder_options(encoding, 60))
    tried = (nvenc(way, Asked(options, shown.width, shown.height)) for _, shown in pictures)
    return next((problem for problem in tried if problem is not None), None)


def _asked(video: VideoInfo, row: Format, shown: Picture, encoding: EncodingSettings) -> Asked:
    deep = row.bits_of(video, encoding) > 8
    options = tuple(encoder_options(encoding, 60, deep=deep))
    return Asked(options, shown.width, shown.height, "yuv420p10le" if deep else "yuv420p")


def _sizes(pictures: Sequence[tuple[Format, Picture]]) -> str:
    return ", ".join(dict.fromkeys(f"{shown.width}x{shown.height}" for _, shown in pictures))


def _reasons(why_not: Mapping[str, str]) -> str:
    """Each way with its reason; one reason that all have, once."""
    said = {way.name: why_not[way.name] for way in WAYS if way.name in why_not}
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    words = {way.name: way.words for way in WAYS}
    return "; ".join(f"{words[name]}: {reason}" for name, reason in said.items())
