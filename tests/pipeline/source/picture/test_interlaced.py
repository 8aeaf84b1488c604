"""Interlaced films: found out, made whole, and the same in any segments."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.contract import VideoInfo, VideoSettings
from pipeline.deliverables.kept import with_fields
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, ffmpeg_path, run_ffmpeg
from pipeline.source.decode import FrameReader
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.video_info import read_video
from tests.made_once import MadeOnce
from tests.render import CPU

FRAMES = 14
PICTURE = "testsrc2=size=128x64:rate=50,format=yuv444p"
#: Upright waves that run to the left.
WAVES = (
    "color=gray:size=128x64:rate=50,format=yuv444p,geq=lum='128+100*sin((X+6*N)/8)':cb=128:cr=128"
)
FIELDS = "interlace=scan={first}:lowpass=0,setfield={first}"
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", "5", "-bf", "2", "-flags", "+ildct+ilme")
#: File name -> (field that is shown first, pixel format, codec).
FILMS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "camera.mp4": ("tff", "yuv420p", X264),
    "broadcast.ts": ("bff", "yuv420p", ("-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-g", "5")),
    "editor.mov": ("bff", "yuv422p10le", ("-c:v", "prores_ks", "-flags", "+ildct")),
    "archive.mkv": ("tff", "yuv444p", ("-c:v", "ffv1")),
    "capture.mov": ("bff", "uyvy422", ("-c:v", "rawvideo")),
    "whole.mp4": ("", "yuv420p", X264[:-2]),
}


def film(made_once: MadeOnce, name: str, picture: str = PICTURE) -> Path:
    first, pixels, codec = FILMS[name]

    def make(folder: Path) -> None:
        fields = FIELDS.format(first=first) if first else "framestep=2"
        run_ffmpeg(
            ffmpeg_command(
                *("-f", "lavfi", "-i", f"{picture},{fields},format={pixels}"),
                *("-frames:v", str(FRAMES), *codec, str(folder / name)),
            )
        )

    return made_once("interlaced", (name, picture), make) / name


def opened(path: Path, folder: Path) -> tuple[VideoInfo, FrameReader]:
    video = read_video(path, folder / "index.json", "mono")
    return video, FrameReader(video, FrameIndex.load(folder / "index.json"), CPU)


def pictures(reader: FrameReader, start: int, stop: int, size: int) -> torch.Tensor:
    return torch.cat([batch.rgb for batch in reader.batches(start, stop, size)])


@pytest.mark.parametrize("name", FILMS)
def test_fields_are_found_and_any_segment_gives_the_same_frames(
    made_once: MadeOnce, tmp_path: Path, name: str
) -> None:
    video, reader = opened(film(made_once, name), tmp_path)
    expected = {"tff": "top", "bff": "bottom", "": None}[FILMS[name][0]]
    assert video.first_field == expected
    assert video.num_frames == FRAMES
    whole = pictures(reader, 0, FRAMES, 4)
    assert len(whole) == FRAMES
    draw = random.Random(name)
    for _ in range(8):
        start = draw.randrange(FRAMES)
        stop = draw.randrange(start + 1, FRAMES + 1)
        part = pictures(reader, start, stop, draw.randrange(1, 5))
        assert torch.equal(part, whole[start:stop])
    assert reader.concealed_frames == []


def raw_video(*command: str) -> bytes:
    done = subprocess.run(
        [ffmpeg_path(), "-v", "error", *command, "-f", "rawvideo", "-"],
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("name", ["camera.mp4", "editor.mov"])
def test_frames_are_those_of_ffmpegs_own_filter(
    made_once: MadeOnce, tmp_path: Path, name: str
) -> None:
    path = film(made_once, name)
    video, reader = opened(path, tmp_path)
    luma = [raw.planes[0].numpy() for raw in reader._pictures(0, FRAMES)]
    filtered = ("-i", str(path), "-vf", "bwdif=mode=send_frame", "-pix_fmt", video.pixel_format)
    frames = np.frombuffer(raw_video(*filtered), luma[0].dtype).reshape(FRAMES, -1)
    expected = frames[:, : 128 * 64].reshape(FRAMES, 64, 128)
    # FFmpeg's versions do not agree on the outermost rows.
    for made, same in zip(luma, expected, strict=True):
        assert np.array_equal(made[6:-6], same[6:-6])


def test_a_person_may_leave_fields_woven(made_once: MadeOnce, tmp_path: Path) -> None:
    path = film(made_once, "archive.mkv", WAVES)
    video, reader = opened(path, tmp_path)
    kept = with_fields(video, VideoSettings(deinterlace="off"))
    assert kept.notes[-1] == "interlaced: its fields are left woven (input.deinterlace: off)"
    woven = FrameReader(kept, FrameIndex.load(tmp_path / "index.json"), CPU)
    true = f"{WAVES},framestep=2"
    shown = raw_video("-f", "lavfi", "-i", true, "-frames:v", str(FRAMES))
    frames = np.frombuffer(shown, np.uint8).reshape(FRAMES, 3, 64, 128)
    of_truth, of_fields = (_off(each, frames) for each in (reader, woven))
    assert of_truth < of_fields / 10
    made = with_fields(video, VideoSettings())
    assert made.first_field == "top"
    assert made.notes[-1] == "interlaced (top field first): made whole by bwdif"
    assert VideoSettings().fingerprint() != VideoSettings(deinterlace="off").fingerprint()
    whole, _ = opened(film(made_once, "whole.mp4"), tmp_path)
    assert with_fields(whole, VideoSettings()) == whole


def _off(reader: FrameReader, truth: NDArray[np.uint8]) -> float:
    """Mean difference of brightness from the frames that the first fields were taken of."""
    made = np.stack([raw.planes[0].numpy() for raw in reader._pictures(0, FRAMES)])
    return float(np.abs(made[1:].astype(float) - truth[1:, 0]).mean())


def test_neighbours_are_read_beyond_both_ends_of_every_nth(
    made_once: MadeOnce, tmp_path: Path
) -> None:
    video, reader = opened(film(made_once, "camera.mp4"), tmp_path)
    whole = pictures(reader, 0, FRAMES, 4)
    index = FrameIndex.load(tmp_path / "index.json")
    third = FrameReader(video.every_nth(3, 1), index.every_nth(3, 1), CPU)
    assert torch.equal(pictures(third, 1, 4, 2), whole[[4, 7, 10]])
