"""Read a finished file back as a viewer would: frames, alpha, sound. In the trial's process."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.demo.scene import Scene
from orchestrator.doctor.trials import ReadTrial, Tried

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]

#: Formats whose pictures have an alpha plane, and those whose grey is alpha.
WITH_ALPHA = frozenset({"webm", "prores", "hevc-alpha"})
ALPHA_AS_GREY = frozenset({"matte", "tiff"})

_RATE = 48_000

#: From a finished file, whose makers are ours; a few seconds of a small picture at the most.
_FFMPEG_DEADLINE_S = 60.0


def try_read(trial: ReadTrial, device: torch.device) -> Tried:
    """Figures: frames, decoded; alpha_mean, alpha_low, alpha_high (0..1) where it shows alpha;
    alpha_error (mean difference to the scene, 0..1) where that is known; tracks, sound_begin,
    sound_end, picture_end (seconds), loudness (0..1, of the first track, where all is read).
    """
    return read_back(trial)


def read_back(trial: ReadTrial) -> Tried:
    path = Path(trial.path)
    figures: dict[str, float] = {}
    if trial.format == "tiff":
        alphas = _tiff_alphas(path, trial.whole, figures)
    else:
        figures |= _packets(path)
        alphas = _movie_alphas(trial, figures)
    problem = _look_at(trial, alphas, figures)
    if trial.format != "tiff" and trial.whole and figures["tracks"]:
        figures["loudness"] = _loudness(path)
    return Tried("failed" if problem else "works", problem or "", figures)


def _look_at(
    trial: ReadTrial, alphas: Iterator[tuple[int, Floats | None]], figures: dict[str, float]
) -> str | None:
    """Decode; what is wrong with it, in words."""
    truths = _truths(trial.scene_frames, trial.scene_eye) if trial.scene_frames else None
    means, errors, lows, highs, decoded = [], [], [], [], 0
    for frame, alpha in alphas:
        decoded += 1
        if alpha is None:
            continue
        means.append(float(alpha.mean()))
        lows.append(float(alpha.min()))
        highs.append(float(alpha.max()))
        if truths is not None:
            if frame >= len(truths):
                return f"more than {len(truths)} frames"
            if truths[frame].shape != alpha.shape:
                return f"pictures of {alpha.shape[1]}x{alpha.shape[0]} pixels"
            errors.append(float(np.abs(truths[frame] - alpha).mean()))
    figures["decoded"] = decoded
    shows_alpha = trial.format in WITH_ALPHA | ALPHA_AS_GREY
    if shows_alpha and len(means) < decoded:
        return f"{decoded - len(means)} of {decoded} frames have no alpha"
    if means:
        figures |= {
            "alpha_mean": float(np.mean(means)),
            "alpha_low": min(lows),
            "alpha_high": max(highs),
        }
    if errors:
        figures["alpha_error"] = max(errors)
    return None


@cache
def _truths(frames: int, eye: int) -> tuple[Floats, ...]:
    """The true alpha of each frame of the scene, eyes side by side; drawn once a process."""
    scene = Scene(frames, eye_size=eye)
    return tuple(np.concatenate(list(scene.alpha(k)), axis=1) for k in range(frames))


def _packets(path: Path) -> dict[str, float]:
    from pipeline.verify.readback import inspect_file

    facts = inspect_file(path)
    step = facts.pts_s[1] - facts.pts_s[0] if len(facts.pts_s) > 1 else 0.0
    begin, end = facts.audio_s[0] if facts.audio_s else (0.0, 0.0)
    return {
        "frames": facts.num_frames,
        "picture_end": (max(facts.pts_s) if facts.pts_s else 0.0) + step,
        "tracks": len(facts.audio_s),
        "sound_begin": begin,
        "sound_end": end,
    }


def _movie_alphas(
    trial: ReadTrial, figures: dict[str, float]
) -> Iterator[tuple[int, Floats | None]]:
    from pipeline.verify.readback import sampled_frames

    path, count = Path(trial.path), int(figures["frames"])
    if trial.format == "hevc-alpha":  # PyAV's FFmpeg decodes its layer of colour alone
        yield from _with_alpha_layer(path, None if trial.whole else 1)
        return
    numbers = set(range(count)) if trial.whole else {0, count // 2, count - 1}
    if not trial.whole:
        for number, frame in sampled_frames(path, numbers):
            yield number, _alpha(frame, trial.format)
        return
    for number, frame in enumerate(_decoded(path)):
        yield number, _alpha(frame, trial.format)


def _decoded(path: Path) -> Iterator[Any]:
    import av

    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        own = stream.codec_context.name == "vp9"  # FFmpeg's own decoder drops alpha
        decoder: Any = av.CodecContext.create("libvpx-vp9", "r") if own else stream.codec_context
        for packet in container.demux(stream):
            if packet.size:
                yield from decoder.decode(packet)
        with suppress(av.error.EOFError):
            yield from decoder.decode(None)


def _alpha(frame: Any, format_name: str) -> Floats | None:
    """float32 ``[H, W]``, 0..1; None where the picture has none."""
    from pipeline.verify.selfcheck import frame_planes

    planes = frame_planes(frame)
    depth = frame.format.components[0].bits
    if format_name in ALPHA_AS_GREY:
        luma = planes[0].numpy().astype(np.float32) / (1 << (depth - 8))
        grey: Floats = np.clip((luma - 16) / 219, 0, 1)
        return grey
    if len(planes) != 4:
        return None
    alpha: Floats = planes[3].numpy().astype(np.float32) / ((1 << depth) - 1)
    return alpha


def _with_alpha_layer(path: Path, most: int | None) -> Iterator[tuple[int, Floats | None]]:
    """By our own ffmpeg, which knows the second layer; `most` frames from the beginning."""
    import av

    from pipeline.encode.ffmpeg_pipe import ffmpeg_command

    limit = () if most is None else ("-frames:v", str(most))
    raw = ("-map", "0:v:0", "-fps_mode", "passthrough", *limit, "-c:v", "rawvideo", "-f", "nut")
    command = ffmpeg_command("-i", f"file:{path}", *raw, "pipe:1")
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=_FFMPEG_DEADLINE_S)
    with av.open(io.BytesIO(done.stdout), mode="r", format="nut") as container:
        for number, frame in enumerate(container.decode(video=0)):
            yield number, _alpha(frame, "hevc-alpha")


def _tiff_alphas(
    path: Path, whole: bool, figures: dict[str, float]
) -> Iterator[tuple[int, Floats | None]]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        count = len(file.pages)
        figures["frames"] = count
        for number in range(count) if whole else sorted({0, count // 2, count - 1}):
            yield number, file.pages[number].asarray().astype(np.float32) / np.float32(255)


def _loudness(path: Path) -> float:
    """Root mean square of the first track, 0..1."""
    import av

    with av.open(f"file:{path}") as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=_RATE)
        parts = [
            part.to_ndarray()
            for frame in container.decode(container.streams.audio[0])
            for part in resampler.resample(frame)
        ]
    samples = np.concatenate([part.ravel() for part in parts]) if parts else np.zeros(1)
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
