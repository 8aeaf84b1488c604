"""The probe: what it says of good files, and one clear line for each bad one."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Literal

import imageio_ffmpeg
import pytest

from pipeline.contract import ColorTags
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.errors import InputError, MachineError
from pipeline.source.picture.layout import find_view
from pipeline.source.probe import info_from_json, info_to_json, probe_video
from pipeline.source.video_info import read_video
from pipeline.vr_tags.in_files import SphericalTags, placeholder_options, write_tags
from tests.clips import X264, X265, ClipSpec

GetClip = Callable[[ClipSpec], Path]


def ffmpeg(*arguments: str) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments]
    subprocess.run(command, check=True, stderr=subprocess.PIPE)


def test_a_good_file(clip: GetClip, tmp_path: Path) -> None:
    spec = ClipSpec(
        "talk_LR_180.mp4",
        X265,
        "yuv420p10le",
        rate=Fraction(60000, 1001),
        audio=("aac", "aac"),
        options=("-metadata", "title=A talk"),
    )
    info = probe_video(clip(spec), tmp_path / "index.json")
    assert (info.width, info.height) == (384, 96)
    assert info.frame_rate == Fraction(60000, 1001)
    assert info.num_frames == info.source_frames == 50
    assert (info.codec, info.pixel_format, info.bit_depth) == ("hevc", "yuv420p10le", 10)
    assert info.color == ColorTags("bt709", "unspecified", "unspecified", False)
    assert (info.layout, info.layout_reason) == ("sbs", "name has 'LR'")
    assert [track.language for track in info.audio] == ["eng", "deu"]
    assert all(abs(track.start_s) < 0.03 for track in info.audio)
    assert info.title == "A talk"
    assert info.notes == (
        "each eye is 192x96, which is not 1:1 as in equirect180: if it looks stretched, say what it"
        " is with --projection",
    )
    assert info_from_json(info_to_json(info)) == info


def test_odd_sizes_are_padded_and_said_so(tmp_path: Path) -> None:
    path = tmp_path / "odd.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=65x33:d=0.2", "-c:v", "ffv1", str(path))
    info = read_video(path, tmp_path / "index.json", None)
    assert (info.width, info.height, info.even_width, info.even_height) == (65, 33, 66, 34)
    assert info.notes == ("odd size 65x33 is padded to 66x34",)


def test_a_track_without_sound_is_left_out_aloud(clip: GetClip, tmp_path: Path) -> None:
    source = clip(ClipSpec("h264.mkv", X264, audio=("aac",)))
    path = tmp_path / "dropped.mkv"
    ffmpeg("-i", str(source), "-c", "copy", "-bsf:a", "noise=drop=1", str(path))
    info = read_video(path, tmp_path / "index.json", None)
    assert info.audio == ()
    (note,) = info.notes
    assert note.startswith("audio stream 1 is left out")


def test_rotation_turns_the_size(tmp_path: Path) -> None:
    flat, turned = tmp_path / "flat.mp4", tmp_path / "turned.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x32:d=0.2", "-c:v", "libx264", str(flat))
    ffmpeg("-display_rotation", "90", "-i", str(flat), "-c", "copy", str(turned))
    info = read_video(turned, tmp_path / "index.json", None)
    assert (info.width, info.height, info.rotation) == (32, 64, 90)


def test_bad_files_get_one_clear_line(tmp_path: Path) -> None:
    sound = tmp_path / "sound.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.5", "-c:a", "aac", str(sound))
    text = tmp_path / "text.mp4"
    text.write_text("this is no video")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    none = tmp_path / "none.mkv"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc=s=64x32:d=0.2", "-frames:v", "0", "-c:v", "ffv1", str(none)
    )
    missing = tmp_path / "missing.mp4"
    expected = {
        sound: "only audio",
        text: "not a video",
        empty: "empty",
        missing: "No such file",
        none: "no",
    }
    for path, words in expected.items():
        with pytest.raises(InputError, match=words) as caught:
            probe_video(path, tmp_path / "index.json")
        assert "\n" not in str(caught.value)
        assert "Traceback" not in str(caught.value)


def test_a_probe_that_does_not_end_is_ended(clip: GetClip, tmp_path: Path) -> None:
    path = clip(ClipSpec("h264.mp4", X264))
    with pytest.raises(InputError, match="within 0 s"):
        probe_video(path, tmp_path / "index.json", deadline_s=0.001)


@pytest.mark.parametrize(
    ("stem", "size", "layout"),
    [
        ("talk_LR_180", (1000, 1000), "sbs"),
        ("talk_180_sbs", (1000, 1000), "sbs"),
        ("talk_3dh_180", (1000, 1000), "sbs"),
        ("talk_TB", (1000, 1000), "tb"),
        ("OverUnder-talk", (4000, 2000), "tb"),
        ("talk_180", (3840, 1920), "sbs"),
        ("talk", (1280, 640), "mono"),
        ("CLRB", (1000, 1000), "mono"),
    ],
)
def test_layout_by_name_then_shape(stem: str, size: tuple[int, int], layout: str) -> None:
    assert find_view(stem, *size).layout == layout


def test_layout_as_asked_beats_all() -> None:
    view = find_view("talk_LR", 4000, 2000, layout="mono")
    assert (view.layout, view.layout_reason) == ("mono", "as asked")


def test_a_machine_without_room_for_a_process_is_not_the_files_fault(
    clip: GetClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip(ClipSpec("small.mp4", X264))

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("pipeline.source.probe_processes.subprocess.Popen", refuse)
    with pytest.raises(MachineError, match="no process can be started"):
        probe_video(path, tmp_path / "index.json")


@pytest.mark.parametrize(
    ("tags", "view"),
    [
        (SphericalTags("sbs", False, "equirect180"), ("sbs", False, "equirect180")),
        (SphericalTags("sbs", True, "equirect180"), ("sbs", True, "equirect180")),
        (SphericalTags("tb", False, "equirect360"), ("tb", False, "equirect360")),
        (SphericalTags("sbs", False, "fisheye190"), ("sbs", False, "equirect180")),
        # Many a writer knows no bounds, and calls half a sphere a whole one.
        (SphericalTags("sbs", False, "equirect360"), ("sbs", False, "equirect180")),
    ],
)
@pytest.mark.parametrize("container", ["mp4", "webm"])
def test_the_files_own_words_are_read(
    container: Literal["mp4", "webm"],
    tags: SphericalTags,
    view: tuple[str, bool, str],
    tmp_path: Path,
) -> None:
    path = tmp_path / f"talk.{container}"
    size = "128x128" if tags.stereo == "tb" else "128x64"
    codec = "libx264" if container == "mp4" else "libvpx-vp9"
    picture = ("-f", "lavfi", "-i", f"testsrc=s={size}:r=30", "-frames:v", "2", "-c:v", codec)
    target = ("-f", container, f"file:{path}")
    run_ffmpeg(ffmpeg_command(*picture, *placeholder_options(container, tags), *target))
    write_tags(path, container, tags)
    info = read_video(path, tmp_path / "index.json", None)
    assert (info.layout, info.right_first, info.projection) == view
    assert "metadata" in info.layout_reason
    named = path.rename(tmp_path / f"talk_TB_360.{container}")
    assert read_video(named, tmp_path / "index.json", None).layout == "tb"
    asked = read_video(named, tmp_path / "index.json", "mono", "fisheye220")
    assert (asked.layout, asked.projection) == ("mono", "fisheye220")
    assert asked.layout_reason == asked.projection_reason == "as asked"
