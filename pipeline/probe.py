"""One file -> VideoInfo and its frame index, read with PyAV in a child process.

The child has a deadline and limits of its own for memory and output: a file that hangs, bloats or
crashes the demuxer takes the child with it, not the run.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np
from pydantic import TypeAdapter

from pipeline.child import tied
from pipeline.color_tags import color_tags
from pipeline.errors import DiskError, EncodeError, InputError, MachineError, VrmatteError
from pipeline.frame_index import FrameIndex, build_index
from pipeline.layout import find_view
from pipeline.signature import CONTAINERS, Container, find_container
from pipeline.source import regular_file
from pipeline.spec import AudioTrack, Layout, ProjectionName, VideoInfo
from pipeline.spherical import FoundTags, tags_of_frame
from pipeline.spherical_mp4 import RIGHT_LEFT, stored_stereo_mode
from pipeline.text import one_line

_MODULE = "pipeline.probe"  # this one, as a child runs it
_VIDEO_INFO = TypeAdapter(VideoInfo)
_FINGERPRINT_BYTES = 1 << 20
_SLOWEST_DISK_BYTES_PER_S = 20e6  # the whole file is read once, for its time stamps

# What a child may take. 8192x4096 in 10 bits takes 1.0 GB (AV1 and HEVC, one thread).
_MEMORY_BYTES = 6 << 30
_FILE_BYTES = 512 << 20
_ANSWER_BYTES = 1 << 20
_MESSAGE_BYTES = 2000

#: Pixels a side, at most and at least; codecs end there or earlier, and an eye must hold something.
LARGEST_SIDE = 16384
SMALLEST_SIDE = 16
_MOST_STREAMS = 64
_MOST_REFUSED_PACKETS = 600  # at the beginning: as many as a segment has
_LONGEST_GAP_S = 3600.0
_MOST_FRAMES_PER_FRAME = 100  # output frames that one frame of the file may stand for, on average
_HIGHEST_RATE = 1000  # WebM's time stamps are in milliseconds
_LATEST_BEGIN_S = 1e10  # a clock that counts from 1970 is at 1.8e9
_TITLE_CHARACTERS = 200
_LANGUAGE_CHARACTERS = 16


def probe_video(
    path: Path,
    index_path: Path,
    *,
    layout: Layout | None = None,
    projection: ProjectionName | None = None,
    deadline_s: float | None = None,
) -> VideoInfo:
    """Probe `path` in a child process; leave the frame index at `index_path`.

    Args:
        layout, projection: taken as they are if given; otherwise found out.
        deadline_s: seconds until the child is killed; by the file's size if None.

    Raises:
        InputError: the file is missing, unreadable, no video, or does not answer in time.
        MachineError: no process can be started to read it.
        DiskError: the index cannot be written.
    """
    path = path.absolute()
    shown = one_line(str(path))
    try:
        size = regular_file(path).st_size
        if size == 0:
            raise InputError(f"{shown} is empty (0 bytes)")
        find_container(path)
    except OSError as error:
        raise InputError(f"cannot read {shown}: {error.strerror}") from error
    if deadline_s is None:
        deadline_s = 60 + size / _SLOWEST_DISK_BYTES_PER_S
    index_path.parent.mkdir(parents=True, exist_ok=True)
    with _memory_file() as answer, _memory_file() as messages:
        command = _child_command(path, index_path, layout, projection, deadline_s)
        # Files, not pipes: a child that babbles fills neither this process's memory nor a pipe.
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=messages,
                env=_child_environment(),
            )
        except OSError as error:
            raise MachineError(
                f"no process can be started to read {shown}: {error.strerror}",
                "let this user have more processes and memory, then run again",
            ) from error
        try:
            status = child.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise InputError(
                f"{shown} could not be read within {deadline_s:.0f} s",
                "the file may be damaged; try to play it or to remux it",
            ) from None
        finally:
            child.kill()
            child.wait()
            index_path.with_name(f".{index_path.name}.{child.pid}.part").unlink(missing_ok=True)
        if status != 0:
            raise InputError(
                f"reading {shown} crashed ({_last_words(status, messages)})",
                "the file may be damaged",
            )
        answer.seek(0)
        return _info(answer.read(_ANSWER_BYTES), shown)


def _memory_file() -> IO[bytes]:
    """In memory, bounded by the child's limits: a full /tmp is not the file's fault."""
    return open(os.memfd_create("probe"), "w+b")  # noqa: PTH123


def end_probes() -> None:
    """Kill the probes that this process waits for: their files then could not be read."""
    import psutil

    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if _MODULE in child.cmdline():
                child.kill()


def _child_command(
    path: Path,
    index_path: Path,
    layout: Layout | None,
    projection: ProjectionName | None,
    deadline_s: float,
) -> list[str]:
    # -P: modules are never taken from the folder in which the command was typed; it may hold
    # anything, such as a file av.py.
    command = [sys.executable, "-P", "-m", _MODULE, str(path), str(index_path)]
    return tied([*command, layout or "auto", projection or "auto", str(math.ceil(deadline_s))])


def _child_environment() -> dict[str, str]:
    here = str(Path(__file__).resolve().parents[1])
    known = os.environ.get("PYTHONPATH")
    # More threads than one are of no use here, and each reserves memory.
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([here, known] if known else [here]),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _info(answer: bytes, shown: str) -> VideoInfo:
    """What the child found; raises what it says that it met."""
    try:
        said = json.loads(answer)
        if "info" in said:
            return _VIDEO_INFO.validate_python(said["info"])
        kind = DiskError if said["kind"] == DiskError.kind else InputError
        error = kind(str(said["error"]), str(said["advice"]))
    except (ValueError, TypeError, LookupError) as trouble:
        raise InputError(f"reading {shown} gave no answer", "the file may be damaged") from trouble
    raise error


def _last_words(status: int, messages: IO[bytes]) -> str:
    if status < 0:
        return signal.Signals(-status).name
    messages.seek(0, os.SEEK_END)
    messages.seek(max(0, messages.tell() - _MESSAGE_BYTES))
    lines = messages.read(_MESSAGE_BYTES).decode(errors="replace").strip().splitlines()
    return one_line(lines[-1], 200) if lines else "no message"


def info_to_json(info: VideoInfo) -> str:
    """The text form of a VideoInfo; `info_from_json` reads it back."""
    return _VIDEO_INFO.dump_json(info).decode()


def info_from_json(text: str) -> VideoInfo:
    """Raises ValueError when `text` is not the text form of a VideoInfo."""
    return _VIDEO_INFO.validate_json(text)


def read_video(
    path: Path,
    index_path: Path,
    layout: Layout | None,
    projection: ProjectionName | None = None,
) -> VideoInfo:
    """Do the probe in this process.

    Raises:
        InputError: the file holds no video that can be matted.
        VrmatteError: the index cannot be written.
    """
    path = path.absolute()
    shown = one_line(str(path))
    expected = find_container(path)
    with _open(path, shown) as container:
        _check_container(container, expected, shown)
        stream = _picture_stream(container, shown)
        packets = _scan(container, stream, shown)
        index = _index(packets, stream, shown)
        frame = _first_frame(path, stream.index, shown)
        index.save(index_path)
        stat = path.stat()
        rotation = round(frame.rotation / 90) * 90 % 360
        upright = (frame.width, frame.height)
        if rotation in (90, 270):
            upright = (frame.height, frame.width)
        said = _spherical_tags(path, expected, frame, stream)
        view = find_view(path.stem, *upright, container=said, layout=layout, projection=projection)
        begin_s = float(packets.pts[0] * index.time_base)
        return VideoInfo(
            path=str(path),
            size_bytes=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            fingerprint=fingerprint(path, stat.st_size),
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
            color=color_tags(frame),
            rotation=rotation,
            audio=tuple(_audio_track(s, packets.audio[s.index], begin_s) for s in packets.sound),
            layout=view.layout,
            layout_reason=view.layout_reason,
            right_first=view.right_first,
            projection=view.projection,
            projection_reason=view.projection_reason,
            title=one_line(container.metadata.get("title", ""), _TITLE_CHARACTERS),
            notes=(
                *_notes(upright, index.variable_rate, index.frame_rate),
                *_silent_tracks(container, packets),
            ),
            stream=stream.index,
            begin_s=begin_s,
        )


def _spherical_tags(path: Path, container: Container, frame: Any, stream: Any) -> FoundTags:
    """What the file's metadata say of its eyes and of its projection."""
    tags = tags_of_frame(frame.side_data, stream.metadata)
    if tags.layout is None and container == "mov" and stored_stereo_mode(path) == RIGHT_LEFT:
        return replace(tags, layout="sbs", right_first=True)
    return tags


