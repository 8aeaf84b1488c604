"""Which encoder makes a file: decided once, by a trial, for pictures that its codec can hold.

The trials here are doubles: that NVENC itself works is not tried.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.contract import EncodingSettings, VideoInfo, VideoSettings
from pipeline.deliverables.fit import with_encoder
from pipeline.deliverables.formats import FORMATS
from pipeline.encode.choice import (
    LIMITS,
    Codec,
    encoder_options,
    size_problem,
)
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from tests.nvenc import Ways, no_way, works
from tests.orchestrator.worlds import make_job

CODECS: tuple[Codec, ...] = ("h264", "hevc", "av1")
GREEN = VideoSettings(deliverables=("webm", "greenscreen"))


@pytest.mark.parametrize(("nvenc", "encoder"), [(Ways(), "nvenc"), (no_way(), "software")])
def test_auto_becomes_what_the_trial_found(nvenc: Ways, encoder: str) -> None:
    info = replace(make_job().info, width=8192, height=4096)
    assert with_encoder(info, GREEN, nvenc).encoding.encoder == encoder
    assert {(a.width, a.height, a.options[1]) for _, a in nvenc.asked} == {
        (8192, 4096, "hevc_nvenc")
    }


def test_software_that_is_asked_for_tries_nothing() -> None:
    nvenc = Ways()
    asked = replace(GREEN, encoding=EncodingSettings(encoder="software"))
    assert with_encoder(make_job().info, asked, nvenc).encoding == asked.encoding
    assert nvenc.asked == []


def test_files_of_different_encoders_have_different_fingerprints() -> None:
    """So that the segments of one are not joined with those of the other."""
    info = make_job().info
    found = (Ways(), Ways(gpu="x"), Ways(gpu="x", pyav="x"), no_way())
    jobs = {with_encoder(info, GREEN, nvenc).fingerprint() for nvenc in found}
    assert len(jobs) == 4


def test_formats_without_a_choice_try_nothing_and_stay_as_they_are() -> None:
    nvenc = Ways()
    for names in (("webm",), ("webm", "prores")):
        settings = VideoSettings(deliverables=names)
        assert with_encoder(make_job().info, settings, nvenc) is settings
    assert nvenc.asked == []


def test_ten_bits_reach_nvenc_by_the_pipe_unless_a_person_says_otherwise() -> None:
    """TorchCodec takes 8 bits from the GPU's memory."""
    asked = replace(GREEN, encoding=EncodingSettings(encoder="nvenc"))
    eight = make_job().info
    ten = replace(eight, bit_depth=10)

    def input_of(video: VideoInfo, settings: VideoSettings) -> tuple[str, int]:
        made = with_encoder(video, settings, works).encoding
        return made.nvenc_input, FORMATS["greenscreen"].bits_of(video, made)

    assert input_of(eight, asked) == ("gpu", 8)
    assert input_of(ten, asked) == ("pipe", 10)
    forced = replace(asked, encoding=replace(asked.encoding, nvenc_input="gpu"))
    assert input_of(ten, forced) == ("gpu", 8)
    h264 = replace(asked, encoding=replace(asked.encoding, codec="h264"))
    assert input_of(ten, h264) == ("gpu", 8)
    for encoder, planes in (("nvenc", "p010le"), ("software", "yuv420p10le")):
        encoding = EncodingSettings(encoder=encoder)  # type: ignore[arg-type]
        assert encoder_options(encoding, 60, deep=True)[-1] == planes
        assert encoder_options(encoding, 60)[-1] == "yuv420p"


def test_nobody_who_is_not_told_looks_for_a_gpu() -> None:
    """A worker that was given `auto` encodes in software: it never decides."""
    for codec in CODECS:
        auto, software = (
            encoder_options(EncodingSettings(codec=codec, encoder=encoder), 60)
            for encoder in ("auto", "software")
        )
        assert auto == software


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("family", ["nvenc", "software"])
def test_the_largest_picture_fits_and_the_next_does_not(codec: Codec, family: str) -> None:
    limit = LIMITS[codec, family]  # type: ignore[index]
    encoding = EncodingSettings(codec=codec, encoder=family)  # type: ignore[arg-type]
    height = min(limit.height, limit.area // limit.width)
    assert size_problem(encoding, limit.width, height) is None
    assert size_problem(encoding, limit.width + 2, 64) is not None
    assert size_problem(encoding, 64, limit.height + 2) is not None
    assert size_problem(encoding, limit.width, limit.area // limit.width + 2) is not None


@pytest.mark.parametrize(
    ("codec", "encoder", "size", "advice"),
    [
        ("h264", "nvenc", (8192, 4096), "codec: hevc or encoding.codec: av1 or encoding.encoder"),
        ("hevc", "nvenc", (8194, 4096), "encoding.encoder: software"),
        ("hevc", "software", (8192, 4096), None),
        ("h264", "software", (8192, 4096), None),
        ("hevc", "software", (16384, 8192), "scale the source"),
        ("hevc", "software", (32, 8), "codec: av1 or encoding.codec: h264"),
    ],
)
def test_a_picture_that_does_not_fit_is_told_with_what_does(
    codec: Codec, encoder: str, size: tuple[int, int], advice: str | None
) -> None:
    encoding = EncodingSettings(codec=codec, encoder=encoder)  # type: ignore[arg-type]
    problem = size_problem(encoding, *size)
    if advice is None:
        assert problem is None
        return
    assert problem is not None
    assert f"{size[0]}x{size[1]}" in problem[0]
    assert advice in problem[1]


def test_a_picture_too_large_for_nvenc_is_made_in_software() -> None:
    info = replace(make_job().info, width=8192, height=4096)
    settings = replace(GREEN, encoding=EncodingSettings(codec="h264"))
    fitted = with_encoder(info, settings, works)
    assert fitted.encoding.encoder == "software"


@pytest.mark.parametrize("codec", CODECS)
def test_every_so_many_frames_there_is_a_keyframe_and_nothing_is_reordered(
    codec: Codec, tmp_path: Path
) -> None:
    """With a cut in the middle of a group, where an encoder would like to put one of its own."""
    import av

    target = tmp_path / "x.mp4"
    cut = "testsrc2=s=192x96:r=30,geq='if(gte(N,13),255-lum(X,Y),lum(X,Y))':cb=128:cr=128"
    options = encoder_options(EncodingSettings(codec=codec), 10)
    run_ffmpeg(
        ffmpeg_command("-f", "lavfi", "-i", cut, "-frames:v", "25", *options, f"file:{target}")
    )
    with av.open(str(target)) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
    assert [k for k, packet in enumerate(packets) if packet.is_keyframe] == [0, 10, 20]
    assert all(packet.pts == packet.dts for packet in packets)
