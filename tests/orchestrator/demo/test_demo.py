"""The demo's scene keeps its word, and the encoded clips show and sound what the scene says."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.demo import demo
from orchestrator.demo.demo import SAMPLE_RATE, click_samples, make_demo
from orchestrator.demo.scene import Backdrop, Scene
from pipeline.errors import EncodeError, SettingsError

SIZE, FRAMES = 160, 24
NAMES = ["demo_room_LR_180.mp4", "demo_room_av1_LR_180.mkv", "demo_green_LR_180.mp4"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("demo") / "made" / "by_it"
    return {path.name: path for path in make_demo(folder, seconds=FRAMES / 30, eye_size=SIZE)}


def _shift_between(left: NDArray[np.float32], right: NDArray[np.float32], most: int) -> int:
    """By how many columns `right` must move to the right to lie on `left`."""
    errors = [
        np.abs(left[:, most:] - np.roll(right, shift, axis=1)[:, most:]).mean()
        for shift in range(most)
    ]
    return int(np.argmin(errors))


def test_the_figure_is_nearer_than_the_room() -> None:
    scene = Scene(30)
    alpha = scene.alpha(15)
    room = scene.plate("room").astype(np.float32).mean(axis=3)
    assert _shift_between(alpha[0], alpha[1], 40) == 18
    assert _shift_between(room[0, :300, 250:], room[1, :300, 250:], 40) == 4
    assert _shift_between(room[0, 600:], room[1, 600:], 40) in (8, 9)


def test_every_frame_is_a_function_of_its_number() -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[index]
    first, second = Scene(20, eye_size=SIZE), Scene(20, eye_size=SIZE)
    forwards = [first.picture(frame, "room") for frame in (3, 11)]
    backwards = [second.picture(frame, "room") for frame in (11, 3)]
    np.testing.assert_array_equal(forwards[0], backwards[1])
    np.testing.assert_array_equal(forwards[1], backwards[0])
    np.testing.assert_array_equal(first.alpha(11), second.alpha(11))
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # type: ignore[index]


def test_pictures_are_the_figure_over_the_plate() -> None:
    scene = Scene(20, eye_size=SIZE)
    alpha, colour = scene.alpha(10), scene.figure_colour(10)
    assert alpha.min() == 0
    assert 0.999 < alpha.max() <= 1
    soft = (alpha > 0.05) & (alpha < 0.95)
    assert soft.mean() > 0.005, "edges are anti-aliased"
    # Above the floor and without the lamp, so that there is neither shadow nor flash.
    wall = slice(0, int(0.7 * SIZE))
    assert 5 not in scene.flash_frames
    alpha, colour = scene.alpha(5), scene.figure_colour(5)
    mixed = alpha[..., None] * colour * 255 + (1 - alpha[..., None]) * scene.plate("room")
    assert np.abs(mixed - scene.picture(5, "room"))[:, wall].max() <= 1.01
    # On green the opaque middle keeps its colour, the edge is greener than it should be.
    green = scene.picture(5, "green").astype(np.float32)
    mixed = alpha[..., None] * colour * 255 + (1 - alpha[..., None]) * scene.plate("green")
    spill = (green - mixed)[:, wall]
    edge = ((alpha > 0.3) & (alpha < 0.9))[:, wall]
    assert spill[edge][:, 1].mean() > 3
    assert np.abs(spill[alpha[:, wall] == 0]).max() <= 1.01


def test_the_figure_crosses_the_room() -> None:
    scene = Scene(20, eye_size=SIZE)
    columns = np.arange(SIZE)
    places = [np.average(columns, weights=scene.alpha(frame)[0].sum(axis=0)) for frame in (0, 19)]
    assert places[1] - places[0] > 0.5 * SIZE
    shown = np.mean([scene.alpha(frame)[0] > 0.02 for frame in range(20)], axis=0)
    assert shown.max() < 0.5, "a temporal median sees the whole room"


def test_clicks_and_flashes_come_together() -> None:
    scene = Scene(90, eye_size=SIZE)
    assert scene.flash_frames == (8, 45, 81)
    sound = click_samples(scene)
    assert len(sound) == 3 * SAMPLE_RATE
    for frame in range(90):
        part = sound[frame * SAMPLE_RATE // 30 : (frame + 1) * SAMPLE_RATE // 30]
        assert (np.abs(part).max() > 20000) == (frame in scene.flash_frames), frame
        if frame in (7, 8, 9, 45, 81):
            lit = [scene.picture(frame, "room")[eye][scene.flash_box(eye)].min() for eye in (0, 1)]
            assert (min(lit) > 250) == (frame in scene.flash_frames), frame


def test_a_scene_of_one_frame() -> None:
    assert Scene(1, eye_size=128).flash_frames == (0,)
    assert Scene(1, eye_size=128).alpha(0).mean() > 0.05


@pytest.mark.parametrize(
    ("name", "video", "pixels", "audio"),
    [
        (NAMES[0], "h264", "yuv420p", "aac"),
        (NAMES[1], "av1", "yuv420p", "opus"),
        (NAMES[2], "hevc", "yuv420p10le", "aac"),
    ],
)
def test_the_clips_are_what_they_are_called(
    clips: dict[str, Path], name: str, video: str, pixels: str, audio: str
) -> None:
    with av.open(str(clips[name])) as file:
        stream, sound = file.streams.video[0], file.streams.audio[0]
        context = stream.codec_context
        assert (context.width, context.height) == (2 * SIZE, SIZE)
        # The decoder's name may be that of a library; what it decodes is the codec.
        assert video in (context.codec.canonical_name, context.name)
        assert audio in (sound.codec_context.codec.canonical_name, sound.codec_context.name)
        assert context.pix_fmt == pixels
        assert stream.average_rate == 30
        assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)
        assert context.color_range == 1
        if video == "hevc":
            assert context.codec_tag == "hvc1"


@pytest.mark.parametrize("name", NAMES)
def test_the_clips_show_the_scene_and_click_at_the_flash(clips: dict[str, Path], name: str) -> None:
    scene = Scene(FRAMES, eye_size=SIZE)
    backdrop: Backdrop = "green" if "green" in name else "room"
    flashes, sound = [], []
    with av.open(str(clips[name])) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    with av.open(str(clips[name])) as file:
        for audio in file.decode(audio=0):
            assert audio.pts is not None
            assert audio.time_base is not None
            start = round(audio.pts * audio.time_base * SAMPLE_RATE)
            plane = audio.to_ndarray().astype(np.float32)
            sound.append((start, plane[0]))
    assert len(frames) == FRAMES
    for number, frame in enumerate(frames):
        eyes = np.stack([frame[:, :SIZE], frame[:, SIZE:]]).astype(np.float32)
        lit = [eyes[eye][scene.flash_box(eye)].min() > 225 for eye in (0, 1)]
        assert lit[0] == lit[1]
        if lit[0]:
            flashes.append(number)
        assert np.abs(eyes - scene.picture(number, backdrop)).mean() < 8, number
    assert tuple(flashes) == scene.flash_frames

    length = FRAMES * SAMPLE_RATE // 30
    track = np.zeros(length + SAMPLE_RATE, np.float32)
    for start, samples in sound:
        kept = samples[max(0, -start) :]
        track[max(0, start) : max(0, start) + len(kept)] = np.abs(kept)
    loud = np.flatnonzero(track > 0.3 * track.max()) / SAMPLE_RATE
    for flash in scene.flash_frames:
        near = loud[np.abs(loud - flash / 30) < 0.04]
        assert abs(near.min() - flash / 30) < 1 / 60, "less than half a frame early or late"


def test_nothing_else_is_left_and_a_second_call_replaces(
    clips: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(clips[NAMES[0]].parent, tmp_path / "again")
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    (folder / NAMES[0]).write_bytes(b"old")
    again = make_demo(folder, seconds=0.1, eye_size=128, fps=Fraction(20))
    assert [path.name for path in again] == NAMES
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    with av.open(str(again[0])) as file:
        assert sum(1 for _ in file.decode(video=0)) == 2


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for folder in (taken, taken / "below"):
        with pytest.raises(SettingsError, match=r"taken.* is a file"):
            make_demo(folder)
    assert taken.read_text() == "mine"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot write to"):
        make_demo(tmp_path / ("x" * 400))


@pytest.mark.parametrize(
    "wrong", [{"seconds": 0.0}, {"eye_size": 127}, {"eye_size": 64}, {"fps": Fraction(0)}]
)
def test_no_such_clip(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="cannot make the demo"):
        make_demo(tmp_path / "demo", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "demo").exists()


def test_an_encoder_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'no such encoder' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(demo, "get_ffmpeg_exe", lambda: str(broken))
    folder = tmp_path / "demo"
    with pytest.raises(EncodeError, match=r"demo_room_LR_180\.mp4 .*: no such encoder"):
        make_demo(folder, seconds=1, eye_size=128)
    broken.unlink()
    with pytest.raises(EncodeError, match=r"ffmpeg cannot be started: .*No such file"):
        make_demo(folder, seconds=1, eye_size=128)
    assert list(folder.iterdir()) == []