def _open(path: Path, shown: str) -> Any:
    """The file as PyAV's container, opened with what it may not do."""
    import av

    try:
        return av.open(
            f"file:{path}",  # keeps a name like "http:x.mp4" a name
            options={
                "protocol_whitelist": "file,pipe",
                "format_whitelist": ",".join(CONTAINERS),
                "max_streams": str(_MOST_STREAMS + 1),
            },
            metadata_errors="replace",
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{shown} is not a video that FFmpeg can read ({_first_line(error)})",
            "it may be damaged; try to play it or to remux it",
        ) from error


def _check_container(container: Any, expected: Container, shown: str) -> None:
    """FFmpeg must see what we see: another reader may otherwise see a third thing."""
    if expected not in container.format.name.split(","):
        raise InputError(
            f"{shown} begins like {expected} and goes on like {container.format.name}",
            "leave it out of the input",
        )
    if len(container.streams) > _MOST_STREAMS:
        raise InputError(
            f"{shown} holds more than {_MOST_STREAMS} streams", "remux those that are needed"
        )


def _picture_stream(container: Any, shown: str) -> Any:
    pictures = [s for s in container.streams.video if not _is_cover(s)]
    if not pictures:
        kind = "only audio" if container.streams.audio else "no video"
        raise InputError(f"{shown} holds {kind}", "leave it out of the input")
    stream = pictures[0]
    if stream.codec_context is None:
        raise InputError(f"{shown} holds video of a codec that is not known", "convert it first")
    _check_largest(stream.codec_context, shown)
    return stream


