"""Clips that paint their own frame number and eye into the pixels, and the reading of outputs.

The number stands in white and black squares on a green screen, so that `chroma` keeps it: a
dropped, doubled or swapped frame is read off what comes out.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

GREEN = (0, 177, 64)
BITS = 10
SQUARE = 16  # pixels; four chroma samples stay untouched by their neighbours
EYE_COLOURS = ((220, 40, 40), (40, 60, 220))  # left red, right blue


@dataclass(frozen=True)
class ClipSpec:
    """How a painted clip is encoded.

    Attributes:
        name: of the file; a folder may come before it.
        setpts: an FFmpeg expression for the time stamps of a variable-rate clip; None is constant.
        audio: options of ffmpeg for each audio track's codec, e.g. ("aac", "libopus").
    """

    name: str
    codec: tuple[str, ...]
    pixel_format: str = "yuv420p"
    num_frames: int = 50
    rate: Fraction = Fraction(30)
    eye: tuple[int, int] = (192, 96)  # width, height
    setpts: str | None = None
    audio: tuple[str, ...] = ()
    audio_channels: int = 2
    options: tuple[str, ...] = ()
    color: tuple[str, ...] = ("bt709", "tv")
    filters: tuple[str, ...] = ()


X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "14", "-g", "20", "-threads", "2")
X265 = (
    *("-c:v", "libx265", "-preset", "ultrafast", "-crf", "14", "-tag:v", "hvc1"),
    *("-x265-params", "log-level=error:keyint=20:pools=2:frame-threads=1"),
)
SVT_AV1 = ("-c:v", "libsvtav1", "-preset", "8", "-crf", "5", "-g", "20")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M", "-g", "20")


def paint(number: int, eye: int, width: int, height: int) -> Picture:
    """uint8 ``[height, width, 3]``: the number in BITS squares, the eye's colour in a bar below."""
    picture = np.empty((height, width, 3), dtype=np.uint8)
    picture[:] = GREEN
    for bit in range(BITS):
        left = SQUARE + bit * SQUARE
        picture[SQUARE : 3 * SQUARE, left : left + SQUARE] = 235 if number >> bit & 1 else 20
    picture[height - 2 * SQUARE : height - SQUARE, SQUARE : SQUARE * (BITS + 1)] = EYE_COLOURS[eye]
    return picture


def read_number(picture: Picture) -> int:
    """The painted number of one eye."""
    number = 0
    for bit in range(BITS):
        left = SQUARE + bit * SQUARE
        inside = picture[SQUARE + 6 : 3 * SQUARE - 6, left + 4 : left + SQUARE - 4]
        number |= int(inside.mean() > 128) << bit
    return number


def read_eye(picture: Picture) -> int:
    """0 for the left eye's colour, 1 for the right eye's."""
    height = picture.shape[0]
    inside = picture[height - 2 * SQUARE + 4 : height - SQUARE - 4, 2 * SQUARE : 8 * SQUARE]
    return int(inside[..., 2].mean() > inside[..., 0].mean())


def make_clip(folder: Path, spec: ClipSpec) -> Path:
    """Encode a painted side-by-side clip."""
    path = folder / spec.name
    path.parent.mkdir(exist_ok=True)
    width, height = spec.eye
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{2 * width}x{height}"),
        *("-r", str(spec.rate), "-i", "-"),
    ]
    seconds = float(spec.num_frames / spec.rate)
    for number in range(len(spec.audio)):
        tone = f"sine=frequency={440 * (number + 1)}:sample_rate=48000:duration={seconds}"
        command += ["-f", "lavfi", "-i", tone]
    matrix, value_range = spec.color
    filters = [f"scale=out_color_matrix={matrix}:out_range={value_range}:flags=accurate_rnd"]
    filters += [f"format={spec.pixel_format}", *spec.filters]
    command += ["-map", "0:v"]
    if spec.setpts is not None:
        filters.append(f"setpts={spec.setpts}")
        command += ["-fps_mode", "passthrough"]
    command += ["-vf", ",".join(filters), *spec.codec, "-pix_fmt", spec.pixel_format]
    command += ["-colorspace", matrix, "-color_range", value_range]
    for number, codec in enumerate(spec.audio):
        command += ["-map", f"{number + 1}:a", f"-c:a:{number}", codec]
        command += [f"-ac:a:{number}", str(spec.audio_channels)]
        command += [f"-metadata:s:a:{number}", f"language={('eng', 'deu', 'fra')[number]}"]
    command += [*spec.options, str(path)]
    pictures = b"".join(
        np.concatenate([paint(k, eye, width, height) for eye in (0, 1)], axis=1).tobytes()
        for k in range(spec.num_frames)
    )
    subprocess.run(command, input=pictures, check=True, stderr=subprocess.PIPE)
    return path


