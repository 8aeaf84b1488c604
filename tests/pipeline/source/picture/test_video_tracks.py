"""Which track is matted of a file that holds several, and what becomes of eyes that lie apart."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
import torch

from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.errors import InputError
from pipeline.source.decode import FrameReader
from pipeline.source.reader import open_reader
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.video_info import read_video
from tests.pipeline.headers import describe, element, number, vexu
from tests.render import CPU


def video_of(
    path: Path,
    *colours: str,
    sizes: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
    seconds: float = 0.3,
) -> Path:
    """A file with a track of video of each colour, without any mark of a default but `options`."""
    inputs: list[str] = []
    maps: list[str] = []
    for place, colour in enumerate(colours):
        size = sizes[place] if sizes else "64x64"
        inputs += ["-f", "lavfi", "-i", f"color={colour}:s={size}:r=10:d={seconds}"]
        maps += ["-map", str(place)]
    codec = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-color_range", "tv")
    marks = ("-disposition:v", "0")
    run_ffmpeg(ffmpeg_command(*inputs, *maps, *codec, *marks, *options, str(path)))
    return path


def colour_of(path: Path, folder: Path, layout: str | None = None) -> list[int]:
    """Mean red, green and blue of what is decoded."""
    video = read_video(path, folder / "index.json", layout)  # type: ignore[arg-type]
    picture = FrameReader(video, FrameIndex.load(folder / "index.json"), CPU).picture(1)
    return [round(mean) for mean in picture.flatten(1).float().mean(1).tolist()]


def test_the_default_is_taken_then_the_largest(tmp_path: Path) -> None:
    sizes = ("32x32", "96x64", "64x64")
    path = video_of(tmp_path / "largest.mkv", "red", "blue", "lime", sizes=sizes)
    assert colour_of(path, tmp_path)[2] > 200
    info = read_video(path, tmp_path / "index.json", None)
    assert (info.width, info.stream) == (96, 1)
    assert info.notes == (
        "of 3 video tracks stream 1 (96x64 h264) is taken; left out: stream 0 (32x32 h264),"
        " stream 2 (64x64 h264)",
    )
    marked = ("-disposition:v:2", "default")
    path = video_of(tmp_path / "default.mkv", "red", "blue", "lime", sizes=sizes, options=marked)
    assert colour_of(path, tmp_path)[1] > 200
    (note,) = read_video(path, tmp_path / "index.json", None).notes
    assert "stream 2 (64x64 h264) is taken, the default; left out: stream 0" in note


def test_two_tracks_of_one_size_may_be_the_eyes_and_the_command_joins_them(tmp_path: Path) -> None:
    path = video_of(tmp_path / "it's 3D.mkv", "red", "blue")
    (note,) = read_video(path, tmp_path / "index.json", None).notes
    assert "if they are the two eyes, join them first: ffmpeg -i" in note
    joined = joined_by(note, path)
    info = read_video(joined, tmp_path / "index.json", None)
    assert (info.width, info.height, info.layout) == (128, 64, "sbs")
    left_right(joined, tmp_path)


def joined_by(message: str, path: Path) -> Path:
    """Obey the command in a message."""
    (command,) = re.findall(r"ffmpeg (-i .*?_LR\.mp4'?)(?:;|$)", message)
    *options, target = shlex.split(command)
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin"]
    subprocess.run([*ffmpeg, *options, target], cwd=path.parent, check=True)
    return path.parent / target


def left_right(path: Path, folder: Path) -> None:
    """The left half must be red, the right one blue."""
    video = read_video(path, folder / "index.json", None)
    picture = open_reader(video, FrameIndex.load(folder / "index.json"), CPU).picture(1).float()
    assert picture[0, :, :56].mean() > 200 > 55 > picture[2, :, :56].mean()
    assert picture[2, :, 72:].mean() > 200 > 55 > picture[0, :, 72:].mean()


@pytest.mark.parametrize("swapped", [False, True])
def test_an_eye_a_track_by_vexu_is_one_picture_side_by_side(swapped: bool, tmp_path: Path) -> None:
    colours = ("blue", "red") if swapped else ("red", "blue")
    boxes = (vexu(2), vexu(1)) if swapped else (vexu(1), vexu(2))
    path = describe(video_of(tmp_path / "spatial.mov", *colours), *boxes)
    video = read_video(path, tmp_path / "index.json", None)
    assert (video.width, video.height, video.layout, video.notes) == (128, 64, "sbs", ())
    assert (video.stream, video.right_stream) == ((1, 0) if swapped else (0, 1))
    assert video.layout_reason == f"its eyes are the streams {video.stream} and {1 - video.stream}"
    left_right(path, tmp_path)
    info = read_video(path, tmp_path / "index.json", "mono")
    assert (info.layout, info.right_stream, len(info.notes)) == ("mono", None, 1)
    assert read_video(path, tmp_path / "index.json", "sbs").layout == "sbs"
    with pytest.raises(InputError, match="not one above the other in one picture, as --layout tb"):
        read_video(path, tmp_path / "index.json", "tb")


def test_an_eye_a_track_in_matroska_is_as_well(tmp_path: Path) -> None:
    path = video_of(tmp_path / "two.mkv", "red", "blue", options=("-write_crc32", "0"))
    with_joining_track(path)
    left_right(path, tmp_path)
    assert read_video(path, tmp_path / "index.json", None).notes == ()
    info = read_video(path, tmp_path / "index.json", "mono")
    assert info.stream == 0
    assert "left out: stream 1 (64x64 h264), stream 2" in info.notes[0]


@pytest.mark.parametrize(
    ("sizes", "filters", "why"),
    [
        (("64x64", "64x32"), "", "of unlike sizes (64x64 and 64x32)"),
        (("65x64", "65x64"), "format=yuv444p", "each 65 pixels wide"),
        ((), "settb=1/1000,setpts=PTS+40", "whose frames lie up to 0.04 s apart"),
        ((), "fps=30", "of 6 and 18 frames"),
        ((), "setsar=2", "of unlike shapes of pixels"),
    ],
)
def test_tracks_that_do_not_go_together_are_refused_with_the_command_that_joins_them(
    sizes: tuple[str, ...], filters: str, why: str, tmp_path: Path
) -> None:
    passed = ("-pix_fmt", "yuv444p", "-fps_mode", "passthrough")
    options = (*passed, "-enc_time_base:v", "1:1000", "-filter:v:1", filters or "null")
    path = video_of(tmp_path / "odd.mov", "red", "blue", sizes=sizes, options=options, seconds=0.6)
    path = describe(path, vexu(1), vexu(2))
    with pytest.raises(InputError, match="the left eye in stream 0 and the right eye") as caught:
        read_video(path, tmp_path / "index.json", None)
    assert why in caught.value.message
    assert "\n" not in str(caught.value)
    if sizes != ("64x64", "64x32"):
        joined = joined_by(caught.value.advice, path)
        assert read_video(joined, tmp_path / "index.json", None).layout == "sbs"


def test_an_eye_that_ends_a_frame_earlier_shows_its_last_one(tmp_path: Path) -> None:
    cut = ("-filter:v:1", "trim=end=0.5")
    path = video_of(tmp_path / "cut.mov", "red", "blue", options=cut, seconds=0.6)
    path = describe(path, vexu(1), vexu(2))
    video = read_video(path, tmp_path / "index.json", None)
    reader = open_reader(video, FrameIndex.load(tmp_path / "index.json"), CPU)
    pictures = torch.cat([batch.rgb for batch in reader.batches(0, 6, 4)])
    assert pictures.shape == (6, 3, 64, 128)
    assert (pictures[:, 2, :, 72:].float().mean((1, 2)) > 200).all()
    assert reader.concealed_frames == [5]


def with_joining_track(path: Path) -> None:
    """Add a track that joins the two others of a Matroska file, as its left and its right plane."""
    data = path.read_bytes()
    segment = data.index(bytes.fromhex("18538067")) + 4
    begin = data.rindex(bytes.fromhex("1654AE6B"))  # the first is in the list of what is where
    length = 9 - data[begin + 4].bit_length()
    end = begin + 4 + length
    end += int.from_bytes(data[begin + 4 : end], "big") & ((1 << 7 * length) - 1)
    tracks = data[begin + 4 + length : end]
    uid = bytes.fromhex("73C588")
    places = [k + 3 for k in range(len(tracks)) if tracks.startswith(uid, k)]
    uids = [int.from_bytes(tracks[k : k + 8], "big") for k in places]
    planes = b"".join(
        element("E4", element("E5", each.to_bytes(8, "big")) + number("E6", plane))
        for plane, each in enumerate(uids)
    )
    entry = number("D7", 9) + number("73C5", 9) + number("83", 1) + element("86", b"V_UNCOMPRESSED")
    entry += element("E0", number("B0", 64) + number("BA", 64))
    entry += element("E2", element("E3", planes))
    unknown_size = b"\x01" + 7 * b"\xff"  # that of the segment would be too small
    new = element("1654AE6B", tracks + element("AE", entry))
    path.write_bytes(data[:segment] + unknown_size + data[segment + 8 : begin] + new + data[end:])


def test_eyes_in_layers_of_one_track_are_refused_unless_one_is_asked_for(tmp_path: Path) -> None:
    hevc = ("-c:v", "libx265", "-tag:v", "hvc1", "-x265-params", "log-level=error")
    path = describe(video_of(tmp_path / "mv.mov", "red", options=hevc), vexu(3))
    with pytest.raises(InputError, match="two layers of one track") as caught:
        read_video(path, tmp_path / "index.json", None)
    assert "[0:v:0:vpos:left][0:v:0:vpos:right]hstack" in caught.value.advice
    assert read_video(path, tmp_path / "index.json", "mono").layout == "mono"
    other = describe(video_of(tmp_path / "mvc.mov", "red"), vexu(3))
    with pytest.raises(InputError, match="two layers of one track") as caught:
        read_video(other, tmp_path / "index.json", "sbs")
    assert "a program that decodes both layers" in caught.value.advice
    packed = describe(video_of(tmp_path / "packed.mov", "red"), vexu(3, b"side"))
    assert read_video(packed, tmp_path / "index.json", None).layout == "sbs"


@pytest.mark.parametrize(
    "mode", ["row_interleaved_lr", "checkerboard_rl", "anaglyph_cyan_red", "block_lr"]
)
def test_eyes_that_are_mixed_are_refused_in_one_line(mode: str, tmp_path: Path) -> None:
    options = ("-metadata:s:v:0", f"stereo_mode={mode}")
    path = video_of(tmp_path / "mixed.mkv", "red", options=options)
    with pytest.raises(InputError, match="holds its eyes") as caught:
        read_video(path, tmp_path / "index.json", None)
    assert "\n" not in str(caught.value)
    assert read_video(path, tmp_path / "index.json", "mono").layout == "mono"
    if mode != "block_lr":  # the person knows better
        assert read_video(path, tmp_path / "index.json", "sbs").layout == "sbs"


def test_a_track_of_one_eye_says_so(tmp_path: Path) -> None:
    path = describe(video_of(tmp_path / "left.mov", "red", sizes=("4096x2048",)), vexu(1))
    info = read_video(path, tmp_path / "index.json", None)
    assert info.layout == "mono"  # though its shape alone is that of two
    assert info.notes == ("holds the left eye alone, by its metadata",)
