"""The child on PyAV's libraries, with x264 and x265 in NVENC's place; trials of all ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
import torch

from pipeline.contract import EncodingSettings
from pipeline.contract.nvenc_ways import nvenc_way
from pipeline.deliverables import greenscreen
from pipeline.deliverables.greenscreen import GreenScreen
from pipeline.encode import ffmpeg_pipe, pyav_pipe
from pipeline.encode.choice import encoder_options
from pipeline.encode.ffmpeg_pipe import PipeEncoder
from pipeline.encode.nvenc_trial import Asked, NvencTrials, TryWay, only_these, pipe_trial
from pipeline.encode.raw_pictures import RawCommand, RawPictures
from pipeline.errors import EncodeError, SessionRefused
from tests.clips import X264, ClipSpec, read_numbers
from tests.finished import decoded, rgba
from tests.nvenc import FFMPEG_SAYS, NO_KEY, NO_SESSION
from tests.render import chroma_settings, render

COLOURS = ("-color_range", "tv", "-colorspace", "bt709", "-color_trc", "bt709")
RATE = Fraction(30000, 1001)
X264_OPTIONS = (
    *("-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", "-bf", "0", "-g", "3"),
    *("-sc_threshold", "0", "-tag:v", "avc1"),
)
X265_OPTIONS = (
    *("-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params"),
    "log-level=error:info=0:pools=1:frame-threads=1:bframes=0:keyint=3:lossless=1",
)
FILE = ("-video_track_timescale", "30000", "-fflags", "+bitexact", "-flags:v", "+bitexact")


def made(command: RawCommand, target: Path, pixel_format: str, options: tuple[str, ...]) -> None:
    pictures = RawPictures((98, 66), RATE, pixel_format, COLOURS)
    draw = torch.Generator().manual_seed(1)
    samples = 98 * 66 * 3 // 2
    if pixel_format == "yuv420p":
        planes = torch.randint(0, 256, (5, samples), dtype=torch.uint8, generator=draw)
    else:
        deep = torch.randint(0, 1024, (5, samples), dtype=torch.int16, generator=draw)
        planes = deep.view(torch.uint8)
    encoder = PipeEncoder(command(pictures, (*options, *FILE), "mp4", str(target)))
    encoder.write(planes)
    encoder.close()


def said_of(path: Path) -> list[Any]:
    """All that must be the same for files of both to be joined, checked and played alike."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        packets = [(p.pts, p.dts, p.duration, p.is_keyframe) for p in container.demux(stream)]
        tags = (context.colorspace, context.color_range, context.color_trc, context.color_primaries)
        return [stream.time_base, context.codec_tag, context.pix_fmt, tags, packets]


