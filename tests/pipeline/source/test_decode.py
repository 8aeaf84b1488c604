"""Decoding beyond the plain way: seeking, damage, rotation, odd sizes, other pixel formats."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.errors import DecodeError
from pipeline.source.decode import FrameReader
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.video_info import read_video
from tests.clips import SVT_AV1, VP9, X264, X265, ClipSpec, read_number
from tests.render import CPU

GetClip = Callable[[ClipSpec], Path]


def open_reader(path: Path, folder: Path) -> FrameReader:
    index_path = folder / "index.json"
    video = read_video(path, index_path, None)
    return FrameReader(video, FrameIndex.load(index_path), CPU)


def numbers(reader: FrameReader, start: int, stop: int, size: int = 4) -> list[int]:
    return [
        read_number(picture.permute(1, 2, 0).numpy()[:, :192])
        for batch in reader.batches(start, stop, size)
        for picture in batch.rgb
    ]


@pytest.mark.parametrize(
    "spec",
    [
        ClipSpec("h264.mp4", X264),
        ClipSpec("h264.ts", X264),
        ClipSpec("h264.avi", X264),
        ClipSpec("hevc.mkv", X265),
        ClipSpec("av1.mp4", SVT_AV1),
        ClipSpec("vp9.webm", VP9),
    ],
    ids=lambda spec: spec.name,
)
def test_any_range_from_any_place(spec: ClipSpec, clip: GetClip, tmp_path: Path) -> None:
    reader = open_reader(clip(spec), tmp_path)
    draw = random.Random(4)
    for _ in range(8):
        start = draw.randrange(50)
        stop = draw.randrange(start + 1, 51)
        assert numbers(reader, start, stop, draw.randrange(1, 9)) == list(range(start, stop))
    assert reader.concealed_frames == []


def test_batches_say_where_they_begin(clip: GetClip, tmp_path: Path) -> None:
    reader = open_reader(clip(ClipSpec("h264.mp4", X264)), tmp_path)
    assert [(b.start, b.stop) for b in reader.batches(5, 15, 4)] == [(5, 9), (9, 13), (13, 15)]


def test_damaged_frames_are_filled_and_counted(clip: GetClip, tmp_path: Path) -> None:
    """Every frame is a keyframe, so that a damaged packet costs one frame."""
    spec = ClipSpec("intra.mkv", (*VP9[:-1], "1"))
    whole = clip(spec)
    path = tmp_path / "damaged.mkv"
    import av

    with av.open(str(whole)) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
        positions = [(packet.pos or 0, packet.size) for packet in packets]
    data = bytearray(whole.read_bytes())
    for frame in (10, 11, 30):
        position, size = positions[frame]
        data[position + 8 : position + size - 2] = bytes(size - 10)
    path.write_bytes(bytes(data))
    reader = open_reader(path, tmp_path)
    shown = numbers(reader, 0, 50)
    assert len(shown) == 50
    for frame, number in enumerate(shown):
        if frame not in (10, 11, 30):
            assert number == frame
    assert reader.concealed_frames == [10, 11, 30]
    assert [shown[frame] for frame in (10, 11, 30)] == [12, 12, 31]


def test_a_file_that_ends_early_is_a_decode_error(clip: GetClip, tmp_path: Path) -> None:
    source = clip(ClipSpec("h264.mkv", X264))
    path = tmp_path / "cut.mkv"
    path.write_bytes(source.read_bytes())
    reader = open_reader(path, tmp_path)
    path.write_bytes(source.read_bytes()[: source.stat().st_size // 4])
    with pytest.raises(DecodeError, match="decoded"):
        numbers(reader, 0, 50)


def test_rotation_and_padding(tmp_path: Path) -> None:
    flat, turned = tmp_path / "flat.mp4", tmp_path / "turned.mp4"
    lavfi = "color=red:s=64x32:d=0.2,drawbox=x=0:y=0:w=32:h=32:c=blue:t=fill"
    run_ffmpeg(ffmpeg_command("-f", "lavfi", "-i", lavfi, "-c:v", "libx264", str(flat)))
    run_ffmpeg(
        ffmpeg_command("-display_rotation", "90", "-i", str(flat), "-c", "copy", str(turned))
    )
    picture = open_reader(turned, tmp_path).picture(0)
    assert picture.shape == (3, 64, 32)
    # Turned counter-clockwise by 90 degrees the left (blue) half is below.
    assert picture[2, 48:60].float().mean() > 200
    assert picture[0, 4:16].float().mean() > 200

    odd = tmp_path / "odd.mkv"
    lavfi = "testsrc=s=65x33:d=0.2"
    run_ffmpeg(ffmpeg_command("-f", "lavfi", "-i", lavfi, "-c:v", "ffv1", str(odd)))
    picture = open_reader(odd, tmp_path).picture(1)
    assert picture.shape == (3, 34, 66)
    assert torch.equal(picture[:, :, 65], picture[:, :, 64])
    assert torch.equal(picture[:, 33], picture[:, 32])


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p12le", "gbrp", "gray", "yuv422p10le"])
def test_unusual_pixel_formats(pixel_format: str, tmp_path: Path) -> None:
    path = tmp_path / "unusual.mkv"
    lavfi = "color=0x50a0c8:s=64x32:d=0.2:r=10"
    codec = ["-vf", "scale=out_color_matrix=bt709", "-colorspace", "bt709"]
    codec += ["-c:v", "libx265", "-x265-params", "lossless=1:log-level=error"]
    if pixel_format in ("gbrp", "gray"):
        codec = ["-c:v", "ffv1"]
    run_ffmpeg(
        ffmpeg_command("-f", "lavfi", "-i", lavfi, *codec, "-pix_fmt", pixel_format, str(path))
    )
    picture = open_reader(path, tmp_path).picture(0)
    expected = np.array([0x50, 0xA0, 0xC8])
    if pixel_format == "gray":
        expected = np.full(3, expected @ [0.299, 0.587, 0.114])
    assert np.abs(picture.flatten(1).float().mean(1).numpy() - expected).max() <= 4
