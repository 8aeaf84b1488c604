"""Files whose clock leaps or stands still: glued transport streams, chained Matroska, one time
for two frames. Read off the pictures, the beeps and the finished file."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.deliverables.sound.in_line import sound_in_line
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.errors import DiskError
from tests.clips import X264, ClipSpec, read_frames, read_number
from tests.pipeline.source.test_decode import numbers, open_reader
from tests.render import chroma_settings, render

GetClip = Callable[[ClipSpec], Path]

SPEC = ClipSpec("thirty.mp4", X264, num_frames=30)

#: Beeps begin at these seconds of each second.
BEEPS = (0.1, 0.5, 0.9)
ALL_BEEPS = [second + beep for second in range(3) for beep in BEEPS]
_BEEP = "0.5*sin(2*PI*1000*t)*lt(mod(t-0.1,0.4),0.05)*gte(t,0.1)"


def recording(clip: Path, path: Path, offset_s: float) -> Path:
    """The clip with beeps, its clock beginning so much later."""
    sound = ("-f", "lavfi", "-i", f"aevalsrc='{_BEEP}':s=48000:d=1")
    run_ffmpeg(
        ffmpeg_command(
            *("-i", str(clip), *sound, "-map", "0:v", "-map", "1:a", "-c:v", "copy"),
            *("-c:a", "aac", "-b:a", "128k", "-output_ts_offset", str(offset_s), str(path)),
        )
    )
    return path


def beeps(path: Path, stream: int | None = None) -> list[float]:
    """When beeps begin, in seconds, by the samples' own count."""
    with av.open(str(path)) as container:
        to_mono = av.AudioResampler("flt", "mono", 48_000)
        track = next(s for s in container.streams.audio if stream in (None, s.index))
        frames = [f for f in container.decode(track) if f.pts is not None]
        begin_s = frames[0].time or 0.0
        samples = [g.to_ndarray().ravel() for f in frames for g in to_mono.resample(f)]
    loud = np.flatnonzero(np.abs(np.concatenate(samples)) > 0.02)
    first = np.append(True, np.diff(loud) > 4800)
    return [begin_s + float(n) / 48_000 for n in loud[first]]


#: Where the clock of each recording begins.
GLUED = {
    "the same clock": (0.0, 0.0, 0.0),
    "a later clock": (0.0, 5.0, 11.0),
    "clocks that overlap": (0.0, 0.5, 0.2),
    "hours later, then back": (0.0, 20_000.0, 3.0),
}


@pytest.mark.parametrize("offsets", GLUED.values(), ids=list(GLUED))
def test_glued_transport_streams(offsets: tuple[float, ...], clip: GetClip, tmp_path: Path) -> None:
    path = glued(clip(SPEC), offsets, tmp_path)
    reader = open_reader(path, tmp_path)
    video = reader._video
    assert any(note.startswith("3 recordings") for note in video.notes)
    assert numbers(reader, 0, video.num_frames) == [*range(30)] * 3
    with sound_in_line(video, tmp_path, "sound") as copy:
        found = [second - copy.begin_s for second in beeps(Path(copy.path), 1)]
    assert not Path(copy.path).exists()
    assert found == pytest.approx(ALL_BEEPS, abs=1 / 30)


def test_a_glued_file_is_finished(clip: GetClip, tmp_path: Path) -> None:
    path = glued(clip(SPEC), (0.0, 0.5, 0.2), tmp_path)
    _, target = render(path, tmp_path / "out", chroma_settings(segment_frames=37))
    shown = [read_number(frame[:, :192, :3]) for frame in read_frames(target)]
    assert shown == [*range(30)] * 3
    assert beeps(target) == pytest.approx(ALL_BEEPS, abs=1 / 30)
    assert list((tmp_path / "out").glob("*.sound*")) == []


def glued(clip: Path, offsets: tuple[float, ...], folder: Path) -> Path:
    parts = [recording(clip, folder / f"{k}.ts", s) for k, s in enumerate(offsets)]
    path = folder / "glued_LR_180.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize(("codec", "tracks"), [("aac", 2), ("s302m", 1)])
