"""TorchCodec's streaming encoder as segments use it: on the CPU with x264 in NVENC's place.

The class, its options, its file and the trial are those of a GPU; only the codec and the device are
not. `tests/gpu/test_gpu.py` has the real ones.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline import segment
from pipeline.contract import ColorTags, EncodingSettings, VideoSettings
from pipeline.contract.nvenc_ways import nvenc_way
from pipeline.deliverables import device_trial, greenscreen
from pipeline.deliverables.device_trial import film_problem
from pipeline.deliverables.fit import with_encoder
from pipeline.encode.choice import encoder_options
from pipeline.encode.nvenc import DeviceEncoder, library_options
from pipeline.encode.nvenc_trial import Asked, NvencTrials
from pipeline.errors import DiskError, EncodeError, InputError, SessionRefused
from pipeline.flow.device_copies import HostRing
from pipeline.torchcodec_import import torchcodec
from tests.clips import X264, ClipSpec, read_numbers
from tests.finished import decoded, rgba
from tests.nvenc import Ways
from tests.orchestrator.worlds import make_job
from tests.pipeline.flow.test_device_copies import LateTransfer
from tests.render import CPU, chroma_settings, render

GetClip = Callable[[ClipSpec], Path]

SOFTWARE = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "18", "-bf", "0")
TAGS = ("-color_range", "tv", "-colorspace", "bt709")
OPTIONS = (*SOFTWARE, "-sc_threshold", "0", "-g", "60", "-tag:v", "avc1", "-pix_fmt", "yuv420p")
GREEN = VideoSettings(deliverables=("greenscreen",), encoding=EncodingSettings(encoder="nvenc"))


def test_nvencs_options_are_ffmpegs_own() -> None:
    encoding = EncodingSettings(encoder="nvenc", nvenc_preset="p6", nvenc_cq=19)
    assert library_options([*encoder_options(encoding, 60), *TAGS]) == (
        "hevc_nvenc",
        "p6",
        {
            "tune": "1",
            "rc": "1",
            "cq": "19",
            "b": "0",
            "bf": "0",
            "g": "60",
            "no-scenecut": "1",
            "forced-idr": "1",
            "strict_gop": "1",
            "color_range": "tv",
            "colorspace": "bt709",
        },
    )


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Green screens by x264 in this process; planes "leave the device" late, or stay."""

    def options(encoding: EncodingSettings, interval: int, **_: object) -> list[str]:
        assert encoding.encoder == "nvenc"
        return [*OPTIONS[:-6], "-g", str(interval), *OPTIONS[-4:]]

    monkeypatch.setattr(greenscreen, "encoder_options", options)
    monkeypatch.setattr(greenscreen, "DeviceEncoder", partial(DeviceEncoder, device=CPU))
    monkeypatch.setattr(segment, "HostRing", partial(HostRing, transfer=LateTransfer()))


@pytest.mark.usefixtures("on_the_cpu")
def test_a_greenscreen_made_so_is_joined_checked_and_shows_every_frame(
    clip: GetClip, tmp_path: Path
) -> None:
    """Three segments, self-check, join and verify are those of every other file."""
    encoding = EncodingSettings(encoder="nvenc", nvenc_input="gpu", codec="h264", keyframe_s=0.3)
    settings = replace(chroma_settings(20), deliverables=("greenscreen",), encoding=encoding)
    rate = Fraction(30000, 1001)
    video, target = render(clip(ClipSpec("ntsc.mov", X264, rate=rate)), tmp_path, settings)
    pictures = [rgba(frame) for frame in decoded(target)]
    left, right = read_numbers([picture.round().astype(np.uint8) for picture in pictures])
    assert left == right == list(range(50))
    assert video.frame_rate == rate

    piped = replace(settings, encoding=replace(encoding, nvenc_input="pipe"))
    plain = render(clip(ClipSpec("ntsc.mov", X264, rate=rate)), tmp_path / "piped", piped)[1]
    for ours, theirs in zip(pictures, map(rgba, decoded(plain)), strict=True):
        assert float(abs(ours - theirs).mean()) <= 2.0


