"""WebM: its tags, its sound, and that a file which is not right never gets its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
import torch

from pipeline.contract import (
    AudioTrack,
    ColorTags,
    EncodingSettings,
    FinishJob,
    SegmentResult,
    VideoInfo,
)
from pipeline.deliverables import webm
from pipeline.deliverables.sound.plan import WEBM_SOUND, plan_audio
from pipeline.encode.ffmpeg_pipe import PipeEncoder, ffmpeg_command, run_ffmpeg
from pipeline.errors import DiskError, EncodeError, InputError, SegmentsDamaged
from pipeline.files.publish import file_digest
from pipeline.finish import finish_video
from pipeline.pixels.batches import FrameBatch, MatteBatch
from pipeline.verify.readback import inspect_file
from tests.chains import layered
from tests.clips import X264, ClipSpec, read_frames, read_sounds
from tests.render import chroma_settings, render

GetClip = Callable[[ClipSpec], Path]

TITLED = ClipSpec(
    "talk_LR.mp4", X264, audio=("aac",), options=("-metadata", "title=A talk: Ærø & 東京")
)


def video_tags(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        tags = {k.lower(): v for k, v in container.streams.video[0].metadata.items()}
        return tags | {"title": container.metadata.get("title", "")}


@dataclass(frozen=True)
class Rendered:
    """A finished video and its segments of 20, 20 and 10 frames; no test changes them."""

    video: VideoInfo
    target: Path

    @property
    def parts(self) -> list[Path]:
        return sorted(self.target.parent.glob("webm-*.webm"))


@pytest.fixture(scope="module")
def rendered(clip: GetClip, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return Rendered(*render(clip(TITLED), tmp_path_factory.mktemp("rendered"), chroma_settings()))


def test_title_alpha_and_layout_are_in_the_file(rendered: Rendered) -> None:
    target = rendered.target
    tags = video_tags(target)
    assert tags["title"] == "A talk: Ærø & 東京"
    assert tags["alpha_mode"] == "1"
    with av.open(str(target)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 30
        frame = next(container.decode(stream))
        assert frame.side_data.get("STEREO3D") is not None


@pytest.mark.parametrize(("channels", "expected"), [(1, 1), (2, 2), (4, 4), (6, 6)])
def test_channels_are_kept(channels: int, expected: int, clip: GetClip, tmp_path: Path) -> None:
    spec = ClipSpec("h264.mkv", X264, num_frames=20, audio=("aac",), audio_channels=channels)
    _, target = render(clip(spec), tmp_path, chroma_settings())
    (sound,) = read_sounds(target)
    assert sound.channels == expected


def test_a_clip_that_is_opaque_all_over_keeps_its_alpha(tmp_path: Path) -> None:
    made = webm.WebM(info(), chroma_settings())
    rgb = torch.randint(0, 256, (10, 3, 32, 64), dtype=torch.uint8)
    opaque = MatteBatch(torch.ones(10, 2, 1, 32, 32), None, 0)
    encoder = made.open_segment(tmp_path / "opaque.webm")
    encoder.write(made.planes(layered(FrameBatch(rgb, 0), opaque)))
    encoder.close()
    made.check_segment(tmp_path / "opaque.webm", 10, [])
    pictures = read_frames(tmp_path / "opaque.webm")
    assert len(pictures) == 10
    assert min(int(picture[..., 3].min()) for picture in pictures) >= 254


def info(**changes: object) -> VideoInfo:
    video = VideoInfo(
        "/v.mkv", 1, 1, "", "matroska", "h264", 64, 32, "yuv420p", 8, Fraction(30), 300, 300,
        False, ColorTags(), 0, (), "sbs", "",
    )  # fmt: skip
    return replace(video, **changes)  # type: ignore[arg-type]


def track(codec: str, start_s: float = 0.0, end_s: float = 10.0) -> AudioTrack:
    return AudioTrack(1, codec, 2, 48000, start_s, end_s)


@pytest.mark.parametrize(
    ("sound", "start_frame", "num_frames", "copied"),
    [
        (track("opus"), 0, 300, True),
        (track("vorbis", 0.02, 10.03), 0, 300, True),
        (track("aac"), 0, 300, False),
        (track("opus"), 1, 299, False),
        (track("opus"), 0, 200, False),
        (track("opus", 0.5), 0, 300, False),
        (track("opus", 0.0, 9.0), 0, 300, False),
    ],
)
def test_sound_is_copied_where_it_fits_as_it_is(
    sound: AudioTrack, start_frame: int, num_frames: int, copied: bool
) -> None:
    plan = plan_audio(info(audio=(sound,)), start_frame, num_frames, EncodingSettings(), WEBM_SOUND)
    assert ("copy" in plan.output) is copied


def test_no_sound_needs_no_source() -> None:
    assert plan_audio(info(), 0, 300, EncodingSettings(), WEBM_SOUND).input == ()


def test_segments_of_a_format_with_a_plus_in_its_name_are_joined(
    clip: GetClip, tmp_path: Path
) -> None:
    """In a folder with a name that shells, lists and addresses could misread."""
    settings = chroma_settings()
    video, _ = render(clip(TITLED), tmp_path, settings)
    folder = tmp_path / "it's 100%d +#\né"
    folder.mkdir()
    parts = [
        part.rename(folder / part.name.replace("webm-", "my+webm-"))
        for part in sorted(tmp_path.glob("webm-*.webm"))
    ]
    target = folder / ".joined-my+webm.webm.part"
    made = webm.WebM(video, settings)
    assert made.join(parts, [20, 20, 10], target).digest == made.verify(target, 50)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("a segment twice", "60 frames|70 frames"),
        ("another rate", "off its time"),
        ("a lost track", "audio tracks"),
        ("no alpha", "yuv420p pictures instead of"),
        ("no tag", "ALPHA_MODE"),
    ],
)
def test_a_joined_file_that_is_not_right_is_refused(
    damage: str, words: str, rendered: Rendered, tmp_path: Path
) -> None:
    target, parts = rendered.target, rendered.parts
    made = webm.WebM(rendered.video, chroma_settings())
    bad = tmp_path / "bad.webm"
    if damage == "a segment twice":
        made.join([*parts, parts[0]], [20, 20, 10, 20], bad)
    elif damage == "another rate":
        made.join(parts, [21, 20, 10], bad)
    else:
        options = {
            "a lost track": ("-c:v", "copy", "-an"),
            "no alpha": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-c:a", "copy"),
            "no tag": ("-c", "copy", "-metadata:s:v:0", "alpha_mode=0"),
        }[damage]
        run_ffmpeg(ffmpeg_command("-i", str(target), *options, str(bad)))
    made.verify(target, 50)
    with pytest.raises(EncodeError, match=words):
        made.verify(bad, 50)


@pytest.fixture
def finish(rendered: Rendered, tmp_path: Path) -> FinishJob:
    """What is left to do for a video whose three segments were committed; they are copies."""
    parts = [Path(shutil.copy2(part, tmp_path)) for part in rendered.parts]
    segments = tuple(
        SegmentResult((str(part),), count, digests=(file_digest(part),))
        for part, count in zip(parts, (20, 20, 10), strict=True)
    )
    outputs = (str(tmp_path / "again.webm"),)
    return FinishJob(rendered.video, chroma_settings(), segments, outputs, str(tmp_path))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-10]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: [step() for step in (path.unlink, path.mkdir)],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_segments_are_named_and_nothing_gets_a_name(damage: str, finish: FinishJob) -> None:
    for number in (0, 2):
        DAMAGES[damage](Path(finish.segments[number].files[0]))
    with pytest.raises(SegmentsDamaged) as caught:
        finish_video(finish)
    assert caught.value.segments == (0, 2)
    assert not Path(finish.outputs[0]).exists()
    assert not list(Path(finish.work_dir).glob(".*"))


def test_a_segment_without_a_digest_is_not_trusted(finish: FinishJob) -> None:
    segments = (*finish.segments[:2], replace(finish.segments[2], digests=()))
    with pytest.raises(SegmentsDamaged) as caught:
        finish_video(replace(finish, segments=segments))
    assert caught.value.segments == (2,)


def test_a_work_folder_that_is_gone_is_the_disks_fault(finish: FinishJob) -> None:
    Path(finish.work_dir).rename(Path(finish.work_dir).with_name("elsewhere"))
    with pytest.raises(DiskError, match="is gone"):
        finish_video(finish)


def test_no_room_is_told_before_joining(finish: FinishJob, monkeypatch: pytest.MonkeyPatch) -> None:
    used = shutil.disk_usage(finish.work_dir)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: used._replace(free=1000))
    monkeypatch.setattr(webm.WebM, "join", None)  # not reached
    with pytest.raises(DiskError, match="no room to join"):
        finish_video(finish)


def test_the_sound_of_a_changed_source_is_not_joined(finish: FinishJob) -> None:
    changed = replace(finish.video, mtime_ns=finish.video.mtime_ns + 1)
    with pytest.raises(InputError, match="was changed"):
        finish_video(replace(finish, video=changed))
    assert not Path(finish.outputs[0]).exists()


def test_a_source_that_changes_while_its_sound_is_read_makes_no_output(
    finish: FinishJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source.mp4"
    shutil.copy2(finish.video.path, source)
    join = webm.WebM.join

    def join_and_touch(self: webm.WebM, *arguments: Any) -> None:
        join(self, *arguments)
        os.utime(source, ns=(0, 0))

    monkeypatch.setattr(webm.WebM, "join", join_and_touch)
    with pytest.raises(InputError, match="was changed"):
        finish_video(replace(finish, video=replace(finish.video, path=str(source))))
    assert not Path(finish.outputs[0]).exists()


def test_whole_segments_are_joined(finish: FinishJob) -> None:
    [output] = finish_video(finish)
    assert output.size_bytes == Path(output.path).stat().st_size
    assert len(read_frames(Path(output.path))) == 50


def test_an_encoder_that_dies_says_why(tmp_path: Path) -> None:
    target = str(tmp_path / "x.webm")
    encoder = PipeEncoder(ffmpeg_command("-f", "rawvideo", "-i", "pipe:0", target))
    frames = torch.zeros(64, 1 << 20, dtype=torch.uint8)
    with pytest.raises(EncodeError, match="ffmpeg failed") as caught:
        encoder.write(frames)
    assert any("command" in note for note in caught.value.__notes__)


def test_reading_back_what_is_no_file(tmp_path: Path) -> None:
    junk = tmp_path / "junk.webm"
    junk.write_bytes(b"junk")
    with pytest.raises(EncodeError, match=r"junk\.webm"):
        inspect_file(junk)


@pytest.mark.parametrize(("width", "tiles"), [(640, 0), (1920, 1), (3840, 2), (8192, 3)])
def test_tiles_follow_the_width_alone(width: int, tiles: int) -> None:
    assert webm.tile_columns(width) == tiles