def _check_size(frame: Any, shown: str) -> None:
    _check_largest(frame, shown)
    if min(frame.width, frame.height) < SMALLEST_SIDE:
        raise InputError(
            f"{shown} has a picture of {frame.width}x{frame.height}",
            f"at least {SMALLEST_SIDE} pixels a side are needed",
        )


def _check_largest(picture: Any, shown: str) -> None:
    if max(picture.width, picture.height) > LARGEST_SIDE:
        raise InputError(
            f"{shown} claims a picture of {picture.width}x{picture.height}",
            f"at most {LARGEST_SIDE} pixels a side can be processed",
        )


@dataclass
class _Packets:
    pts: np.ndarray[Any, np.dtype[np.int64]]
    keyframes: np.ndarray[Any, np.dtype[np.int64]]
    seek_ticks: np.ndarray[Any, np.dtype[np.int64]]
    last_duration: int
    audio: dict[int, tuple[float, float]] = field(default_factory=dict)
    sound: list[Any] = field(default_factory=list)


def _scan(container: Any, stream: Any, shown: str) -> _Packets:
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
            raise InputError(f"{shown} cannot be read ({_first_line(error)})") from error
        # A cut-off file: what came before the cut is whole.
    if not stamps:
        raise InputError(f"{shown} holds no frames", "leave it out of the input")
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


