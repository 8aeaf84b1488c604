"""Pictures that a file has shown otherwise than they are stored: cropped, mirrored, turned."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.report.stills.draw import _source
from orchestrator.report.stills.draw_request import DrawRequest
from pipeline.contract import Crop, VideoInfo
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.source.decode import FrameReader
from pipeline.source.probe import info_from_json, info_to_json
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.video_info import read_video
from tests.pipeline.headers import clap, crop_in_matroska, describe, with_room
from tests.render import CPU

#: Four colours, so that every way of turning and mirroring shows; red is at the top left.
CORNERS = "color=red:s=64x48:r=10:d=0.3,drawbox=32:0:32:24:lime:fill,drawbox=0:24:32:24:blue:fill"
CORNERS += ",drawbox=32:24:32:24:white:fill"


def corners(path: Path, *options: str, pixel_format: str = "yuv444p") -> Path:
    picture = ("-f", "lavfi", "-i", CORNERS, "-pix_fmt", pixel_format, "-color_range", "tv")
    codec = ("-c:v", "libx264rgb" if pixel_format == "rgb24" else "libx264", "-qp", "0")
    run_ffmpeg(ffmpeg_command(*picture, *codec, *options, str(path)))
    return path


def decoded(path: Path, folder: Path) -> tuple[VideoInfo, NDArray[np.uint8]]:
    info = read_video(path, folder / "index.json", "mono")
    assert info_from_json(info_to_json(info)) == info
    picture = FrameReader(info, FrameIndex.load(folder / "index.json"), CPU).picture(1)
    return info, picture.permute(1, 2, 0).numpy()


def ffmpeg_shows(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """The picture as ffmpeg's command line shows it."""
    raw = path.with_suffix(".raw")
    out = ("-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24")
    run_ffmpeg(ffmpeg_command("-i", str(path), *out, str(raw)))
    return np.frombuffer(raw.read_bytes(), np.uint8).reshape(height, width, 3)


def still(info: VideoInfo) -> NDArray[np.uint8]:
    """The picture that the report's page shows."""
    request = DrawRequest(
        source=info.path,
        stream=info.stream,
        begin_s=info.begin_s,
        rotation=info.rotation,
        frame_rate=10.0,
        every=1,
        first_frame=0,
        output=info.path,
        is_matte=False,
        frames=(1,),
        most_cpu_s=60,
        crop=info.crop,
        mirrored=info.mirrored,
    )
    picture = _source(request, 1)
    assert picture is not None
    return np.asarray(picture)


def assert_alike(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> None:
    assert one.shape == other.shape
    assert np.abs(one.astype(int) - other.astype(int)).mean() < 3


WAYS = list(product((0, 90, 180, 270), (False, True), (False, True)))


@pytest.mark.parametrize(("degrees", "across", "down"), WAYS)
def test_what_is_turned_and_mirrored_is_seen_as_ffmpeg_shows_it(
    degrees: int, across: bool, down: bool, tmp_path: Path
) -> None:
    flat = corners(tmp_path / "flat.mkv")
    path = tmp_path / "shown.mp4"
    options = ["-display_rotation", str(degrees)]
    options += ["-display_hflip"] * across + ["-display_vflip"] * down
    run_ffmpeg(ffmpeg_command(*options, "-i", str(flat), "-c", "copy", str(path)))
    info, picture = decoded(path, tmp_path)
    assert (info.width, info.height) == ((48, 64) if degrees in (90, 270) else (64, 48))
    assert info.mirrored == (across != down)
    assert info.notes == ()
    assert_alike(picture, ffmpeg_shows(path, info.width, info.height))
    assert_alike(still(info), picture)


def test_formats_that_torchcodec_converts_are_mirrored_too(tmp_path: Path) -> None:
    flat = corners(tmp_path / "flat.mkv", pixel_format="rgb24")
    path = tmp_path / "shown.mp4"
    options = ("-display_rotation", "90", "-display_hflip")
    run_ffmpeg(ffmpeg_command(*options, "-i", str(flat), "-c", "copy", str(path)))
    info, picture = decoded(path, tmp_path)
    assert (info.pixel_format, info.rotation, info.mirrored) == ("gbrp", 270, True)
    assert_alike(picture, ffmpeg_shows(path, 48, 64))


def test_an_angle_that_is_not_right_is_said(tmp_path: Path) -> None:
    flat = corners(tmp_path / "flat.mkv")
    path = tmp_path / "askew.mp4"
    options = ("-display_rotation", "80")
    run_ffmpeg(ffmpeg_command(*options, "-i", str(flat), "-c", "copy", str(path)))
    info, _ = decoded(path, tmp_path)
    assert info.rotation == 90
    assert info.notes == ("the file turns its pictures by 80 degrees, which is taken for 90",)


def test_pictures_are_cropped_as_matroska_says(tmp_path: Path) -> None:
    path = with_room(corners(tmp_path / "flat.mkv"), tmp_path / "cropped.mkv")
    _, whole = decoded(path, tmp_path)
    crop_in_matroska(path, 4, 8, 6, 10)
    info, picture = decoded(path, tmp_path)
    assert info.crop == Crop(4, 8, 6, 10)
    assert (info.width, info.height) == (48, 36)
    assert info.notes == ("pictures of 64x48 are cropped to 48x36, as the file says",)
    assert_alike(picture, whole[4:40, 6:54])
    assert_alike(picture, ffmpeg_shows(path, 48, 36))
    assert_alike(still(info), picture)


def test_pictures_are_cropped_to_the_clean_aperture_before_they_are_turned(tmp_path: Path) -> None:
    flat = corners(tmp_path / "flat.mkv")
    path = tmp_path / "aperture.mp4"
    options = ("-display_rotation", "90")
    run_ffmpeg(ffmpeg_command(*options, "-i", str(flat), "-c", "copy", str(path)))
    describe(path, clap(40, 44, right=-4))
    info, picture = decoded(path, tmp_path)
    assert (info.crop, info.rotation) == (Crop(2, 2, 8, 16), 90)
    assert (info.width, info.height) == (44, 40)
    assert_alike(picture, ffmpeg_shows(path, 44, 40))
    assert_alike(still(info), picture)


def test_odd_crops_are_padded(tmp_path: Path) -> None:
    path = with_room(corners(tmp_path / "flat.mkv"), tmp_path / "odd.mkv")
    _, whole = decoded(path, tmp_path)
    crop_in_matroska(path, 1, 0, 0, 3)
    info, picture = decoded(path, tmp_path)
    assert (info.width, info.height) == (61, 47)
    assert picture.shape == (48, 62, 3)
    assert_alike(picture[:47, :61], whole[1:, :61])
    assert info.notes[1] == "odd size 61x47 is padded to 62x48"


def test_a_crop_to_nothing_is_said_and_not_obeyed(tmp_path: Path) -> None:
    path = with_room(corners(tmp_path / "flat.mkv"), tmp_path / "nothing.mkv")
    crop_in_matroska(path, 20, 20, 0, 0)
    info, picture = decoded(path, tmp_path)
    assert picture.shape == (48, 64, 3)
    assert info.notes == (
        "the file crops its pictures of 64x48 to 64x8, which cannot be meant: they are shown whole",
    )
