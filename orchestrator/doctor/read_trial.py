"""Reads a finished file back as a viewer would: frames, alpha, sound. In the trial's process."""

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
from pipeline.deliverables.format import Alpha, Format
from pipeline.deliverables.formats import FORMATS

if TYPE_CHECKING:
    import torch

    from pipeline.deliverables.base import ReadBack

Floats = NDArray[np.float32]

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
    path, row = Path(trial.path), FORMATS[trial.format]
    figures: dict[str, float] = {}
    alphas: Iterator[tuple[int, Floats | None]]
    if row.read_back is None:
        figures |= _packets(path)
        alphas = _film_alphas(path, row.alpha, int(figures["frames"]), trial.whole)
    else:
        read: ReadBack = FORMATS.load(row.name, row.read_back)
        figures["frames"], alphas = read(path, trial.whole)
    problem = _look_at(trial, row, alphas, figures)
    if trial.whole and figures.get("tracks"):
        figures["loudness"] = _loudness(path)
    return Tried("failed" if problem else "works", problem or "", figures)


def _look_at(
    trial: ReadTrial,
    row: Format,
    alphas: Iterator[tuple[int, Floats | None]],
    figures: dict[str, float],
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
    if row.shows_alpha and len(means) < decoded:
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


def _film_alphas(
    path: Path, kind: Alpha | None, count: int, whole: bool
) -> Iterator[tuple[int, Floats | None]]:
    from pipeline.verify.readback import sampled_frames

    if kind == "layer":  # PyAV's FFmpeg decodes the layer of colour alone
        yield from _with_alpha_layer(path, None if whole else 1)
        return
    numbers = {0, count // 2, count - 1}
    for number, frame in enumerate(_decoded(path)) if whole else sampled_frames(path, numbers):
        yield number, _alpha(frame, kind)


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


def _alpha(frame: Any, kind: Alpha | None) -> Floats | None:
    """float32 ``[H, W]``, 0..1; None where the picture has none."""
    from pipeline.pixels.planes import frame_planes

    planes = frame_planes(frame)
    depth = frame.format.components[0].bits
    if kind == "grey":
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
            yield number, _alpha(frame, "layer")


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
