"""Clips for the steps: few frames, made on the spot within seconds, or brought ready-made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.bench.clip import make_clip
from orchestrator.gpu_check.site import Site
from pipeline.contract import VideoInfo
from pipeline.encode.ffmpeg_pipe import ffmpeg_command, run_ffmpeg
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.video_info import read_video

_X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "20", "-g", "20")
_X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-crf", "20", "-tag:v", "hvc1")
_SVT = ("-c:v", "libsvtav1", "-preset", "12", "-crf", "40", "-g", "20")
_QUIET = ("-x265-params", "log-level=error:keyint=8:min-keyint=8:open-gop=0")
_OPEN = ("-x265-params", "log-level=error:keyint=8:min-keyint=8:open-gop=1:bframes=3")


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip of both eyes side by side.

    Attributes:
        name: of the file.
        codec: by the name of the table of engines.
        size: width and height; None: 8K, in a rehearsal small.
        full_range, tagged: its colours' range, and whether the file names their matrix.
    """

    name: str
    codec: str
    options: tuple[str, ...]
    frames: int
    size: tuple[int, int] | None = (1280, 640)
    pixels: str = "yuv420p"
    full_range: bool = False
    tagged: bool = True


H264 = Clip("h264_LR_180.mp4", "h264", _X264, 48)
HEVC = Clip("hevc_LR_180.mp4", "hevc", (*_X265, *_QUIET), 48)
AV1 = Clip("av1_LR_180.mkv", "av1", _SVT, 24, (640, 320))
#: From 720 lines on, what has no tag is BT.709.
UNTAGGED = Clip(
    *("hevc10_untagged_LR_180.mp4", "hevc", (*_X265, *_QUIET), 24, (1280, 720)),
    pixels="yuv420p10le",
    tagged=False,
)
FULL = replace(UNTAGGED, name="hevc10_full_LR_180.mp4", full_range=True, tagged=True)
OPEN_8K = Clip("hevc_8k_open_LR_180.mp4", "hevc", (*_X265, *_OPEN), 24, None)
LARGE = Clip("hevc_8k_LR_180.mp4", "hevc", (*_X265, *_QUIET), 24, None)
LARGE_10 = replace(LARGE, name="hevc10_8k_LR_180.mp4", pixels="yuv420p10le")
#: Each frame another picture.
LONG = Clip("h264_long_LR_180.mp4", "h264", _X264, 300)


def made(site: Site, clip: Clip) -> Path:
    """The clip's file: the one that was brought, or one that is made.

    Raises:
        EncodeError: ffmpeg cannot make it.
    """
    return _ready(site, clip.name) or _once(site, clip.name, lambda path: _encode(site, clip, path))


def repeated(site: Site, clip: Clip, times: int) -> Path:
    """The clip's coded pictures so many times, one after the other: no encoding."""
    name = f"{times}x_{clip.name}"
    source = made(site, clip)

    def copy(path: Path) -> None:
        looped = ("-stream_loop", str(times - 1), "-i", f"file:{source}")
        run_ffmpeg(ffmpeg_command(*looped, "-c", "copy", "-tag:v", "hvc1", f"file:{path}"))

    return _ready(site, name) or _once(site, name, copy)


def scene(site: Site) -> Path:
    """A person before a green screen, drawn, with sound: for whole runs."""
    size, frames = (960, 480), 40
    name = "scene_LR_180.mp4"
    return _ready(site, name) or _once(
        site, name, lambda path: void(make_clip(path.parent, size, frames, "green").replace(path))
    )


def void(result: object) -> None:
    del result


def opened(site: Site, path: Path) -> tuple[VideoInfo, FrameIndex]:
    """What the probe says of it."""
    index = index_path(site, path)
    video = read_video(path, index, "sbs")
    return video, FrameIndex.load(index)


def index_path(site: Site, path: Path) -> Path:
    return site.work_folder("clips") / f"{path.name}.index"


def _ready(site: Site, name: str) -> Path | None:
    if site.ready_clips is None or not (site.ready_clips / name).is_file():
        return None
    return site.ready_clips / name


def _once(site: Site, name: str, make: Callable[[Path], None]) -> Path:
    path = site.work_folder("clips") / name
    if not path.is_file():
        draft = path.with_name(f"draft-{name}")  # a suffix by which ffmpeg knows the container
        make(draft)
        draft.replace(path)
    return path


def _encode(site: Site, clip: Clip, path: Path) -> None:
    width, height = clip.size or site.large
    if site.rehearsal:
        width, height = min(width, 1280), min(height, 720)
    form = f"scale=out_color_matrix=bt709:out_range={'pc' if clip.full_range else 'tv'}"
    matrix = "bt709" if clip.tagged else "unknown"
    run_ffmpeg(
        ffmpeg_command(
            *("-f", "lavfi", "-i", f"testsrc2=size={width}x{height}:rate=30"),
            *("-frames:v", str(clip.frames)),
            *("-vf", f"{form},format={clip.pixels},setparams=colorspace={matrix}"),
            *clip.options,
            *("-pix_fmt", clip.pixels, "-colorspace", matrix),
            *("-color_range", "pc" if clip.full_range else "tv"),
            f"file:{path}",
        )
    )
