"""`vrmatte demo`: three short VR180 clips with true parallax, made from nothing.

The scene is drawn once and piped to three encoders at the same time; no picture touches the disk.
Knows nothing of matting.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from numpy.typing import NDArray

from orchestrator.demo.scene import Backdrop, Scene
from pipeline.errors import DiskError, EncodeError, SettingsError
from pipeline.files.child_failure import ChildFailure

SAMPLE_RATE = 48_000
_CLICK_S = 0.012
_BACKDROPS: tuple[Backdrop, ...] = ("room", "green")


@dataclass(frozen=True, slots=True)
class _Clip:
    """One of the clips: what is in it, and FFmpeg's options after the inputs.

    Thread counts are constants, because they may alter what an encoder writes.
    """

    name: str
    title: str
    backdrop: Backdrop
    pixel_format: str
    options: tuple[str, ...]


_CLIPS = (
    _Clip(
        "demo_room_LR_180.mp4",
        "Demo: a room, H.264",
        "room",
        "yuv420p",
        (
            *("-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-threads", "2"),
            *("-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart"),
        ),
    ),
    _Clip(
        "demo_room_av1_LR_180.mkv",
        "Demo: a room, AV1",
        "room",
        "yuv420p",
        (
            *("-c:v", "libsvtav1", "-preset", "10", "-crf", "24", "-svtav1-params", "lp=2"),
            *("-c:a", "libopus", "-b:a", "96k", "-metadata:s:v:0", "stereo_mode=left_right"),
        ),
    ),
    _Clip(
        "demo_green_LR_180.mp4",
        "Demo: a green screen, HEVC 10 bit",
        "green",
        "yuv420p10le",
        (
            *("-c:v", "libx265", "-preset", "superfast", "-crf", "18", "-tag:v", "hvc1"),
            *("-x265-params", "pools=2:frame-threads=1:log-level=error"),
            *("-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart"),
        ),
    ),
)

#: The same for all clips, so it is encoded once.
_ALPHA = _Clip(
    "alpha.mkv",
    "Demo: the true alpha",
    "room",
    "gray",
    ("-c:v", "ffv1", "-level", "3", "-g", "1", "-pix_fmt", "gray", "-color_range", "pc"),
)


def make_demo(
    folder: Path,
    *,
    seconds: float = 4.0,
    eye_size: int = 640,
    fps: Fraction = Fraction(30),
    alpha: bool = False,
) -> list[Path]:
    """Make the demo clips, replacing those of the same names.

    A lamp on the wall at the upper left of each eye flashes white for one frame at
    `Scene.flash_frames`, and a click sounds from the moment at which that frame is shown.

    Args:
        folder: made where it is missing.
        seconds: length of each clip, rounded to whole frames.
        eye_size: width and height of an eye in pixels; even, at least 128. The eyes are side by
            side.
        alpha: write the figure's true alpha beside each clip, as `alpha_path` names it: grey FFV1,
            full range, the same frames.

    Returns:
        The clips: H.264/AAC in MP4, AV1/Opus in Matroska, 10-bit HEVC/AAC on green in MP4; then
        their alphas.

    Raises:
        SettingsError: the folder cannot be used, or there is no such clip.
        EncodeError: FFmpeg failed; no clip bears its final name then.
        DiskError: the disk is full, or a clip's name is taken by a folder.
    """
    num_frames = round(seconds * fps) if fps > 0 else 0
    try:
        scene = Scene(num_frames, eye_size=eye_size, frame_rate=fps)
    except ValueError as error:
        raise SettingsError(
            f"cannot make the demo: {error}", "choose at least one frame and an even size >= 128"
        ) from error
    with _scratch_folder(folder) as scratch:
        sound = scratch / "clicks.wav"
        try:
            _write_clicks(sound, scene)
            _encode(scene, sound, scratch, alpha=alpha)
            made = [(scratch / clip.name).replace(folder / clip.name) for clip in _CLIPS]
            if alpha:
                truth = scratch / _ALPHA.name
                copies = [shutil.copyfile(truth, truth.with_stem(str(n))) for n in range(len(made))]
                pairs = zip(copies, map(alpha_path, made), strict=True)
                made += [copy.replace(path) for copy, path in pairs]
            return made
        except OSError as error:
            raise DiskError(
                f"cannot write the demo to {folder}: {error.strerror}",
                "make room there, or name another folder",
            ) from error


@contextmanager
def _scratch_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder inside `folder`, so that finished clips get their names by renaming."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".demo-", dir=folder)
    except (FileExistsError, NotADirectoryError) as error:
        raise SettingsError(
            f"{error.filename or folder} is a file, the demo needs a folder", "name another folder"
        ) from error
    except OSError as error:
        raise SettingsError(
            f"cannot write to {folder}: {error.strerror}", "name a folder that can be written to"
        ) from error
    with scratch as name:
        yield Path(name)


def click_samples(scene: Scene) -> NDArray[np.int16]:
    """The clip's sound: mono at SAMPLE_RATE, as long as the picture, silent but for the clicks."""
    length = round(scene.num_frames / scene.frame_rate * SAMPLE_RATE)
    sound = np.zeros(length, np.float64)
    t = np.arange(round(_CLICK_S * SAMPLE_RATE)) / SAMPLE_RATE
    click = 0.8 * np.cos(2 * np.pi * 1500 * t) * np.exp(-t / 0.003)
    for frame in scene.flash_frames:
        start = round(frame / scene.frame_rate * SAMPLE_RATE)
        part = click[: length - start]
        sound[start : start + len(part)] = part
    return np.rint(sound * 32767).astype(np.int16)


