"""Sound never decides over the picture, is never silence by mistake, and keeps its channels."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import pytest

from pipeline.contract import EncodingSettings, OutputFile, VideoInfo
from pipeline.deliverables.sound import make as sound_module
from pipeline.deliverables.sound.plan import MP4_SOUND, WEBM_SOUND, plan_audio
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.errors import EncodeError, InputError
from tests.clips import read_sounds
from tests.made_once import MadeOnce
from tests.sounds import (
    SECONDS,
    TONES,
    damage,
    ffmpeg,
    finished,
    heard,
    loudness,
    make_clip,
    make_two_tracks,
    read,
    sa3d,
    stored_sound_box,
    with_sound_box,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def two_tracks(made_once: MadeOnce) -> Path:
    name = "two_LR.mp4"
    return made_once("two tracks", "", lambda folder: make_two_tracks(folder / name)) / name


def tone(output: OutputFile, track: int = 0) -> int:
    [(hertz, _)] = heard(Path(output.path), 1, track)
    return hertz


@pytest.mark.parametrize("how", ["zeros", "noise"])
def test_a_track_that_cannot_be_decoded_is_left_out_before_the_first_segment(
    how: str, two_tracks: Path, tmp_path: Path
) -> None:
    bad = damage(two_tracks, tmp_path / "bad_LR.mp4", 0, how)
    video = read(bad, tmp_path)
    assert video.notes == ("audio stream 1 (aac) is left out: it cannot be decoded",)
    made = finished(video, tmp_path / "out", "webm", "matte", "greenscreen")
    assert [len(read_sounds(Path(made[name].path))) for name in made] == [1, 0, 1]
    assert [tone(made[name]) for name in ("webm", "greenscreen")] == [880, 880]


def test_what_only_shows_at_the_join_is_left_out_there(two_tracks: Path, tmp_path: Path) -> None:
    """As if the places that were tried had been sound."""
    bad = damage(two_tracks, tmp_path / "bad_LR.mp4", 1, "zeros")
    video = replace(read(bad, tmp_path), audio=read(two_tracks, tmp_path).audio, notes=())
    made = finished(video, tmp_path / "out", "matte", "webm")
    [note] = made["webm"].notes
    assert note.startswith("audio stream 2 is left out: ffmpeg failed")
    assert "Decode error rate" in note
    assert made["matte"].notes == ()
    assert len(read_sounds(Path(made["webm"].path))) == 1
    assert tone(made["webm"]) == 440


def test_a_track_that_is_damaged_in_part_is_silent_there(two_tracks: Path, tmp_path: Path) -> None:
    bad = damage(two_tracks, tmp_path / "bad_LR.mp4", 1, "zeros", begin=0.5)
    video = read(bad, tmp_path)
    assert [track.stream for track in video.audio] == [1, 2]
    assert video.notes == ("audio stream 2: 5 of 9 places cannot be decoded",)
    made = finished(video, tmp_path / "out", "webm")["webm"]
    [note] = made.notes
    assert note.startswith("audio stream 2: ")
    assert note.endswith("cannot be decoded and are silent")
    found = loudness(Path(made.path), 1)
    assert min(found[1:9]) > 0.05
    assert max(found[11:19]) < 0.001
    assert min(loudness(Path(made.path), 0)[1:19]) > 0.05


def test_one_format_that_fails_takes_no_other_with_it(
    two_tracks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise EncodeError("no")

    monkeypatch.setattr("pipeline.deliverables.movie.make_sound", fails)
    with pytest.raises(EncodeError, match="no"):
        finished(two_tracks, tmp_path / "out", "webm", "matte")
    assert (tmp_path / "out/matte.mp4").exists()
    assert not (tmp_path / "out/webm.webm").exists()


def test_only_what_can_be_copied_is_kept_if_so_asked(two_tracks: Path, tmp_path: Path) -> None:
    made = finished(two_tracks, tmp_path / "copy", "webm", "greenscreen", audio="copy")
    assert read_sounds(Path(made["webm"].path)) == []
    kept = read_sounds(Path(made["greenscreen"].path))
    assert [track.codec for track in kept] == ["aac", "aac"]
    assert is_copy(Path(made["greenscreen"].path), two_tracks)
    video = read(two_tracks, tmp_path)
    end = video.num_frames
    plan = plan_audio(video, 0, end, EncodingSettings(), WEBM_SOUND, "copy")
    assert plan.notes == tuple(
        f"audio stream {k} (aac) is left out: it cannot be copied" for k in (1, 2)
    )
    made = finished(two_tracks, tmp_path / "none", "webm", audio="none")
    assert read_sounds(Path(made["webm"].path)) == []
    assert made["webm"].audio == "none"


def is_copy(path: Path, source: Path) -> bool:
    """Whether its packets are those of the source, but for one that plays before the picture."""
    found: list[bytes] = []
    expected: list[bytes] = []
    for packets, file in ((found, path), (expected, source)):
        with av.open(str(file)) as container:
            stream = container.streams.audio[0]
            packets += [bytes(packet) for packet in container.demux(stream) if packet.size]
    return found in (expected, expected[1:])


CONTAINERS = {
    "fast_LR.mp4": ("-movflags", "+faststart"),
    "clip_LR.mkv": (),
    "clip_LR.ts": (),
    "clip_LR.avi": (),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_sound_that_is_read_in_part_is_no_silence(
    name: str, two_tracks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For ffmpeg alone the file ends in its middle, as a share does that goes away."""
    source, cut = tmp_path / name, tmp_path / f"cut-{name}"
    ffmpeg("-i", two_tracks, "-map", "0", "-c", "copy", *CONTAINERS[name], source)
    cut.write_bytes(source.read_bytes()[: source.stat().st_size // 2])

    def cut_command(*arguments: str) -> list[str]:
        return ffmpeg_command(*(a.replace(str(source), str(cut)) for a in arguments))

    monkeypatch.setattr(sound_module, "ffmpeg_command", cut_command)
    with pytest.raises(EncodeError, match="could not be read to its end: audio stream 1"):
        finished(source, tmp_path / "out", "webm")
    assert not list((tmp_path / "out").glob("webm.webm"))
    monkeypatch.undo()
    made = finished(source, tmp_path / "out", "webm")["webm"]
    assert min(loudness(Path(made.path))[1:19]) > 0.05


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_source_that_is_cut_off_has_its_sound_up_to_there(
    name: str, two_tracks: Path, tmp_path: Path
) -> None:
    source = tmp_path / name
    ffmpeg("-i", two_tracks, "-map", "0", "-c", "copy", *CONTAINERS[name], source)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    made = finished(source, tmp_path / "out", "webm")["webm"]
    found = loudness(Path(made.path))
    assert 5 < len(found) < 16
    assert min(found[1:5]) > 0.05


_EIO = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
ssize_t read(int file, void *to, size_t size) {
    ssize_t (*next)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        off_t at = lseek(file, 0, SEEK_CUR), end = atoll(getenv("BAD_FROM"));
        if (strstr(path, getenv("BAD_FILE")) && at >= 0) {
            if (at >= end) { errno = EIO; return -1; }
            if (at + (off_t)size > end) size = end - at;
        }
    }
    return next(file, to, size);
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc to make a disk with bad sectors")
def test_a_bad_sector_under_the_sound_is_an_error(
    two_tracks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "fast_LR.mp4"
    ffmpeg("-i", two_tracks, "-map", "0", "-c", "copy", "-movflags", "+faststart", source)
    (tmp_path / "bad.c").write_text(_EIO)
    library = tmp_path / "bad.so"
    command = ["gcc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "bad.c"), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("BAD_FILE", source.name)
    monkeypatch.setenv("BAD_FROM", str(source.stat().st_size // 2))
    with pytest.raises(EncodeError, match=r"from [01]\.\d s on \(Input/output error\)"):
        finished(source, tmp_path / "out", "webm")
    assert not list((tmp_path / "out").glob("webm.webm"))


def test_a_source_that_is_gone_at_the_join_is_told(
    two_tracks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "gone_LR.mp4"
    shutil.copy(two_tracks, source)

    def gone(*arguments: object, **options: object) -> None:
        source.unlink()
        run_ffmpeg(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(sound_module, "run_ffmpeg", gone)
    with pytest.raises(InputError, match="cannot be read any more"):
        finished(source, tmp_path / "out", "webm")


def test_sound_that_is_short_in_the_file_is_padded_and_noted(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "short_LR.mkv", 1, "-c:a", "pcm_s16le", seconds=0.7)
    video = read(source, tmp_path)
    plan = plan_audio(video, 0, video.num_frames, EncodingSettings(), WEBM_SOUND)
    assert plan.notes == ("audio stream 1 ends 1.3 s before the picture: silence follows",)
    made = finished(video, tmp_path / "out", "webm")["webm"]
    found = loudness(Path(made.path))
    assert len(found) >= 10 * SECONDS - 1
    assert min(found[1:6]) > 0.05
    assert max(found[8:]) < 0.001


FIELD, FIELD_STEREO = sa3d(1, 4, 0), sa3d(1, 6, 0x80)
PCM = ("-c:a", "pcm_s16le")
OPUS_FIELD = ("-c:a", "libopus", "-b:a", "480k", "-mapping_family", "2")


def tagged(path: Path, channels: int, box: bytes) -> Path:
    plain = make_clip(path.with_name(f"plain-{path.name}"), channels, *PCM)
    return with_sound_box(plain, path, box)


#: Source -> (file, how it is made, channels, FFmpeg's name of the channels in webm, greenscreen and
#: prores, the box in the latter two).
SOURCES: dict[str, tuple[str, Callable[[Path], Path], int, tuple[str, str, str], bytes]] = {
    "a sound field": (
        "a_LR.mov",
        lambda path: tagged(path, 4, FIELD),
        4,
        ("ambisonic 1", "4.0", "ambisonic 1"),
        FIELD,
    ),
    "a sound field and stereo": (
        "b_LR.mov",
        lambda path: tagged(path, 6, FIELD_STEREO),
        6,
        ("ambisonic 1+stereo",) * 3,
        FIELD_STEREO,
    ),
    "the same in Opus": (
        "c_LR.mkv",
        lambda path: make_clip(path, 6, *OPUS_FIELD),
        6,
        ("ambisonic 1+stereo",) * 3,
        FIELD_STEREO,
    ),
    "one of the second order": (
        "d_LR.mov",
        lambda path: tagged(path, 9, sa3d(2, 9, 0)),
        9,
        ("ambisonic 2",) * 3,
        sa3d(2, 9, 0),
    ),
    "six channels": (
        "e_LR.mov",
        lambda path: make_clip(path, 6, *PCM),
        6,
        ("6 channels",) * 3,
        b"",
    ),
    "six in Matroska": (
        "f_LR.mkv",
        lambda path: make_clip(path, 6, *PCM),
        6,
        ("6 channels",) * 3,
        b"",
    ),
    "eight channels": (
        "g_LR.mov",
        lambda path: make_clip(path, 8, *PCM),
        8,
        ("8 channels",) * 3,
        b"",
    ),
    "loudspeakers": (
        "h_LR.mov",
        lambda path: make_clip(path, 6, *PCM, layout="5.1"),
        6,
        ("5.1",) * 3,
        b"",
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_channels_stay_what_they_are(source: str, tmp_path: Path) -> None:
    file, make, channels, layouts, box = SOURCES[source]
    made = finished(make(tmp_path / file), tmp_path / "out", "webm", "greenscreen", "prores")
    for name, layout in zip(("webm", "greenscreen", "prores"), layouts, strict=True):
        path = Path(made[name].path)
        found = heard(path, channels)
        with av.open(str(path)) as container:
            assert container.streams.audio[0].codec_context.layout.name == layout
        bass = 3 if source == "loudspeakers" and name == "greenscreen" else None
        for channel, (hertz, loud) in enumerate(found):
            if channel != bass:
                assert hertz == TONES[channel], name
                assert loud == pytest.approx(0.3, abs=0.03), name
        assert stored_sound_box(path) == (b"" if name == "webm" else box)


def test_a_sound_field_in_aac_is_copied_with_its_box(tmp_path: Path) -> None:
    aac = ("-c:a", "aac", "-b:a", "384k")
    plain = make_clip(tmp_path / "plain.mp4", 4, *aac, layout="4.0")
    source = with_sound_box(plain, tmp_path / "field_LR.mp4", FIELD)
    made = finished(source, tmp_path / "out", "webm", "greenscreen", audio="copy")
    path = Path(made["greenscreen"].path)
    assert stored_sound_box(path) == FIELD
    assert is_copy(path, source)
    made = finished(source, tmp_path / "out", "webm")
    with av.open(made["webm"].path) as container:
        assert container.streams.audio[0].codec_context.layout.name == "ambisonic 1"


def test_other_orders_of_a_sound_field_are_kept_where_they_can_be_said(tmp_path: Path) -> None:
    box = sa3d(1, 6, 0x80, (0, 2, 3, 1, 4, 5))
    source = tagged(tmp_path / "odd_LR.mov", 6, box)
    video = read(source, tmp_path)
    made = finished(video, tmp_path / "out", "webm", "prores")
    assert stored_sound_box(Path(made["prores"].path)) == box
    assert [hertz for hertz, _ in heard(Path(made["webm"].path), 6)] == list(TONES[:6])
    with av.open(made["webm"].path) as container:
        assert container.streams.audio[0].codec_context.layout.name == "6 channels"
    assert notes(video) == (
        "audio stream 1: Opus cannot say in which order the channels of its sound field are",
    )


def notes(video: VideoInfo) -> tuple[str, ...]:
    return plan_audio(video, 0, video.num_frames, EncodingSettings(), WEBM_SOUND).notes


def test_channels_in_a_codec_that_players_may_not_know_are_noted(tmp_path: Path) -> None:
    video = read(make_clip(tmp_path / "six_LR.mov", 6, *PCM), tmp_path)
    plan = plan_audio(video, 0, video.num_frames, EncodingSettings(), MP4_SOUND)
    assert plan.notes == (
        "audio stream 1: its 6 channels are kept in Opus, which few players of MP4 know",
    )
    assert notes(video) == ()
