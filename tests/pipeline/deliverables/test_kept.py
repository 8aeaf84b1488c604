"""What a file says of its pictures is in the outputs that can say it, and else in a note."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from pipeline.contract import EncodingSettings, MasteringData, VideoInfo, VideoSettings
from pipeline.deliverables.kept import losses
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.source.picture.hdr_tags import mastering_data
from pipeline.source.video_info import read_video
from tests.made_once import MadeOnce
from tests.render import chroma_settings, render

DISPLAY = (13250, 34500, 7500, 3000, 34000, 16000, 15635, 16450, 10_000_000, 50)
HDR10 = MasteringData(DISPLAY, 1000, 400)
X265 = (
    "log-level=error:info=0:bframes=0:keyint=4:pools=2:frame-threads=1"
    ":master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    ":max-cll=1000,400"
)
BT2020 = ",format=yuv420p10le,setparams=color_primaries=bt2020:colorspace=bt2020nc:color_trc="
QUIET = "log-level=error:info=0:keyint=4:pools=2:frame-threads=1"


def film(made_once: MadeOnce, name: str, *options: str, filters: str = "") -> Path:
    """A subject before a green screen, in options that a test is about."""

    def make(folder: Path) -> None:
        picture = "color=0x00b140:size=128x64:rate=30000/1001,drawbox=48:16:32:32:0xb04030:fill"
        run_ffmpeg(
            ffmpeg_command(
                *("-f", "lavfi", "-i", picture + filters, "-frames:v", "10"),
                *(*options, str(folder / name)),
            )
        )

    return made_once("kept", (name, options, filters), make) / name


@dataclass(frozen=True)
class Found:
    """What a finished film says of itself."""

    aspect: Fraction
    timecode: str
    transfer: int
    primaries: int
    mastering: MasteringData | None
    pixels: str


def found(path: Path) -> Found:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame: Any = next(container.decode(stream))
        return Found(
            Fraction(stream.sample_aspect_ratio or 1),
            stream.metadata.get("timecode", ""),
            int(frame.color_trc),
            int(frame.color_primaries),
            mastering_data(frame),
            frame.format.name,
        )


def made(
    source: Path, folder: Path, format_name: str, *, codec: str = "hevc", **settings: Any
) -> tuple[VideoInfo, Found]:
    encoding = EncodingSettings(codec=codec, encoder="software")  # type: ignore[arg-type]
    asked = replace(chroma_settings(4), deliverables=(format_name,), encoding=encoding, **settings)
    video, target = render(source, folder, asked, layout="mono")
    return video, found(target)


@pytest.mark.slow
@pytest.mark.parametrize("format_name", ["webm", "prores", "hevc-alpha", "greenscreen"])
def test_the_shape_of_pixels_of_a_flat_film_is_kept(
    made_once: MadeOnce, tmp_path: Path, format_name: str
) -> None:
    source = film(made_once, "wide.mp4", "-c:v", "libx264", "-g", "4", filters=",setsar=2/1")
    video, shown = made(source, tmp_path, format_name)
    assert video.sample_aspect == 2
    assert shown.aspect == 2
    settings = VideoSettings(deliverables=(format_name, "tiff"))
    assert list(losses(video, settings)) == ["the pixel aspect ratio 2:1 is not kept in tiff"]


def test_vr_has_square_pixels_and_a_note_says_so(made_once: MadeOnce, tmp_path: Path) -> None:
    source = film(made_once, "dome_180.mp4", "-c:v", "libx264", "-g", "4", filters=",setsar=2/1")
    video, shown = made(source, tmp_path, "greenscreen")
    assert video.projection == "equirect180"
    assert shown.aspect == 1
    assert list(losses(video, VideoSettings())) == [
        "pixels of 2:1 are called square: VR players spread pictures by pixels alone"
    ]


def test_a_turned_film_has_turned_pixels(made_once: MadeOnce, tmp_path: Path) -> None:
    straight = film(made_once, "wide.mp4", "-c:v", "libx264", "-g", "4", filters=",setsar=2/1")
    turned = tmp_path / "turned.mp4"
    copied = ("-i", str(straight), "-c", "copy", str(turned))
    run_ffmpeg(ffmpeg_command("-display_rotation", "90", *copied))
    video = read_video(turned, tmp_path / "index.json", "mono")
    assert (video.rotation, video.sample_aspect) == (90, Fraction(1, 2))


@pytest.mark.parametrize(
    ("timecode", "frames", "expected"),
    [
        ("01:00:00:05", {}, "01:00:00:05"),
        ("00:59:59;28", {"start_frame": 3}, "01:00:00;01"),
        ("00:58:59;28", {"start_frame": 3, "max_frames": 5}, "00:59:00;03"),
        ("10:00:00:04", {"start_frame": 4, "every": 2}, "10:00:00:04"),
    ],
)
def test_time_code_goes_on_in_mov(
    made_once: MadeOnce, tmp_path: Path, timecode: str, frames: dict[str, Any], expected: str
) -> None:
    source = film(made_once, "take.mov", "-c:v", "libx264", "-g", "4", "-timecode", timecode)
    video, shown = made(source, tmp_path, "prores", **frames)
    assert video.timecode == timecode
    assert shown.timecode == expected
    settings = VideoSettings(deliverables=("prores", "webm", "greenscreen"))
    assert list(losses(video, settings)) == [
        f"the time code {timecode} is not kept in webm and greenscreen"
    ]


def test_too_few_frames_a_second_have_no_time_code(made_once: MadeOnce, tmp_path: Path) -> None:
    timecode = ("-timecode", "01:00:00:05")
    source = film(made_once, "take.mov", "-c:v", "libx264", "-g", "4", *timecode)
    video, shown = made(source, tmp_path, "prores", every=70)
    assert (video.num_frames, shown.timecode) == (1, "")
    settings = VideoSettings(deliverables=("prores",))
    assert list(losses(video, settings)) == ["the time code 01:00:00:05 is not kept in prores"]


def test_a_film_without_time_code_gets_none(made_once: MadeOnce, tmp_path: Path) -> None:
    source = film(made_once, "plain.mov", "-c:v", "libx264", "-g", "4")
    video, shown = made(source, tmp_path, "prores")
    assert (video.timecode, shown.timecode) == ("", "")
    assert list(losses(video, VideoSettings())) == []


@pytest.mark.parametrize(
    ("format_name", "codec", "kept"),
    [
        ("greenscreen", "hevc", HDR10),
        ("greenscreen", "av1", HDR10),
        ("hevc-alpha", "hevc", HDR10),
        ("prores", "hevc", None),
    ],
)
def test_hdr10_is_kept_where_the_encoder_writes_it(
    made_once: MadeOnce, tmp_path: Path, format_name: str, codec: str, kept: MasteringData | None
) -> None:
    options = ("-c:v", "libx265", "-x265-params", X265)
    source = film(made_once, "pq.mp4", *options, filters=f"{BT2020}smpte2084")
    video, shown = made(source, tmp_path, format_name, codec=codec)
    assert (video.mastering, video.bit_depth) == (HDR10, 10)
    assert (shown.transfer, shown.primaries) == (16, 9)
    assert "10" in shown.pixels or "12" in shown.pixels
    if kept is None or shown.mastering is None or shown.mastering.display is None:
        assert shown.mastering == kept
    else:  # AV1 has other units: colours in 1/65536, light in 1/256 and 1/16384
        pairs = zip(shown.mastering.display, DISPLAY, strict=True)
        assert all(abs(one - other) <= 2 for one, other in pairs)
        assert replace(shown.mastering, display=DISPLAY) == kept
    encoding = EncodingSettings(codec="hevc", encoder="software")
    several = VideoSettings(deliverables=("greenscreen", "prores", "matte"), encoding=encoding)
    assert list(losses(video, several)) == ["mastering data (HDR10) are not kept in prores"]
    by_nvenc = replace(several, encoding=replace(encoding, encoder="nvenc", nvenc_input="pipe"))
    assert list(losses(video, by_nvenc)) == [
        "mastering data (HDR10) are not kept in greenscreen and prores"
    ]


@pytest.mark.slow
def test_hlg_is_tagged_in_every_film(made_once: MadeOnce, tmp_path: Path) -> None:
    options = ("-c:v", "libx265", "-x265-params", QUIET)
    source = film(made_once, "hlg.mp4", *options, filters=f"{BT2020}arib-std-b67")
    for name in ("webm", "prores", "greenscreen"):
        _, shown = made(source, tmp_path / name, name)
        assert (shown.transfer, shown.primaries) == (18, 9)
