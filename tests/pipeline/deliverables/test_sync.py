"""Sound and picture: a click that coincides with a flash does so at start and end of the output."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from tests.clips import GREEN, read_samples
from tests.finished import decoded, rgba
from tests.render import chroma_settings, render, render_each

WIDTH, HEIGHT = 192, 96
RATE = Fraction(30000, 1001)
SAMPLES_PER_S = 48000


def make_flashes(folder: Path, flashes: list[int], num_frames: int, *, name: str) -> Path:
    """A grey card on green that is white in the frames `flashes`, with a click at each."""
    codecs = {
        "aac.mp4": ("libx264", "aac"),
        "opus.mkv": ("libx264", "libopus"),
        "late.mkv": ("libx264", "pcm_s16le"),
    }
    video_codec, audio_codec = codecs[name]
    sound = np.zeros(int(num_frames / RATE * SAMPLES_PER_S), dtype=np.int16)
    for frame in flashes:
        at = int(frame / RATE * SAMPLES_PER_S)
        sound[at : at + 96] = 20000
    raw = folder / "sound.raw"
    raw.write_bytes(sound.tobytes())
    picture = np.empty((HEIGHT, WIDTH, 3), dtype=np.uint8)
    picture[:] = GREEN
    frames = []
    for frame in range(num_frames):
        picture[24:72, 24:168] = 255 if frame in flashes else 90
        frames.append(picture.tobytes())
    path = folder / name
    # "late": picture and sound begin 1.5 s into the file's own clock.
    shift = ("-output_ts_offset", "1.5") if name == "late.mkv" else ()
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(RATE)),
        *("-i", "-", "-f", "s16le", "-ar", str(SAMPLES_PER_S), "-ac", "1", "-i", str(raw)),
        *("-c:v", video_codec, "-pix_fmt", "yuv420p", "-c:a", audio_codec, *shift, str(path)),
    ]
    subprocess.run(command, input=b"".join(frames), check=True, stderr=subprocess.PIPE)
    return path


def flash_times(path: Path, rate: Fraction = RATE) -> list[float]:
    """Seconds at which the card turns white."""
    card = [rgba(frame)[40:56, 60:130, :3].mean() for frame in decoded(path)]
    white = np.asarray(card) > 180
    return [float(k / rate) for k in range(len(white)) if white[k] and (k == 0 or not white[k - 1])]


def click_times(path: Path) -> list[float]:
    """Seconds at which it clicks."""
    samples, begin_s = read_samples(path)
    loud = np.flatnonzero(np.abs(samples) > 0.2)
    firsts = loud[np.diff(loud, prepend=-SAMPLES_PER_S) > SAMPLES_PER_S // 10]
    return [begin_s + first / SAMPLES_PER_S for first in firsts.tolist()]


@pytest.mark.parametrize("name", ["aac.mp4", "opus.mkv", "late.mkv"])
@pytest.mark.parametrize(("start", "count"), [(0, None), (13, 50)])
def test_clicks_stay_with_flashes(name: str, start: int, count: int | None, tmp_path: Path) -> None:
    flashes = [15, 34, 58] if count is not None else [2, 34, 76]
    source = make_flashes(tmp_path, flashes, 80, name=name)
    settings = replace(
        chroma_settings(30, start_frame=start, max_frames=count),
        deliverables=("webm", "greenscreen", "prores"),
    )
    _, targets = render_each(source, tmp_path / "out", settings, layout="mono")
    for target in targets:
        seen, heard = flash_times(target), click_times(target)
        assert seen == pytest.approx([float((frame - start) / RATE) for frame in flashes]), target
        assert len(heard) == len(seen), target
        for flash, click in zip(seen, heard, strict=True):
            assert abs(flash - click) <= float(1 / RATE), target


def test_clicks_stay_with_the_flashes_that_are_left_of_every_third_frame(tmp_path: Path) -> None:
    flashes = [23 + 3 * k for k in (1, 13, 29)]
    source = make_flashes(tmp_path, flashes, 150, name="late.mkv")
    settings = replace(chroma_settings(10, start_frame=23, max_frames=90), every=3)
    _, target = render(source, tmp_path / "out", settings, layout="mono")
    seen, heard = flash_times(target, RATE / 3), click_times(target)
    assert seen == pytest.approx([float((frame - 23) / RATE) for frame in flashes])
    assert len(heard) == len(seen)
    assert all(abs(a - b) <= float(1 / RATE) for a, b in zip(seen, heard, strict=True))
