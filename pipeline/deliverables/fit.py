"""Which encoder, and whether its codec takes such pictures: asked before a video is planned.

Loads no torch: the parent process asks.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.encoders import Trial, nvenc_works, settled, size_problem
from pipeline.errors import InputError
from pipeline.spec import VideoInfo, VideoSettings

#: Formats that are made with `encoding.codec`.
BY_CODEC = frozenset({"greenscreen", "matte"})


def with_encoder(
    video: VideoInfo, settings: VideoSettings, trial: Trial = nvenc_works
) -> VideoSettings:
    """The settings with `encoding.encoder` decided for this video, where a format needs one.

    Where none does, nothing is tried and nothing changes: the same settings, on any machine.

    Raises:
        InputError: the codec cannot hold its pictures, or NVENC is asked for and does not work.
    """
    if BY_CODEC.isdisjoint(settings.deliverables):
        return settings
    width, height = video.even_width, video.even_height
    encoding = settled(settings.encoding, width, height, trial)
    if problem := size_problem(encoding, width, height):
        raise InputError(*problem)
    if settings.encoding.encoder == "nvenc" and not trial(encoding.codec, width, height):
        raise InputError(
            f"NVENC does not encode {encoding.codec} pictures of {width}x{height} on this machine",
            "set encoding.encoder: auto",
        )
    return replace(settings, encoding=encoding)
