"""Interlaced films: found out, made whole, and the same in any segments."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
import torch

from pipeline.contract import VideoInfo, VideoSettings
from pipeline.deliverables.kept import with_fields
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, ffmpeg_path, run_ffmpeg
from pipeline.source.decode import FrameReader
from pipeline.source.frame_index import FrameIndex
from pipeline.source.video_info import read_video
from tests.made_once import MadeOnce
from tests.render import CPU

FRAMES = 14
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


def film(made_once: MadeOnce, name: str) -> Path:
    first, pixels, codec = FILMS[name]

    def make(folder: Path) -> None:
        fields = FIELDS.format(first=first) if first else "framestep=2"
        run_ffmpeg(
            ffmpeg_command(
                *("-f", "lavfi", "-i", f"testsrc2=size=128x64:rate=50,{fields},format={pixels}"),
                *("-frames:v", str(FRAMES), *codec, str(folder / name)),
            )
        )

    return made_once("interlaced", name, make) / name


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


@pytest.mark.parametrize("name", ["camera.mp4", "editor.mov"])
def test_frames_are_those_of_ffmpegs_own_filter(
    made_once: MadeOnce, tmp_path: Path, name: str
) -> None:
    path = film(made_once, name)
    video, reader = opened(path, tmp_path)
    made = b"".join(
        plane.contiguous().numpy().tobytes()
        for raw in reader._pictures(0, FRAMES)
        for plane in raw.planes
    )
    command = [ffmpeg_path(), "-v", "error", "-i", str(path), "-vf", "bwdif=mode=send_frame"]
    raw = ("-f", "rawvideo", "-pix_fmt", video.pixel_format, "-")
    done = subprocess.run([*command, *raw], stdout=subprocess.PIPE, check=True)
    assert made == done.stdout


def test_a_person_may_leave_fields_woven(made_once: MadeOnce, tmp_path: Path) -> None:
    path = film(made_once, "camera.mp4")
    video, reader = opened(path, tmp_path)
    kept = with_fields(video, VideoSettings(deinterlace="off"))
    assert kept.notes[-1] == "interlaced: its fields are left woven (input.deinterlace: off)"
    woven = FrameReader(kept, FrameIndex.load(tmp_path / "index.json"), CPU)
    combs = [_combing(pictures(each, 3, 4, 1)[0]) for each in (woven, reader)]
    assert combs[1] < combs[0] / 2
    made = with_fields(video, VideoSettings())
    assert made.first_field == "top"
    assert made.notes[-1] == "interlaced (top field first): made whole by bwdif"
    assert VideoSettings().fingerprint() != VideoSettings(deinterlace="off").fingerprint()
    whole, _ = opened(film(made_once, "whole.mp4"), tmp_path)
    assert with_fields(whole, VideoSettings()) == whole


def _combing(picture: torch.Tensor) -> float:
    """How much a row differs from the ones around it, more than those from each other."""
    rows = picture.float().mean(0)
    off = (rows[1:-1] - (rows[:-2] + rows[2:]) / 2).abs()
    return float((off - (rows[:-2] - rows[2:]).abs()).clamp(min=0).mean())


def test_neighbours_are_read_beyond_both_ends_of_every_nth(
    made_once: MadeOnce, tmp_path: Path
) -> None:
    video, reader = opened(film(made_once, "camera.mp4"), tmp_path)
    whole = pictures(reader, 0, FRAMES, 4)
    index = FrameIndex.load(tmp_path / "index.json")
    third = FrameReader(video.every_nth(3, 1), index.every_nth(3, 1), CPU)
    assert torch.equal(pictures(third, 1, 4, 2), whole[[4, 7, 10]])