def frames(count: int = 2) -> Tensor:
    return torch.randint(0, 256, (count, 3 * 64 * 96), dtype=torch.uint8)


def make(path: Path, options: tuple[str, ...] = OPTIONS) -> DeviceEncoder:
    return DeviceEncoder(path, (96, 64), Fraction(30), options, device=CPU)


def test_a_full_disk_is_told_as_one_and_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        if descriptor == encoder._file._file:
            raise full
        return real(descriptor, data)

    encoder = make(tmp_path / "x.mp4.part")
    monkeypatch.setattr(os, "write", write)
    encoder.write(frames())  # the file is written when it is closed
    with pytest.raises(DiskError):
        encoder.close()
    encoder.abort()
    encoder.abort()
    assert encoder._file._file == -1


def test_what_cannot_be_encoded_is_an_encoders_error(tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match="libnothing not found"):
        make(tmp_path / "x.mp4", ("-c:v", "libnothing"))
    encoder = make(tmp_path / "y.mp4")
    encoder.write(frames())
    encoder.abort()
    with pytest.raises(EncodeError, match="TorchCodec's encoder failed"):
        encoder.write(frames())
    with pytest.raises(DiskError):
        make(tmp_path / "nowhere" / "x.mp4")


@pytest.mark.parametrize("number", ["Cannot allocate memory", "Invalid argument"])
def test_a_session_that_is_refused_is_waited_for(
    number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of NVENC's 10 and 21 TorchCodec passes on libavcodec's number, in a plain RuntimeError."""
    from torchcodec.encoders import Encoder  # noqa: TID251

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError(f"avcodec_open2 failed: {number}")

    monkeypatch.setattr(Encoder, "open_file_like", refuse)
    with pytest.raises(SessionRefused, match="no further session"):
        make(tmp_path / "x.mp4")


# The trial finds what is wrong with a file.


def trial(folder: Path, options: tuple[str, ...] = (*OPTIONS, *TAGS)) -> str | None:
    return film_problem(options, 640, 320, "cpu", folder)


@pytest.mark.parametrize("matrix", device_trial.MATRICES)
def test_a_right_film_passes(matrix: str, tmp_path: Path) -> None:
    assert trial(tmp_path, (*OPTIONS, "-color_range", "tv", "-colorspace", matrix)) is None


def test_tags_colours_keyframes_and_frames_that_are_wrong_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "tagged unspecified" in str(trial(tmp_path, (*OPTIONS, "-colorspace", "unknown")))
    assert "is off by" in str(trial(tmp_path, (*OPTIONS[:4], "-crf", "51", *TAGS)))
    assert "not found" in str(trial(tmp_path, ("-c:v", "libnothing", *TAGS)))
    assert "keyframes" in str(trial(tmp_path, (*OPTIONS, *TAGS, "-x264-params", "keyint=2")))
    real = DeviceEncoder.write
    monkeypatch.setattr(DeviceEncoder, "write", lambda e, p: real(e, p.flip(1)))
    assert "a colour is off by" in str(trial(tmp_path))
    monkeypatch.setattr(DeviceEncoder, "write", lambda e, p: real(e, torch.cat([p, p])))
    assert trial(tmp_path) == "10 frames instead of 5"


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (subprocess.TimeoutExpired("python", 1), "did not end"),
        (OSError(errno.EAGAIN, "no process"), "cannot be started: no process"),
        (
            subprocess.CompletedProcess([], -11, b"", b"Fatal\nlast words"),
            "(killed by SIGSEGV): last words",
        ),
        (subprocess.CompletedProcess([], 0, b'a warning\n"its colours"\n', b""), "its colours"),
        (subprocess.CompletedProcess([], 0, b"\nnull\n", b""), None),
    ],
    ids=["hangs", "does not start", "crashes", "finds something", "finds nothing"],
)
def test_each_end_of_the_trial_has_its_reason(
    end: object, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def run(command: list[str], **options: object) -> object:
        asked.append(command[-1])
        if isinstance(end, Exception):
            raise end
        return end

    monkeypatch.setattr(subprocess, "run", run)
    trials = NvencTrials(["0"])
    for _ in range(2):
        found = trials(nvenc_way("gpu"), Asked(OPTIONS, 640, 320))
        assert found is None if reason is None else reason in str(found)
    assert [json.loads(text)["width"] for text in asked] == [640]


@pytest.mark.parametrize(
    ("version", "right"),
    [
        (None, False),
        ((56, 70, 100), False),  # Ubuntu 22.04
        ((57, 28, 100), False),  # Debian 12
        ((58, 26, 99), False),
        ((58, 26, 100), True),
        ((58, 29, 100), True),  # Ubuntu 24.04: FFmpeg 6.1
        ((60, 26, 102), True),  # PyAV's
    ],
)
def test_an_ffmpeg_with_a_context_of_its_own_is_refused(
    version: tuple[int, int, int] | None,
    right: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the library's own version: of FFmpeg 6.1 that is new enough, of 6.0 it is not."""
    monkeypatch.setattr(device_trial, "libavutil_version", lambda: version)
    monkeypatch.setattr(device_trial, "film_problem", lambda *asked: None)
    device_trial.main(json.dumps({"options": [], "width": 2, "height": 2, "device": "cuda"}))
    problem = json.loads(capsys.readouterr().out)
    assert problem is None if right else "58.26.100 or newer" in problem


@pytest.mark.parametrize(("version", "status"), [((57, 28, 100), 1), ((60, 26, 102), 0)])
def test_the_set_up_is_told_by_the_same_measure(
    version: tuple[int, int, int], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_trial, "libavutil_version", lambda: version)
    assert device_trial.main("--libraries") == status


def test_the_version_is_the_loaded_librarys() -> None:
    found = device_trial.libavutil_version()
    assert found is not None
    # FFmpeg 4 to 9 have libavutil 56 to 61.
    assert found[0] - 52 == int(torchcodec.ffmpeg_major_version)


@pytest.mark.slow
def test_without_a_gpu_the_trial_says_so() -> None:
    """The real child process, on a machine that has none or whose GPU is hidden."""
    options = tuple(encoder_options(GREEN.encoding, 60))
    found = NvencTrials([""])(nvenc_way("gpu"), Asked(options, 640, 320))
    assert found is not None
    assert "TorchCodec has libavutil" in found or "TorchCodec's encoder failed" in found


# The choice is made before anything is planned, and part of the fingerprint.


def choice(found: str | None, settings: VideoSettings = GREEN, matrix: str = "bt709") -> str:
    info = replace(make_job().info, color=ColorTags(matrix, "bt709", "bt709", full_range=False))
    made = with_encoder(info, settings, Ways(gpu=found))
    assert (made.fingerprint() == settings.fingerprint()) == (made == settings)
    return made.encoding.nvenc_input


def test_pictures_stay_on_the_gpu_where_the_trial_is_right() -> None:
    assert choice(None) == "gpu"
    assert choice("a colour is off") == "pipe"
    assert choice(None, matrix="smpte240m") == "pipe"
    fine = replace(GREEN, encoding=replace(GREEN.encoding, nvenc_cq=14))
    assert choice(None, fine) == "pipe"
    forced = replace(GREEN, encoding=replace(GREEN.encoding, nvenc_input="gpu"))
    assert choice(None, forced) == "gpu"
    with pytest.raises(InputError, match="a colour is off"):
        choice("a colour is off", forced)


def test_nothing_is_decided_where_it_means_nothing() -> None:
    software = replace(GREEN, encoding=EncodingSettings(encoder="software"))
    matte = replace(GREEN, deliverables=("matte",))
    asked = replace(GREEN, encoding=replace(GREEN.encoding, nvenc_input="pipe"))
    assert choice("never asked", software) == "auto"
    for settings in (matte, asked):
        assert choice("never asked", settings) == "pipe"
    info = make_job().info
    nobody = replace(GREEN, encoding=EncodingSettings())
    assert with_encoder(info, nobody).encoding.encoder == "software"