def _index(packets: _Packets, stream: Any, shown: str) -> FrameIndex:
    """The frame index, if it is one that a person can have meant."""
    time_base = stream.time_base or Fraction(1, 1000)
    advice = "its time stamps are damaged: remux it, or cut it there"
    # In float: two stamps may lie further apart than an int64 holds.
    seconds = packets.pts.astype(np.float64) * float(time_base)
    if not abs(seconds[0]) < _LATEST_BEGIN_S:
        raise InputError(f"{shown} begins at {seconds[0]:.3g} s of its own clock", advice)
    gaps = np.diff(seconds)
    if len(gaps) and gaps.max() > _LONGEST_GAP_S:
        frame = int(gaps.argmax())
        raise InputError(
            f"{shown} leaps by {gaps[frame] / 3600:.3g} hours after frame {frame}", advice
        )
    index = build_index(
        packets.pts,
        packets.keyframes,
        packets.seek_ticks,
        packets.last_duration,
        time_base,
        [r for r in (stream.average_rate, stream.base_rate) if r],
    )
    if index.num_frames > _MOST_FRAMES_PER_FRAME * len(index.pts):
        raise InputError(
            f"{shown} claims {index.num_frames} frames at {float(index.frame_rate):.3f} frames/s,"
            f" but holds {len(index.pts)}",
            advice,
        )
    if index.frame_rate > _HIGHEST_RATE:
        raise InputError(
            f"{shown} claims {float(index.frame_rate):.0f} frames a second",
            f"at most {_HIGHEST_RATE} can be processed",
        )
    return index


def _first_frame(path: Path, stream: int, shown: str) -> Any:
    """The first frame that can be decoded, as a decoder that passes over damage finds it.

    The file is opened anew: not every one can be wound back.
    """
    import av

    why: av.FFmpegError | None = None
    refused = 0
    with _open(path, shown) as container:
        picture = container.streams[stream]
        picture.codec_context.thread_count = 1
        picture.codec_context.options = {"max_pixels": str(LARGEST_SIDE**2)}
        packets = container.demux(picture)
        while refused < _MOST_REFUSED_PACKETS:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                for frame in packet.decode():
                    _check_size(frame, shown)
                    return frame
            except av.FFmpegError as error:
                why = error
                refused += 1
    if why is not None:
        raise InputError(
            f"the first frames of {shown} cannot be decoded ({_first_line(why)})",
            "it may be damaged; try to play it or to remux it",
        ) from why
    raise InputError(f"{shown} holds no frame that can be decoded", "leave it out of the input")


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
        language=one_line(stream.metadata.get("language", ""), _LANGUAGE_CHARACTERS),
        title=one_line(stream.metadata.get("title", ""), _TITLE_CHARACTERS),
    )


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


def fingerprint(path: Path, size: int) -> str:
    """sha256 of the head and the tail of a file of `size` bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(_FINGERPRINT_BYTES))
        file.seek(max(0, size - _FINGERPRINT_BYTES))
        digest.update(file.read(_FINGERPRINT_BYTES))
    return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    said = getattr(error, "strerror", None) or str(error)  # without errno and the path again
    return one_line((said.splitlines() or [type(error).__name__])[0], 200)


def _limit_this_process(deadline_s: int) -> None:
    """Bound what reading one file may take of the machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * resource.getpagesize() + _MEMORY_BYTES
    for limit, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_CPU, deadline_s + 10),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))


def main(arguments: Sequence[str]) -> None:
    """The child: prints one JSON object, the info or the error."""
    path, index_path = Path(arguments[0]), Path(arguments[1])
    # What libraries print is no answer.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    layout, projection = (None if given == "auto" else given for given in arguments[2:4])
    said: dict[str, Any]
    try:
        import av  # noqa: F401 - what it maps is no part of what the file may take

        _limit_this_process(int(arguments[4]))
        info = read_video(path, index_path, layout, projection)  # type: ignore[arg-type]
        said = {"info": _VIDEO_INFO.dump_python(info, mode="json")}
    except EncodeError:  # the index is larger than a file of this process may be
        said = {
            "kind": InputError.kind,
            "error": f"{one_line(str(path))} has more time stamps than any film",
            "advice": "the file may be damaged; try to play it or to remux it",
        }
    except VrmatteError as error:
        said = {"kind": error.kind, "error": error.message, "advice": error.advice}
    except MemoryError:
        said = {
            "kind": InputError.kind,
            "error": f"reading {one_line(str(path))} takes more than {_MEMORY_BYTES >> 30} GiB",
            "advice": "the file may be damaged; try to play it or to remux it",
        }
    with answer:
        json.dump(said, answer)


if __name__ == "__main__":
    main(sys.argv[1:])
