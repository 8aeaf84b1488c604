"""Which way to NVENC a video takes: the first that works, named; none is told with all reasons."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.contract import EncodingSettings, VideoSettings
from pipeline.deliverables.fit import why_software, with_encoder
from pipeline.encode.choice import encoder_words, pipe_command
from pipeline.errors import InputError
from tests.nvenc import NO_NVENC, OLD_FOR_FFMPEG, OLD_FOR_PYAV, OLD_LIBAVUTIL, Ways, no_way
from tests.orchestrator.worlds import make_job

GREEN = VideoSettings(deliverables=("greenscreen",))
MIXED = VideoSettings(deliverables=("webm", "greenscreen", "matte"))


def chosen(nvenc: Ways, settings: VideoSettings = GREEN) -> tuple[str, str, str]:
    made = with_encoder(make_job().info, settings, nvenc).encoding
    return made.encoder, made.nvenc_input, made.nvenc_pipe


@pytest.mark.parametrize(
    ("nvenc", "green", "mixed"),
    [
        (Ways(), ("nvenc", "gpu", "auto"), ("nvenc", "gpu", "pyav")),
        # Driver 580: the bundled ffmpeg needs 610.
        (Ways(ffmpeg=OLD_FOR_FFMPEG), ("nvenc", "gpu", "auto"), ("nvenc", "gpu", "pyav")),
        # Debian's or Ubuntu's libraries in TorchCodec.
        (Ways(gpu=OLD_LIBAVUTIL), ("nvenc", "pipe", "pyav"), ("nvenc", "pipe", "pyav")),
        (
            Ways(gpu=OLD_LIBAVUTIL, ffmpeg=OLD_FOR_FFMPEG),
            ("nvenc", "pipe", "pyav"),
            ("nvenc", "pipe", "pyav"),
        ),
        (
            Ways(gpu="crash", pyav=OLD_FOR_PYAV),
            ("nvenc", "pipe", "ffmpeg"),
            ("nvenc", "pipe", "ffmpeg"),
        ),
        # In process alone: enough for a greenscreen, not for a matte beside it.
        (
            Ways(pyav="x", ffmpeg="x"),
            ("nvenc", "gpu", "auto"),
            ("software", "auto", "auto"),
        ),
        (no_way(), ("software", "auto", "auto"), ("software", "auto", "auto")),
    ],
)
def test_the_first_way_that_works_is_taken(
    nvenc: Ways, green: tuple[str, ...], mixed: tuple[str, ...]
) -> None:
    assert chosen(nvenc) == green
    assert chosen(nvenc, MIXED) == mixed


def test_it_is_named() -> None:
    made = with_encoder(make_job().info, MIXED, Ways()).encoding
    assert encoder_words(made, from_gpu=True) == "HEVC (NVENC by TorchCodec, from the GPU's memory)"
    assert encoder_words(made) == "HEVC (NVENC by PyAV's libraries, by a pipe)"
    assert pipe_command(made).__module__ == "pipeline.encode.pyav_pipe"
    assert pipe_command(EncodingSettings()).__module__ == "pipeline.encode.ffmpeg_pipe"


def test_a_way_that_is_asked_for_is_the_only_one_tried() -> None:
    by_ffmpeg = EncodingSettings(nvenc_input="pipe", nvenc_pipe="ffmpeg")
    nvenc = Ways()
    assert chosen(nvenc, replace(MIXED, encoding=by_ffmpeg)) == ("nvenc", "pipe", "ffmpeg")
    assert {name for name, _ in nvenc.asked} == {"ffmpeg"}


def test_nvenc_that_is_insisted_on_is_refused_with_the_reasons_of_all_ways() -> None:
    nvenc = Ways(gpu=OLD_LIBAVUTIL, pyav=OLD_FOR_PYAV, ffmpeg=OLD_FOR_FFMPEG)
    asked = replace(MIXED, encoding=EncodingSettings(encoder="nvenc"))
    with pytest.raises(InputError) as caught:
        with_encoder(make_job().info, asked, nvenc)
    for reason in (OLD_LIBAVUTIL, OLD_FOR_PYAV, OLD_FOR_FFMPEG):
        assert reason in caught.value.message
    assert "\n" not in caught.value.message
    assert "encoder: auto" in caught.value.advice
    with pytest.raises(InputError) as one:
        with_encoder(make_job().info, asked, no_way())
    assert one.value.message.count(NO_NVENC) == 1


def test_why_the_cpu_encodes_is_known_where_nvenc_was_not_ruled_out() -> None:
    info = make_job().info
    assert NO_NVENC in str(why_software(info, MIXED, no_way()))
    assert why_software(info, MIXED, Ways()) is None
    assert why_software(info, VideoSettings(), no_way()) is None
    software = replace(MIXED, encoding=EncodingSettings(encoder="software"))
    assert why_software(info, software, no_way()) is None
    huge = replace(info, width=9000, height=4500)
    assert "too large for HEVC by NVENC" in str(why_software(huge, GREEN, Ways()))


def test_ten_bits_are_tried_as_they_will_be_encoded() -> None:
    nvenc = Ways()
    ten = replace(make_job().info, bit_depth=10)
    made = with_encoder(ten, MIXED, nvenc).encoding
    assert (made.nvenc_input, made.nvenc_pipe) == ("pipe", "pyav")
    assert {(name, a.pixel_format, a.options[-1]) for name, a in nvenc.asked} == {
        ("pyav", "yuv420p10le", "p010le")
    }