def test_a_track_that_cannot_be_copied_costs_no_picture(
    codec: str, tracks: int, clip: GetClip, tmp_path: Path
) -> None:
    """Matroska holds no SMPTE 302M."""
    parts = [recording(clip(SPEC), tmp_path / f"{k}.ts", s) for k, s in enumerate((0.0, 0.5, 0.2))]
    for part in parts:
        twice = (
            "-map",
            "0",
            "-map",
            "0:a",
            "-c",
            "copy",
            "-c:a:1",
            codec,
            "-ac:a:1",
            "2",
            "-strict",
            "-2",
        )
        run_ffmpeg(ffmpeg_command("-i", str(part), *twice, f"{part}.two.ts"))
    path = tmp_path / "glued_LR_180.ts"
    path.write_bytes(b"".join(Path(f"{part}.two.ts").read_bytes() for part in parts))
    video, target = render(path, tmp_path / "out", chroma_settings())
    assert len(video.audio) == 2
    with av.open(str(target)) as made:
        assert len(made.streams.audio) == tracks
    assert len(read_frames(target)) == 90
    assert beeps(target) == pytest.approx(ALL_BEEPS, abs=1 / 30)


def test_a_full_disk_is_no_fault_of_the_sound(clip: GetClip, tmp_path: Path) -> None:
    path = glued(clip(SPEC), (0.0, 0.5, 0.2), tmp_path)
    video = open_reader(path, tmp_path)._video
    (tmp_path / "sound.sound.mkv").symlink_to("/dev/full")
    with pytest.raises(DiskError, match="no room left"), sound_in_line(video, tmp_path, "sound"):
        pass


def test_any_range_of_a_glued_file(clip: GetClip, tmp_path: Path) -> None:
    part = tmp_path / "a.ts"
    run_ffmpeg(ffmpeg_command("-i", str(clip(SPEC)), "-c", "copy", str(part)))
    path = tmp_path / "glued_LR_180.ts"
    path.write_bytes(part.read_bytes() * 3)
    reader = open_reader(path, tmp_path)
    whole = [*range(30)] * 3
    draw = random.Random(7)
    for _ in range(12):
        start = draw.randrange(90)
        stop = draw.randrange(start + 1, 91)
        assert numbers(reader, start, stop) == whole[start:stop]
    assert reader.concealed_frames == []


@pytest.mark.parametrize("sound", ["libopus", "aac", "flac"])
def test_chained_matroska(sound: str, clip: GetClip, tmp_path: Path) -> None:
    part = clip(replace(SPEC, name=f"{sound}.mkv", audio=(sound,)))
    path = tmp_path / "chained_LR_180.mkv"
    path.write_bytes(part.read_bytes() * 2)
    reader = open_reader(path, tmp_path)
    assert numbers(reader, 0, 60) == [*range(30)] * 2
    assert numbers(reader, 41, 44) == [11, 12, 13]
    (track,) = reader._video.audio
    assert track.end_s == pytest.approx(2.0, abs=0.03)
    with sound_in_line(reader._video, tmp_path, "sound") as copy, av.open(copy.path) as container:
        (copied,) = (s for s in container.streams.audio if s.index == track.stream)
        samples = sum(frame.samples for frame in container.decode(copied))
    assert samples / track.sample_rate == pytest.approx(2.0, abs=0.05)


def test_frames_of_one_time_are_frames(clip: GetClip, tmp_path: Path) -> None:
    """Written by a program that had too coarse a clock."""
    source = clip(ClipSpec("plain.mkv", X264[:-2], num_frames=40, options=("-bf", "0")))
    path = tmp_path / "pairs_LR_180.mkv"
    with av.open(str(source)) as read, av.open(str(path), "w") as write:
        stream = write.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.pts is not None and packet.time_base is not None:
                frame = round(packet.pts * packet.time_base * 30)
                packet.pts = packet.dts = round(frame // 2 * 2 / 30 / packet.time_base)
                packet.stream = stream
                write.mux(packet)
    with av.open(str(path)) as made:
        assert len({p.pts for p in made.demux(video=0) if p.size}) == 20
    reader = open_reader(path, tmp_path)
    for start, stop in ((0, 40), (7, 12), (23, 40)):
        assert numbers(reader, start, stop) == list(range(start, stop))


def test_a_clock_that_runs_over_leads_on(clip: GetClip, tmp_path: Path) -> None:
    """A transport stream's clock begins anew after 26.5 hours."""
    path = recording(clip(SPEC), tmp_path / "over_LR_180.ts", 95_442.2)
    reader = open_reader(path, tmp_path)
    assert numbers(reader, 0, 30) == list(range(30))
    assert not any("recordings" in note for note in reader._video.notes)