def read_frames(path: Path) -> list[Picture]:
    """Every frame of a WebM with alpha, uint8 ``[H, W, 4]`` RGBA, decoded with libvpx."""
    decoder = av.CodecContext.create("libvpx-vp9", "r")
    pictures = []
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                pictures += [_rgba(frame) for frame in decoder.decode(packet)]
    return pictures


def _rgba(frame: av.VideoFrame) -> Picture:
    """By the formulas, in float: swscale is off by up to 2 levels here."""
    assert frame.format.name == "yuva420p"
    assert frame.color_range == 1, "not tagged as limited range"
    kr, kb = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114)}[int(frame.colorspace)]
    y, u, v, alpha = (_plane(frame, number).astype(np.float64) for number in range(4))
    u, v = (np.repeat(np.repeat(c - 128, 2, 0), 2, 1)[: y.shape[0]] / 224 for c in (u, v))
    luma = (y - 16) / 219
    red, blue = luma + 2 * (1 - kr) * v, luma + 2 * (1 - kb) * u
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    rgb = np.stack([red, green, blue], axis=2) * 255
    return np.concatenate([rgb, alpha[..., None]], axis=2).round().clip(0, 255).astype(np.uint8)


def _plane(frame: av.VideoFrame, number: int) -> Picture:
    plane = frame.planes[number]
    rows = np.frombuffer(bytes(plane), dtype=np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def read_numbers(pictures: Sequence[Picture]) -> tuple[list[int], list[int]]:
    """The numbers painted in the left and in the right eyes; the eyes' colours are checked."""
    left, right = [], []
    for picture in pictures:
        half = picture.shape[1] // 2
        eyes = picture[:, :half, :3], picture[:, half:, :3]
        assert [read_eye(eye) for eye in eyes] == [0, 1], "eyes are swapped"
        left.append(read_number(eyes[0]))
        right.append(read_number(eyes[1]))
    return left, right


@dataclass(frozen=True)
class Sound:
    """One audio track as it is heard.

    Attributes:
        begin_s, end_s: of its packets, seconds.
    """

    begin_s: float
    end_s: float
    codec: str
    channels: int
    language: str


def read_sounds(path: Path) -> list[Sound]:
    """The audio tracks of a file."""
    sounds = []
    with av.open(str(path)) as container:
        for number in range(len(container.streams.audio)):
            container.seek(0)
            stream = container.streams.audio[number]
            times = [
                (float(p.pts * p.time_base), float((p.pts + (p.duration or 0)) * p.time_base))
                for p in container.demux(stream)
                if p.size and p.pts is not None
            ]
            codec = stream.codec_context
            sounds.append(
                Sound(
                    min(t[0] for t in times),
                    max(t[1] for t in times),
                    codec.name,
                    codec.channels,
                    stream.metadata.get("language", ""),
                )
            )
    return sounds


def read_samples(path: Path, track: int = 0) -> tuple[NDArray[np.float32], float]:
    """(mono samples at 48 kHz, time of the first one in seconds) of an audio track."""
    parts: list[NDArray[np.float32]] = []
    begin_s = 0.0
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48000)
        for frame in container.decode(container.streams.audio[track]):
            if not parts and frame.time is not None:
                begin_s = frame.time
            parts += [f.to_ndarray()[0] for f in resampler.resample(frame)]
        parts += [f.to_ndarray()[0] for f in resampler.resample(None)]
    return np.concatenate(parts), begin_s
