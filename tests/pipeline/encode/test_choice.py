"""Which encoder makes a file: decided once, by a trial, for pictures that its codec can hold.

The trials here are doubles: that NVENC itself works is not tried.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.contract import EncodingSettings, VideoInfo, VideoSettings
from pipeline.deliverables.fit import with_encoder
from pipeline.deliverables.formats import FORMATS
from pipeline.encode import choice as encoders
from pipeline.encode.choice import (
    LIMITS,
    Codec,
    encoder_options,
    nvenc_works,
    settled,
    size_problem,
    trial_command,
)
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.errors import InputError
from tests.orchestrator.worlds import make_job

CODECS: tuple[Codec, ...] = ("h264", "hevc", "av1")
GREEN = VideoSettings(deliverables=("webm", "greenscreen"))


class Trials:
    """Answers as told, and remembers what it was asked."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.asked: list[tuple[str, int, int]] = []

    def __call__(self, codec: Codec, width: int, height: int) -> bool:
        self.asked.append((codec, width, height))
        return self.answer


@pytest.mark.parametrize(("works", "encoder"), [(True, "nvenc"), (False, "software")])
def test_auto_becomes_what_the_trial_found(works: bool, encoder: str) -> None:
    trial = Trials(works)
    found = settled(EncodingSettings(), 8192, 4096, trial)
    assert found == EncodingSettings(encoder=encoder)  # type: ignore[arg-type]
    assert trial.asked == [("hevc", 8192, 4096)]


@pytest.mark.parametrize("encoder", ["nvenc", "software"])
def test_what_is_asked_for_is_not_tried(encoder: str) -> None:
    trial = Trials(True)
    asked = EncodingSettings(encoder=encoder)  # type: ignore[arg-type]
    assert settled(asked, 640, 320, trial) == asked
    assert trial.asked == []


def test_files_of_different_encoders_have_different_fingerprints() -> None:
    """So that the segments of one are not joined with those of the other."""
    info = make_job().info
    jobs = {with_encoder(info, GREEN, Trials(works)).fingerprint() for works in (True, False)}
    assert len(jobs) == 2


def test_formats_without_a_choice_try_nothing_and_stay_as_they_are() -> None:
    trial = Trials(True)
    for names in (("webm",), ("webm", "prores")):
        settings = VideoSettings(deliverables=names)
        assert with_encoder(make_job().info, settings, trial) is settings
    assert trial.asked == []


def test_nvenc_that_is_asked_for_and_does_not_work_is_told_before_anything_is_made() -> None:
    asked = replace(GREEN, encoding=EncodingSettings(encoder="nvenc"))
    assert with_encoder(make_job().info, asked, Trials(True)).encoding.encoder == "nvenc"
    with pytest.raises(InputError, match="NVENC does not encode hevc") as caught:
        with_encoder(make_job().info, asked, Trials(False))
    assert "auto" in caught.value.advice


def test_ten_bits_reach_nvenc_by_the_pipe_unless_a_person_says_otherwise() -> None:
    """TorchCodec takes 8 bits from the GPU's memory."""
    asked = replace(GREEN, encoding=EncodingSettings(encoder="nvenc"))
    eight = make_job().info
    ten = replace(eight, bit_depth=10)

    def input_of(video: VideoInfo, settings: VideoSettings) -> tuple[str, int]:
        made = with_encoder(video, settings, Trials(True), lambda options, w, h: None).encoding
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


def test_nobody_who_is_not_told_looks_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was given `auto` encodes in software: it never decides."""
    monkeypatch.setattr(encoders, "_try_nvenc", None)
    for codec in CODECS:
        auto, software = (
            encoder_options(EncodingSettings(codec=codec, encoder=encoder), 60)
            for encoder in ("auto", "software")
        )
        assert auto == software


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Trials as child processes, none of which is run: each ends with status 0."""
    seen: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        seen.append(command)
        assert options["timeout"] == encoders.TRIAL_DEADLINE_S
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(encoders, "_TRIALS", {})
    monkeypatch.setattr(subprocess, "run", run)
    return seen


def test_one_trial_for_each_codec_and_size(calls: list[list[str]]) -> None:
    for _ in range(3):
        assert nvenc_works("hevc", 8192, 4096)
        assert nvenc_works("hevc", 4096, 2048)
        assert nvenc_works("h264", 4096, 2048)
    assert len(calls) == 3
    assert "color=black:size=8192x4096:rate=30" in calls[0]
    assert {"hevc_nvenc", "1", "null"} < set(calls[0])


def test_a_size_that_no_nvenc_takes_is_not_tried(calls: list[list[str]]) -> None:
    assert not nvenc_works("h264", 8192, 4096)
    assert calls == []


def test_a_trial_that_hangs_or_cannot_be_started_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (subprocess.TimeoutExpired("ffmpeg", 1), OSError("no process")):

        def run(command: object, error: Exception = error, **options: object) -> None:
            raise error

        monkeypatch.setattr(encoders, "_TRIALS", {})
        monkeypatch.setattr(subprocess, "run", run)
        assert not nvenc_works("hevc", 640, 320)


@pytest.mark.parametrize("codec", CODECS)
def test_the_trial_encodes_one_frame_as_the_segments_will_be(codec: Codec) -> None:
    command = trial_command(codec, 640, 320)
    options = encoder_options(EncodingSettings(codec=codec, encoder="nvenc"), 60)
    where = command.index("-c:v")
    assert command[where : where + len(options)] == options
    assert command[command.index("-frames:v") + 1] == "1"


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
    fitted = with_encoder(info, settings, lambda codec, w, h: max(w, h) <= 4096)
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