def _write_clicks(path: Path, scene: Scene) -> None:
    samples = click_samples(scene)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.repeat(samples[:, None], 2, axis=1).astype("<i2").tobytes())


def alpha_path(clip: Path) -> Path:
    """Where the true alpha of a clip lies."""
    return clip.with_name(f"{clip.stem}.alpha.mkv")


def _encode(scene: Scene, sound: Path, scratch: Path, *, alpha: bool) -> None:
    with ExitStack() as stack:
        encoders = [stack.enter_context(_encoder(clip, scene, sound, scratch)) for clip in _CLIPS]
        truths = [stack.enter_context(_alpha_encoder(scene, scratch))] if alpha else []
        for frame in range(scene.num_frames):
            pictures = dict(zip(_BACKDROPS, scene.pictures(frame, _BACKDROPS), strict=True))
            # [2, H, W, 3] -> both eyes side by side
            frames = {name: np.concatenate(list(eyes), axis=1) for name, eyes in pictures.items()}
            for clip, encoder in zip(_CLIPS, encoders, strict=True):
                encoder.write(frames[clip.backdrop].tobytes())
            for encoder in truths:
                both = np.concatenate(list(scene.alpha(frame)), axis=1)
                encoder.write(np.rint(both * 255).astype(np.uint8).tobytes())
        for encoder in (*encoders, *truths):
            encoder.finish()


class _Encoder:
    """An FFmpeg that takes frames on its standard input; ends with the block it is used in."""

    def __init__(self, clip: _Clip, command: list[str], log: Path) -> None:
        self._clip = clip
        self._command = command
        # What it says goes to a file, because nobody reads a pipe while frames are written.
        self._log = log
        with log.open("wb") as said:
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
                )
            except OSError as error:  # not the disk's
                raise EncodeError(
                    f"ffmpeg cannot be started: {command[0]}: {error.strerror}",
                    "run `make setup`; if IMAGEIO_FFMPEG_EXE is set, unset it",
                ) from None

    def write(self, frame: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(frame)
        except BrokenPipeError as error:
            raise self._failure() from error

    def finish(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError as error:
            raise self._failure() from error
        if self._process.wait() != 0:
            raise self._failure()

    def _failure(self) -> EncodeError:
        self._process.wait()
        failure = ChildFailure.of(self._command, self._process.returncode, self._log.read_bytes())
        event = failure.sentence(f"ffmpeg cannot make {self._clip.name}")
        return failure.noted(
            EncodeError(event, "see whether the disk is full, or use another folder")
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()


def _encoder(clip: _Clip, scene: Scene, sound: Path, scratch: Path) -> _Encoder:
    size = scene.eye_size
    command = [
        *(get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-f", "rawvideo"),
        *("-pix_fmt", "rgb24", "-s", f"{2 * size}x{size}", "-r", str(scene.frame_rate)),
        *("-i", "pipe:0", "-i", f"file:{sound}", "-map", "0:v", "-map", "1:a"),
        *("-vf", _to_yuv(clip.pixel_format), "-g", str(max(1, round(scene.frame_rate)))),
        *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
        *("-color_range", "tv", *clip.options, "-metadata", f"title={clip.title}"),
        *("-fflags", "+bitexact", "-flags:v", "+bitexact", f"file:{scratch / clip.name}"),
    ]
    return _Encoder(clip, command, scratch / f"{clip.name}.log")


def _alpha_encoder(scene: Scene, scratch: Path) -> _Encoder:
    size, path = scene.eye_size, scratch / _ALPHA.name
    command = [
        *(get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-f", "rawvideo"),
        *("-pix_fmt", "gray", "-s", f"{2 * size}x{size}", "-r", str(scene.frame_rate)),
        *("-i", "pipe:0", *_ALPHA.options, "-metadata", f"title={_ALPHA.title}"),
        *("-fflags", "+bitexact", "-flags:v", "+bitexact", f"file:{path}"),
    ]
    return _Encoder(_ALPHA, command, scratch / f"{_ALPHA.name}.log")


def _to_yuv(pixel_format: str) -> str:
    flags = "accurate_rnd+full_chroma_int+full_chroma_inp"
    return (
        f"scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+{flags},format={pixel_format},"
        "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    )
