"""One file -> VideoInfo and its frame index, read with PyAV in a child process with a deadline.

A file that hangs or crashes the demuxer takes the child with it, not the run.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from pipeline.errors import InputError
from pipeline.frame_index import build_index
from pipeline.layout import find_layout
from pipeline.spec import AudioTrack, ColorTags, Layout, VideoInfo

_VIDEO_INFO = TypeAdapter(VideoInfo)
_FINGERPRINT_BYTES = 1 << 20
_SLOWEST_DISK_BYTES_PER_S = 20e6  # the whole file is read once, for its time stamps

_MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco"}
_MATRICES |= {0: "gbr", 9: "bt2020nc", 10: "bt2020c"}
_PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film"}
_PRIMARIES |= {9: "bt2020", 11: "smpte431", 12: "smpte432"}
_TRANSFERS = {1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear"}
_TRANSFERS |= {13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084"}
_TRANSFERS |= {18: "arib-std-b67"}
_FULL_RANGE = 2


def probe_video(
    path: Path,
    index_path: Path,
    *,
    layout: Layout | None = None,
    deadline_s: float | None = None,
) -> VideoInfo:
    """Probe `path` in a child process; leave the frame index at `index_path`.

    Args:
        layout: taken as it is if given; otherwise found out.
        deadline_s: seconds until the child is killed; by the file's size if None.

    Raises:
        InputError: the file is missing, unreadable, no video, or does not answer in time.
    """
    path = path.absolute()
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if size == 0:
        raise InputError(f"{path} is empty (0 bytes)")
    if deadline_s is None:
        deadline_s = 60 + size / _SLOWEST_DISK_BYTES_PER_S
    index_path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pipeline.probe", str(path), str(index_path), layout or "auto"]
    try:
        child = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=deadline_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{path} could not be read within {deadline_s:.0f} s",
            "the file may be damaged; try to play it or to remux it",
        ) from None
    if child.returncode != 0:
        end = child.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise InputError(f"reading {path} crashed ({end[0][:200]})", "the file may be damaged")
    answer = json.loads(child.stdout)
    if "error" in answer:
        raise InputError(answer["error"], answer["advice"])
    return _VIDEO_INFO.validate_python(answer["info"])


def info_to_json(info: VideoInfo) -> str:
    """The text form of a VideoInfo; `info_from_json` reads it back."""
    return _VIDEO_INFO.dump_json(info).decode()


def info_from_json(text: str) -> VideoInfo:
    """Raises ValueError when `text` is not the text form of a VideoInfo."""
    return _VIDEO_INFO.validate_json(text)


def read_video(path: Path, index_path: Path, layout: Layout | None) -> VideoInfo:
    """Do the probe in this process.

    Raises:
        InputError: the file holds no video that can be matted.
    """
    import av

    try:
        # "file:" keeps a name like "http:x.mp4" a name.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file,pipe"})
    except (av.FFmpegError, OSError) as error:
        raise InputError(
            f"{path} is not a video that FFmpeg can read ({_first_line(error)})"
        ) from error
    with container:
        pictures = [s for s in container.streams.video if not _is_cover(s)]
        if not pictures:
            kind = "only audio" if container.streams.audio else "no video"
            raise InputError(f"{path} holds {kind}", "leave it out of the input")
        stream = pictures[0]
        packets = _scan(container, stream, path)
        index = build_index(
            packets.pts,
            packets.keyframes,
            packets.seek_ticks,
            packets.last_duration,
            stream.time_base or Fraction(1, 1000),
            [r for r in (stream.average_rate, stream.base_rate) if r],
        )
        frame = _first_frame(container, stream, path)
        index.save(index_path)
        stat = path.stat()
        rotation = round(frame.rotation / 90) * 90 % 360
        upright = (frame.width, frame.height)
        if rotation in (90, 270):
            upright = (frame.height, frame.width)
        found, reason = find_layout(path.stem, *upright, asked=layout)
        begin_s = float(packets.pts[0] * index.time_base)
        return VideoInfo(
            path=str(path),
            size_bytes=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            fingerprint=_fingerprint(path, stat.st_size),
            container=container.format.name,
            codec=stream.codec_context.codec.canonical_name,
            width=upright[0],
            height=upright[1],
            pixel_format=frame.format.name,
            bit_depth=frame.format.components[0].bits,
            frame_rate=index.frame_rate,
            num_frames=index.num_frames,
            source_frames=len(index.pts),
            variable_rate=index.variable_rate,
            color=_color_tags(frame),
            rotation=rotation,
            audio=tuple(_audio_track(s, packets.audio[s.index], begin_s) for s in packets.sound),
            layout=found,
            layout_reason=reason,
            title=container.metadata.get("title", ""),
            notes=(
                *_notes(upright, index.variable_rate, index.frame_rate),
                *_silent_tracks(container, packets),
            ),
            stream=stream.index,
            begin_s=begin_s,
        )


@dataclass
class _Packets:
    pts: np.ndarray[Any, np.dtype[np.int64]]
    keyframes: np.ndarray[Any, np.dtype[np.int64]]
    seek_ticks: np.ndarray[Any, np.dtype[np.int64]]
    last_duration: int
    audio: dict[int, tuple[float, float]] = field(default_factory=dict)
    sound: list[Any] = field(default_factory=list)


def _scan(container: Any, stream: Any, path: Path) -> _Packets:
    """Read every packet of picture and sound, without decoding."""
    stamps: dict[int, tuple[int, bool, int]] = {}  # pts -> (seek tick, keyframe, duration)
    audio: dict[int, tuple[float, float]] = {}
    sound = [s for s in container.streams.audio if s.codec_context is not None]
    import av

    try:
        for packet in container.demux([stream, *sound]):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is None or packet.size == 0:
                continue
            if packet.stream is not stream:
                begin = float(stamp * packet.time_base)
                end = begin + float((packet.duration or 0) * packet.time_base)
                old = audio.get(packet.stream_index, (begin, end))
                audio[packet.stream_index] = (min(old[0], begin), max(old[1], end))
            elif not packet.is_discard:
                seek = min(stamp, packet.dts) if packet.dts is not None else stamp
                stamps[stamp] = (seek, packet.is_keyframe, packet.duration or 0)
    except av.FFmpegError as error:
        if not stamps:
            raise InputError(f"{path} cannot be read ({_first_line(error)})") from error
        # A cut-off file: what came before the cut is whole.
    if not stamps:
        raise InputError(f"{path} holds no frames", "leave it out of the input")
    ordered = sorted(stamps)
    keyframes = [i for i, stamp in enumerate(ordered) if stamps[stamp][1]]
    return _Packets(
        pts=np.asarray(ordered, dtype=np.int64),
        keyframes=np.asarray(keyframes, dtype=np.int64),
        seek_ticks=np.asarray([stamps[ordered[i]][0] for i in keyframes], dtype=np.int64),
        last_duration=stamps[ordered[-1]][2],
        audio=audio,
        sound=[s for s in sound if s.index in audio],
    )


def _first_frame(container: Any, stream: Any, path: Path) -> Any:
    import av

    try:
        container.seek(0, backward=True, any_frame=False)
        for frame in container.decode(stream):
            return frame
    except av.FFmpegError as error:
        raise InputError(
            f"the first frame of {path} cannot be decoded ({_first_line(error)})"
        ) from error
    raise InputError(f"{path} holds no frame that can be decoded", "leave it out of the input")


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & stream.disposition.attached_pic)


def _audio_track(stream: Any, span_s: tuple[float, float], begin_s: float) -> AudioTrack:
    codec = stream.codec_context
    return AudioTrack(
        stream=stream.index,
        codec=codec.codec.canonical_name,
        channels=codec.channels,
        sample_rate=codec.sample_rate,
        start_s=span_s[0] - begin_s,
        end_s=span_s[1] - begin_s,
        language=stream.metadata.get("language", ""),
        title=stream.metadata.get("title", ""),
    )


def _color_tags(frame: Any) -> ColorTags:
    full = int(frame.color_range) == _FULL_RANGE or frame.format.name.startswith("yuvj")
    rgb = bool(frame.format.is_rgb)
    return ColorTags(
        matrix="gbr" if rgb else _MATRICES.get(_tag(frame.colorspace), "unspecified"),
        primaries=_PRIMARIES.get(_tag(frame.color_primaries), "unspecified"),
        transfer=_TRANSFERS.get(_tag(frame.color_trc), "unspecified"),
        full_range=full or rgb,
    )


def _tag(value: Any) -> int:
    return -1 if value is None else int(value)


def _notes(upright: tuple[int, int], variable: bool, rate: Fraction) -> tuple[str, ...]:
    notes = []
    if upright[0] % 2 or upright[1] % 2:
        even = tuple(side + side % 2 for side in upright)
        notes.append(f"odd size {upright[0]}x{upright[1]} is padded to {even[0]}x{even[1]}")
    if variable:
        notes.append(f"variable frame rate made constant at {float(rate):.3f} frames/s")
    return tuple(notes)


def _silent_tracks(container: Any, packets: _Packets) -> list[str]:
    kept = {stream.index for stream in packets.sound}
    left_out = [s.index for s in container.streams.audio if s.index not in kept]
    return [
        f"audio stream {index} is left out: no packets, or an unknown codec" for index in left_out
    ]


def _fingerprint(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(_FINGERPRINT_BYTES))
        file.seek(max(0, size - _FINGERPRINT_BYTES))
        digest.update(file.read(_FINGERPRINT_BYTES))
    return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    said = getattr(error, "strerror", None) or str(error)  # without errno and the path again
    return (said.splitlines() or [type(error).__name__])[0]


def main(arguments: Sequence[str]) -> None:
    """The child: prints one JSON object, the info or the error."""
    path, index_path, layout = Path(arguments[0]), Path(arguments[1]), arguments[2]
    asked = None if layout == "auto" else layout
    answer: dict[str, Any]
    try:
        info = read_video(path, index_path, asked)  # type: ignore[arg-type]
        answer = {"info": _VIDEO_INFO.dump_python(info, mode="json")}
    except InputError as error:
        answer = {"error": error.message, "advice": error.advice}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