def samples_of(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("pixel_format", "options"),
    [
        ("yuv420p", (*X264_OPTIONS, "-pix_fmt", "yuv420p")),
        ("yuv420p10le", (*X265_OPTIONS, "-pix_fmt", "yuv420p10le")),
    ],
)
def test_a_file_is_as_ffmpeg_writes_it(
    pixel_format: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours.mp4", tmp_path / "theirs.mp4"
    made(pyav_pipe.command, ours, pixel_format, options)
    made(ffmpeg_pipe.raw_command, theirs, pixel_format, options)
    assert said_of(ours) == said_of(theirs)
    frames, expected = samples_of(ours), samples_of(theirs)
    assert len(frames) == 5
    assert all((a == b).all() for a, b in zip(frames, expected, strict=True))


def test_a_greenscreen_made_so_is_joined_checked_and_shows_every_frame(
    clip: Callable[[ClipSpec], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def options(encoding: EncodingSettings, interval: int, **_: object) -> list[str]:
        assert encoding.nvenc_pipe == "pyav"
        given = dict(zip(X264_OPTIONS[::2], X264_OPTIONS[1::2], strict=True)) | {"-qp": "18"}
        given |= {"-g": str(interval), "-pix_fmt": "yuv420p"}
        return [word for pair in given.items() for word in pair]

    monkeypatch.setattr(greenscreen, "encoder_options", options)
    encoding = EncodingSettings(
        encoder="nvenc", nvenc_input="pipe", nvenc_pipe="pyav", codec="h264", keyframe_s=0.3
    )
    settings = replace(chroma_settings(20), deliverables=("greenscreen",), encoding=encoding)
    source = clip(ClipSpec("ntsc.mov", X264, rate=RATE))
    target = render(source, tmp_path, settings)[1]
    pictures = [rgba(frame) for frame in decoded(target)]
    left, right = read_numbers([picture.round().astype("uint8") for picture in pictures])
    assert left == right == list(range(50))


def test_pictures_that_end_within_one_are_told(tmp_path: Path) -> None:
    pictures = RawPictures((64, 32), Fraction(30), "yuv420p", COLOURS)
    options = (*X264_OPTIONS, "-pix_fmt", "yuv420p")
    encoder = PipeEncoder(pyav_pipe.command(pictures, options, "mp4", str(tmp_path / "x.mp4")))
    encoder.write(torch.zeros(1, 64 * 32 * 3 // 2 - 1, dtype=torch.uint8))
    with pytest.raises(EncodeError, match="the pictures end within one"):
        encoder.close()


@pytest.mark.parametrize("way", ["pyav", "ffmpeg"])
def test_where_there_is_no_driver_the_library_says_so(way: str) -> None:
    """Real libraries: what is wrong here is the first thing that they need."""
    options = tuple(encoder_options(EncodingSettings(encoder="nvenc"), 60))
    hidden = only_these("", {"LD_LIBRARY_PATH": "/nowhere"})
    found = pipe_trial(nvenc_way(way), Asked(options, 640, 320), hidden)
    assert found is not None
    assert found.startswith(("Cannot load lib", "No CUDA capable", "dl_fn->cuda_dl->cu"))


@pytest.mark.parametrize("cause", [NO_SESSION, NO_KEY])
def test_a_session_that_is_refused_while_it_works_is_no_failure_of_the_encoder(
    cause: str, tmp_path: Path
) -> None:
    said = FFMPEG_SAYS.format(cause=cause)
    script = f"cat >/dev/null <<'END'\nEND\nprintf '%s' \"$1\" >&2; exit 187; #{tmp_path}"
    encoder = PipeEncoder(["/bin/sh", "-c", script, "sh", said, f"file:{tmp_path / 'x.mp4'}"])
    with pytest.raises(SessionRefused, match="OpenEncodeSessionEx failed"):
        encoder.close()


def test_a_segment_without_a_session_says_that_and_nothing_of_the_encoder(
    clip: Callable[[ClipSpec], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the threads of a segment, whose encoder ends before it has read a frame."""

    def refused(self: GreenScreen, path: Path) -> list[str]:
        said = FFMPEG_SAYS.format(cause=NO_SESSION)
        return ["/bin/sh", "-c", 'printf %s "$1" >&2; exit 187', "sh", said, f"file:{path}"]

    monkeypatch.setattr(GreenScreen, "_segment_command", refused)
    settings = replace(chroma_settings(20), deliverables=("greenscreen",))
    with pytest.raises(SessionRefused) as caught:
        render(clip(ClipSpec("ntsc.mov", X264, rate=RATE)), tmp_path, settings)
    assert caught.value.kind == "session"


# Trials.


def test_every_kind_of_gpu_that_will_work_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def try_way(way: object, asked: Asked, environment: Any) -> str | None:
        seen.append(environment["CUDA_VISIBLE_DEVICES"])
        assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
        return "none here" if seen[-1] == "1" else None

    double: TryWay = try_way
    asked = Asked(("-c:v", "hevc_nvenc"), 640, 320)
    trials = NvencTrials(["3", "1"], double)
    assert [trials(nvenc_way("pyav"), asked) for _ in range(2)] == ["none here"] * 2
    assert seen == ["3", "1"]
    assert NvencTrials(["3"], double)(nvenc_way("pyav"), asked) is None
    assert NvencTrials([], double)(nvenc_way("pyav"), asked) == "no worker has a GPU"
