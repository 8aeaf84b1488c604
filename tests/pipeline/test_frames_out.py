"""Frames out = frames in, read off finished files: numbers and eyes are painted into the pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.source.timing.frame_index import FrameIndex
from tests.clips import (
    SVT_AV1,
    VP9,
    X264,
    X265,
    ClipSpec,
    read_frames,
    read_numbers,
    read_sounds,
)
from tests.pipeline.headers import describe, vexu
from tests.render import chroma_settings, render

GetClip = Callable[[ClipSpec], Path]

NTSC = Fraction(30000, 1001)
H264 = ClipSpec("h264.mp4", X264)
CONSTANT = [
    replace(spec, num_frames=26)
    for spec in (
        replace(H264, audio=("aac",)),
        ClipSpec("ntsc.mov", X264, rate=NTSC),
        ClipSpec("h264.mkv", X264, rate=NTSC, audio=("aac", "libopus", "libvorbis")),
        ClipSpec("h264.ts", X264, audio=("aac",)),
        ClipSpec("h264.avi", X264, rate=Fraction(25)),
        ClipSpec("hevc.mp4", X265, rate=Fraction(60)),
        ClipSpec("hevc10.mp4", X265, "yuv420p10le", audio=("aac",)),
        ClipSpec("av1.mkv", SVT_AV1, audio=("libopus",)),
        ClipSpec("av1_10.mp4", SVT_AV1, "yuv420p10le"),
        ClipSpec("vp9.webm", VP9, audio=("libopus",)),
        ClipSpec("h264_422.mkv", (*X264, "-profile:v", "high422"), "yuv422p"),
    )
]
JITTER = "'(N+0.3*mod(N\\,3))/30/TB'"
GAPS = "'(N+if(gte(N\\,20)\\,4\\,0)+if(gte(N\\,37)\\,2\\,0)+0.2*mod(N\\,2))/30/TB'"


@pytest.mark.parametrize("spec", CONSTANT, ids=lambda spec: spec.name)
def test_every_frame_once_and_in_order_and_every_track_as_long_as_the_picture(
    spec: ClipSpec, clip: GetClip, tmp_path: Path
) -> None:
    video, target = render(clip(spec), tmp_path, chroma_settings())
    left, right = read_numbers(read_frames(target))
    assert left == list(range(spec.num_frames))
    assert right == left
    assert video.frame_rate == spec.rate
    assert not video.variable_rate
    sounds = read_sounds(target)
    assert len(sounds) == len(spec.audio)
    frame_s = float(1 / spec.rate)
    for sound, language in zip(sounds, ("eng", "deu", "fra"), strict=False):
        assert abs(sound.begin_s) <= frame_s
        assert abs(sound.end_s - spec.num_frames * frame_s) <= frame_s
        assert sound.codec in ("opus", "libopus", "vorbis", "libvorbis")
        if spec.name.endswith((".mp4", ".mkv")):  # the others do not keep a language
            assert sound.language == language


@pytest.mark.parametrize("suffix", [".mov", ".mp4"])
def test_each_eye_a_track_with_keyframes_of_its_own(
    suffix: str, clip: GetClip, tmp_path: Path
) -> None:
    path = tmp_path / f"two{suffix}"
    halves = "[0:v]split[a][b];[a]crop=iw/2:ih:0:0[l];[b]crop=iw/2:ih:iw/2:0[r]"
    maps = ("-map", "[l]", "-map", "[r]", "-map", "0:a", "-c:a", "copy", "-c:v", "libx264")
    keys = ("-g:v:0", "7", "-g:v:1", "11", "-bf", "2", "-sc_threshold", "0")
    source = ("-i", str(clip(CONSTANT[0])), "-filter_complex", halves)
    run_ffmpeg(ffmpeg_command(*source, *maps, *keys, str(path)))
    describe(path, vexu(1), vexu(2))
    video, target = render(path, tmp_path, chroma_settings(), layout=None, shuffle=3)
    assert (video.layout, video.right_stream) == ("sbs", 1)
    left, right = read_numbers(read_frames(target))
    assert left == list(range(CONSTANT[0].num_frames))
    assert right == left


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_jitter_of_a_third_of_a_frame_drops_nothing(
    container: str, clip: GetClip, tmp_path: Path
) -> None:
    spec = ClipSpec(f"jitter.{container}", X264, setpts=JITTER)
    _, target = render(clip(spec), tmp_path, chroma_settings())
    assert read_numbers(read_frames(target))[0] == list(range(spec.num_frames))


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_variable_rate_becomes_constant_by_the_nearest_time_stamp(
    container: str, clip: GetClip, tmp_path: Path
) -> None:
    spec = ClipSpec(f"gaps.{container}", X264, setpts=GAPS, audio=("aac",))
    video, target = render(clip(spec), tmp_path, chroma_settings())
    assert video.variable_rate
    assert video.frame_rate == 30
    index = FrameIndex.load(tmp_path / "index.json")
    due = [k / 30 for k in range(video.num_frames)]
    stamps = index.pts_seconds - index.pts_seconds[0]
    nearest = [int(np.abs(stamps - t).argmin()) for t in due]
    left, right = read_numbers(read_frames(target))
    assert left == right == nearest
    assert set(left) == set(range(spec.num_frames))


@pytest.mark.parametrize(("start", "count"), [(0, 7), (13, 20), (39, None), (20, 1), (45, 100)])
def test_a_range_is_exact(start: int, count: int | None, clip: GetClip, tmp_path: Path) -> None:
    spec = replace(H264, audio=("aac",))
    settings = chroma_settings(start_frame=start, max_frames=count)
    _, target = render(clip(spec), tmp_path, settings)
    stop = 50 if count is None else min(50, start + count)
    left, right = read_numbers(read_frames(target))
    assert left == right == list(range(start, stop))
    (sound,) = read_sounds(target)
    assert abs(sound.end_s - (stop - start) / 30) <= 1 / 30


@pytest.mark.parametrize(
    ("start", "count", "every"), [(0, None, 3), (13, 20, 3), (10, 21, 7), (20, 1, 5)]
)
def test_every_nth_frame_of_a_range_lasts_as_long(
    start: int, count: int | None, every: int, clip: GetClip, tmp_path: Path
) -> None:
    spec = replace(H264, audio=("aac",))
    settings = replace(chroma_settings(4, start_frame=start, max_frames=count), every=every)
    video, target = render(clip(spec), tmp_path, settings)
    expected = list(range(start, 50 if count is None else start + count, every))
    left, right = read_numbers(read_frames(target))
    assert left == right == expected
    assert video.frame_rate == Fraction(30, every)
    with av.open(str(target)) as container:
        stamps = [
            (packet.pts or 0) * Fraction(packet.time_base or 0)
            for packet in container.demux(video=0)
            if packet.size
        ]
    due = [Fraction(k * every, 30) for k in range(len(expected))]
    assert all(abs(stamp - k) <= Fraction(1, 1000) for stamp, k in zip(stamps, due, strict=True))
    (sound,) = read_sounds(target)
    assert abs(sound.begin_s) <= 0.02
    assert abs(sound.end_s - len(expected) * every / 30) <= 1 / 30


def test_frames_that_are_left_out_change_no_other_at_a_variable_rate(
    clip: GetClip, tmp_path: Path
) -> None:
    source = clip(ClipSpec("gaps.mp4", X264, setpts=GAPS, audio=("aac",)))
    settings = replace(chroma_settings(5, start_frame=7), every=3)
    _, target = render(source, tmp_path, settings)
    whole = FrameIndex.load(tmp_path / "index.json")
    shown = whole.source_frames(0, whole.num_frames).tolist()
    assert read_numbers(read_frames(target))[0] == shown[7::3]


def test_the_order_of_segments_does_not_matter(clip: GetClip, tmp_path: Path) -> None:
    source = clip(CONSTANT[0])
    _, plain = render(source, tmp_path / "a", chroma_settings(7))
    _, mixed = render(source, tmp_path / "b", chroma_settings(7), shuffle=5)
    pairs = zip(read_frames(plain), read_frames(mixed), strict=True)
    assert all((a == b).all() for a, b in pairs)
