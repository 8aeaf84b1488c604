"""Short clips in every codec, made by our own ffmpeg, to try decoders on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

from pipeline.encode.ffmpeg_pipe import ffmpeg_command
from pipeline.errors import EncodeError
from pipeline.files.child import tied
from pipeline.files.child_failure import ChildFailure

SourceCodec = Literal["h264", "hevc", "av1", "vp9"]
CODECS: tuple[SourceCodec, ...] = ("h264", "hevc", "av1", "vp9")
DEPTHS = (8, 10)

#: Width and height. A GPU is tried with all sizes, a CPU, whose decoders have no limit, with one.
SIZES = {"1080p": (1920, 1080), "4K": (3840, 2160), "8K": (8192, 4096)}
CPU_SIZE = {"small": (640, 320)}

#: Enough for a decoder that reorders pictures.
NUM_FRAMES = 4

#: To encode that many frames of 8K takes some 20 s on two cores, of the small size one.
_DEADLINE_S, _SMALL_DEADLINE_S = 180.0, 40.0

_OPTIONS: dict[SourceCodec, tuple[str, ...]] = {
    "h264": ("-c:v", "libx264", "-preset", "ultrafast"),
    "hevc": (
        *("-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1"),
        *("-x265-params", "log-level=error"),
    ),
    "av1": ("-c:v", "libsvtav1", "-preset", "12"),
    "vp9": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-row-mt", "1"),
}
_SUFFIX = {"h264": ".mp4", "hevc": ".mp4", "av1": ".mkv", "vp9": ".webm"}
_PIXELS = {8: "yuv420p", 10: "yuv420p10le"}


class EncodeHung(EncodeError):
    """Our ffmpeg did not end; it is not tried again."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A clip by codec, bit depth and size.

    Attributes:
        size: one of the names of `SIZES` or `CPU_SIZE`.
    """

    codec: SourceCodec
    depth: int
    size: str

    @property
    def name(self) -> str:
        return f"{self.codec} {self.depth} bit {self.size}"

    @property
    def file_name(self) -> str:
        return f"{self.codec}-{self.depth}-{self.size}{_SUFFIX[self.codec]}"


def samples(sizes: dict[str, tuple[int, int]]) -> Iterator[Sample]:
    """Samples of every codec and depth in these sizes."""
    for codec, depth, size in product(CODECS, DEPTHS, sizes):
        yield Sample(codec, depth, size)


def make_sample(folder: Path, sample: Sample) -> Path:
    """Make the clip in `folder`, unless it exists.

    Raises:
        EncodeHung: our ffmpeg does not end.
        EncodeError: our ffmpeg cannot make it.
    """
    deadline_s = _SMALL_DEADLINE_S if sample.size in CPU_SIZE else _DEADLINE_S
    path = folder / sample.file_name
    if path.exists():
        return path
    width, height = (SIZES | CPU_SIZE)[sample.size]
    draft = folder / f".{sample.file_name}"  # a suffix by which ffmpeg knows the container
    command = ffmpeg_command(
        *("-f", "lavfi", "-i", f"testsrc2=size={width}x{height}:rate=30"),
        *("-frames:v", str(NUM_FRAMES), *_OPTIONS[sample.codec]),
        *("-vf", "scale=out_color_matrix=bt709:out_range=tv"),
        *("-pix_fmt", _PIXELS[sample.depth], "-colorspace", "bt709", "-color_range", "tv"),
        f"file:{draft}",
    )
    try:
        done = subprocess.run(
            tied(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=deadline_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EncodeHung(f"ffmpeg did not make {sample.name} in {deadline_s:.0f} s") from None
    except OSError as error:
        raise EncodeError(f"ffmpeg cannot be started: {error.strerror}") from error
    if done.returncode != 0:
        failure = ChildFailure.of(command, done.returncode, done.stderr)
        raise failure.noted(EncodeError(failure.sentence(f"ffmpeg cannot make {sample.name}")))
    draft.replace(path)
    return path
