"""Clips with a tone of its own in each channel, damaged in one way each; what is heard of them."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import torch

from pipeline.contract import (
    EncodingSettings,
    FinishJob,
    OutputFile,
    SegmentResult,
    VideoInfo,
    VideoSettings,
)
from pipeline.deliverables.base import make_deliverable
from pipeline.files.publish import file_digest
from pipeline.finish import finish_video
from pipeline.pixels.batches import FrameBatch, MatteBatch
from pipeline.source.video_info import read_video
from tests.chains import layered

SAMPLE_RATE = 48000
SECONDS = 2
#: Of channel k in Hz: above what a channel for bass keeps, from the second on.
TONES = tuple(300 + 100 * channel for channel in range(16))

_FFMPEG = (imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y")
_PICTURE = ("-f", "lavfi", "-i", f"testsrc2=s=64x32:r=30:d={SECONDS}")
_X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def ffmpeg(*arguments: str | Path, given: bytes = b"") -> bytes:
    command = [*_FFMPEG, *map(str, arguments)]
    return subprocess.run(command, input=given, check=True, capture_output=True).stdout


def tones(channels: int, seconds: float = SECONDS) -> bytes:
    """32-bit floats, one tone a channel."""
    time = np.arange(int(SAMPLE_RATE * seconds)) / SAMPLE_RATE
    waves = [0.3 * np.sin(2 * np.pi * tone * time) for tone in TONES[:channels]]
    return np.stack(waves, axis=1).astype("<f4").tobytes()


def make_clip(
    path: Path, channels: int, *codec: str, layout: str = "", seconds: float = SECONDS
) -> Path:
    """A clip with one track; its channels have no places, unless `layout` names them."""
    places = ("-channel_layout", layout) if layout else ("-ac", str(channels))
    sound = ("-f", "f32le", "-ar", str(SAMPLE_RATE), *places, "-guess_layout_max", "0")
    options = (*_PICTURE, *sound, "-i", "-", *_X264, *codec)
    ffmpeg(*options, path, given=tones(channels, seconds))
    return path


def make_two_tracks(path: Path, *options: str) -> Path:
    """Tracks in AAC of 440 and 880 Hz; a noisy picture keeps their packets far apart."""
    sines = [("-f", "lavfi", "-i", f"sine={hz}:r={SAMPLE_RATE}:d={SECONDS}") for hz in (440, 880)]
    maps = ("-map", "0", "-map", "1", "-map", "2", "-c:a", "aac")
    ffmpeg(*_PICTURE, *sines[0], *sines[1], *maps, *_X264, *options, path)
    return path


def damage(source: Path, target: Path, track: int, how: str, begin: float = 0.0) -> Path:
    """Overwrite the packets of an audio track, from a share of them on, by zeros or at random."""
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [
            (packet.pos, packet.size)
            for packet in container.demux(container.streams.audio[track])
            if packet.size and packet.pos is not None
        ]
    noise = random.Random(1)
    for at, size in packets[int(begin * len(packets)) :]:
        data[at : at + size] = bytes(size) if how == "zeros" else noise.randbytes(size)
    target.write_bytes(data)
    return target


def sa3d(order: int, channels: int, kind: int, channel_map: Sequence[int] = ()) -> bytes:
    """The box, by the RFC; `kind` 0x80 has stereo that is locked to the head."""
    numbers = channel_map or range(channels)
    content = struct.pack(">BBIBBI", 0, kind, order, 0, 0, channels)
    content += b"".join(number.to_bytes(4, "big") for number in numbers)
    return _box(b"SA3D", content)


def with_sound_box(source: Path, target: Path, box: bytes) -> Path:
    """An MP4 or MOV whose `moov` is last, with a box more in the description of its sound."""

    def in_entry(stsd: bytes) -> bytes:
        return stsd[:8] + b"".join(_box(kind, content + box) for kind, content in _boxes(stsd[8:]))

    def walk(content: bytes, path: Sequence[bytes], change: Callable[[bytes], bytes]) -> bytes:
        if not path:
            return change(content)
        found = b""
        for kind, inner in _boxes(content):
            other_track = kind == b"trak" and b"soun" not in inner
            whole = kind != path[0] or other_track
            found += _box(kind, inner if whole else walk(inner, path[1:], change))
        return found

    places = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    target.write_bytes(walk(source.read_bytes(), places, in_entry))
    return target


def stored_sound_box(path: Path) -> bytes:
    """The `SA3D` box of the file, found by its name; empty if there is none."""
    data = path.read_bytes()
    at = data.find(b"SA3D")
    return b"" if at < 0 else data[at - 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")]


def _boxes(content: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        assert 8 <= size <= len(content) - at
        found.append((content[at + 4 : at + 8], content[at + 8 : at + size]))
        at += size
    return found


def _box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def heard(path: Path, channels: int, track: int = 0) -> list[tuple[int, float]]:
    """(Hz of the loudest tone, its amplitude) of each channel in the second half second."""
    raw = ffmpeg(
        *("-guess_layout_max", "0", "-i", path, "-map", f"0:a:{track}"),
        *("-ar", str(SAMPLE_RATE), "-c:a", "pcm_f32le", "-f", "f32le", "-"),
    )
    samples = np.frombuffer(raw, "<f4").reshape(-1, channels).T.astype(np.float64)
    half = SAMPLE_RATE // 2
    found = []
    for wave in samples[:, half : 2 * half]:
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(half))) * 4 / half
        found.append((int(spectrum.argmax()) * 2, float(spectrum.max())))
    return found


def loudness(path: Path, track: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Root mean square of each tenth of a second."""
    raw = ffmpeg("-i", path, "-map", f"0:a:{track}", "-ac", "1", "-ar", "8000", "-f", "f32le", "-")
    samples = np.frombuffer(raw, "<f4").astype(np.float64)
    parts = samples[: len(samples) // 800 * 800].reshape(-1, 800)
    rms: np.ndarray[Any, np.dtype[np.float64]] = np.sqrt((parts**2).mean(axis=1))
    return rms


def finished(
    source: Path | VideoInfo, folder: Path, *formats: str, **changes: Any
) -> dict[str, OutputFile]:
    """Outputs by format: one segment of a plain picture each, joined with the source's sound."""
    folder.mkdir(exist_ok=True)
    video = source if isinstance(source, VideoInfo) else read(source, folder)
    settings = replace(
        VideoSettings(
            deliverables=formats, encoding=EncodingSettings(codec="h264", encoder="software")
        ),
        **changes,
    )
    count = video.num_frames
    rgb = torch.full((count, 3, 32, 64), 90, dtype=torch.uint8)
    layers = layered(FrameBatch(rgb, 0), MatteBatch(torch.ones(count, 2, 1, 32, 32), None, 0))
    files, outputs = [], []
    for name in formats:
        made = make_deliverable(name, video, settings)
        part = folder / f"{name}-000000{made.suffix}"
        encoder = made.open_segment(part)
        encoder.write(made.planes(layers))
        encoder.close()
        files.append(part)
        outputs.append(str(folder / f"{name}{made.suffix}"))
    digests = tuple(map(file_digest, files))
    result = SegmentResult(tuple(map(str, files)), count, digests=digests)
    done = finish_video(FinishJob(video, settings, (result,), tuple(outputs), str(folder)))
    return {output.deliverable: output for output in done}


def read(source: Path, folder: Path) -> VideoInfo:
    return read_video(source, folder / "index.json", "sbs")
