"""HEVC with an alpha layer read back: what is in a file, and pictures with their alpha.

Alpha is lost silently in many places, which is why it is looked for in every picture: an ffmpeg
whose x265 knows no alpha encodes without it; `-c copy` out of an MP4 leaves layer 1 out of the
header; the filters `filter_units` and `hevc_metadata` drop its pictures; a decoder shows layer 0
only, unless it is asked for more, and where pictures of layer 1 are missing it makes up alpha.
(As of FFmpeg 9.0.)
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.encode.ffmpeg_pipe import ffmpeg_command
from pipeline.errors import EncodeError
from pipeline.files.child import tied
from pipeline.files.child_failure import ChildFailure
from pipeline.verify.readback import SoundDigests, opened

_ALLOWED = {"protocol_whitelist": "file,pipe", "format_whitelist": "mov"}
_DECODER_THREADS = 4

# nal_unit_type (H.265, table 7-1), and the SEI of alpha (payloadType 165).
_FIRST_OTHER_UNIT, _SPS, _PPS, _PREFIX_SEI = 32, 33, 34, 39
_ALPHA_INFO = 165


@dataclass(frozen=True, slots=True)
class CodedFrame:
    """A picture and its alpha as they are in a file.

    Attributes:
        digest: sha256 of the slices of both layers, and of whatever else is said in that frame and
            not in the file's parameter sets: what is repeated of those may come and go.
    """

    keyframe: bool
    digest: bytes


@dataclass(frozen=True, slots=True)
class CodedLayers:
    """What a file holds.

    Attributes:
        parameters: the parameter sets, as the container holds them (`hvcC`).
        frames: in the order of the file.
        sound: see `pipeline.verify.readback.FileFacts`.
        digest: of the whole file; None if not asked for.
    """

    parameters: bytes
    frames: tuple[CodedFrame, ...]
    sound: tuple[str, ...] = ()
    digest: str | None = None


def read_layers(path: Path, *, hashed: bool = False) -> CodedLayers:
    """Read every packet of `path`.

    Args:
        hashed: give the file's digest; the file is not read a second time for it.

    Raises:
        EncodeError: FFmpeg cannot read it, it is cut off, or a frame has no alpha.
    """
    frames: list[CodedFrame] = []
    with opened(path, hashed=hashed) as (container, file):
        (stream,) = container.streams.video
        sound = SoundDigests(container)
        record = bytes(stream.codec_context.extradata or b"")
        length_bytes = (record[21] & 3) + 1 if len(record) > 21 and record[0] == 1 else 4
        known = set(_units_of_record(record))
        for packet in container.demux():
            if packet.pts is None or packet.size == 0:
                continue
            if packet.is_corrupt:
                raise EncodeError(f"{path.name} is cut off")
            sound.feed(packet)
            if packet.stream_index != stream.index:
                continue
            digest = hashlib.sha256()
            layers = set()
            for unit in _units(memoryview(packet), length_bytes):
                kind, layer = _kind_and_layer(unit)
                if kind < _FIRST_OTHER_UNIT:
                    layers.add(layer)
                elif bytes(unit) in known:
                    continue
                digest.update(len(unit).to_bytes(4, "big"))
                digest.update(unit)
            if layers != {0, 1}:
                raise EncodeError(f"frame {len(frames)} of {path.name} has no alpha")
            frames.append(CodedFrame(bool(packet.is_keyframe), digest.digest()))
        whole = None if file is None else file.digest()
    return CodedLayers(record, tuple(frames), sound.found(), whole)


def decoded_rgba_frames(path: Path, numbers: set[int]) -> Iterator[tuple[int, Any]]:
    """The frames of those numbers, in order, each as a PyAV frame of ``yuva420p`` or
    ``yuva420p10le`` with its tags.

    PyAV's own decoder is not asked for alpha, and cannot be: FFmpeg's program is, as a child. Where
    all are keyframes no others are decoded.

    Raises:
        EncodeError: FFmpeg cannot read the file, or one of them does not decode with its alpha.
    """
    if not numbers:
        return
    coded = read_layers(path).frames
    wanted = range(min(max(numbers) + 1, len(coded)))
    shown = [number for number in wanted if coded[number].keyframe]
    options: tuple[str, ...] = ("-skip_frame", "nokey")
    if not numbers.issubset(shown):
        shown, options = list(wanted), ()
    for place, frame in enumerate(first_rgba_frames(path, len(shown), options)):
        if shown[place] in numbers:
            yield shown[place], frame


def first_rgba_frames(path: Path, count: int, options: Sequence[str] = ()) -> Iterator[Any]:
    """So many frames at the most; see `decoded_rgba_frames`.

    Args:
        options: of FFmpeg's program, for the input.
    """
    import av

    with opened(path) as (container, _):
        (stream,) = container.streams.video
        context = stream.codec_context
        tags = {
            name: int(getattr(context, name))
            for name in ("colorspace", "color_range", "color_primaries", "color_trc")
        }
    whitelists = [word for key, value in _ALLOWED.items() for word in (f"-{key}", value)]
    command = ffmpeg_command(
        *(*whitelists, "-threads", str(_DECODER_THREADS), *options, "-i", f"file:{path}"),
        # NUT says which pixel format it holds, so that alpha cannot be made up on the way.
        *("-map", "0:v:0", "-fps_mode", "passthrough", "-frames:v", str(count)),
        *("-c:v", "rawvideo", "-f", "nut", "pipe:1"),
    )
    with (
        open(os.memfd_create("ffmpeg"), "w+b") as messages,  # noqa: PTH123
        _started(command, messages) as child,
    ):
        try:
            with suppress(av.FFmpegError), av.open(child.stdout, "r", format="nut") as pictures:
                for frame in pictures.decode(video=0):
                    if frame.format.name not in ("yuva420p", "yuva420p10le"):
                        raise EncodeError(f"{path.name} decodes without alpha")
                    for name, value in tags.items():  # NUT does not keep them
                        setattr(frame, name, value)
                    yield frame
            status = child.wait()
        finally:
            child.kill()
        failure = ChildFailure.of(command, status, messages)
        if status != 0 or failure.messages:  # it goes on after errors in pictures, and ends with 0
            event = failure.sentence(f"{path.name} does not decode with its alpha")
            raise failure.noted(EncodeError(event))


def has_alpha_layer(record: bytes) -> bool:
    """Whether a decoder configuration sets up straight alpha.

    Args:
        record: content of a `hvcC` box (ISO/IEC 14496-15, HEVCDecoderConfigurationRecord).
    """
    kinds = set()
    with suppress(IndexError):
        for unit in _units_of_record(record):
            kind, layer = _kind_and_layer(unit)
            # Its first bits: not cancelled (0), then alpha_channel_use_idc (3 bits).
            if kind == _PREFIX_SEI and (unit[2] != _ALPHA_INFO or unit[4] >> 4 != 0):
                continue
            kinds.add((kind, layer))
    return {(_SPS, 1), (_PPS, 1), (_PREFIX_SEI, 0)} <= kinds


def _units_of_record(record: bytes) -> Iterator[bytes]:
    """The NAL units of a decoder configuration; ends where it is cut off."""
    with suppress(IndexError):
        at = 23
        for _ in range(record[22]):
            count = int.from_bytes(record[at + 1 : at + 3], "big")
            at += 3
            for _ in range(count):
                length = int.from_bytes(record[at : at + 2], "big")
                yield record[at + 2 : at + 2 + length]
                at += 2 + length


def _started(command: Sequence[str], messages: BinaryIO) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            tied(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages
        )
    except OSError as error:
        raise EncodeError(f"ffmpeg cannot be started: {error.strerror or error}") from error


def _kind_and_layer(unit: memoryview | bytes) -> tuple[int, int]:
    """(nal_unit_type, nuh_layer_id) of a NAL unit: H.265, 7.3.1.2."""
    return unit[0] >> 1 & 0x3F, (unit[0] & 1) << 5 | unit[1] >> 3


def _units(packet: memoryview, length_bytes: int) -> Iterator[memoryview]:
    """The NAL units of a sample of MP4, each after its length; ends at one that is cut off."""
    at = 0
    while at + length_bytes < len(packet):
        begin = at + length_bytes
        at = begin + int.from_bytes(packet[at:begin], "big")
        if at - begin < 2 or at > len(packet):
            return
        yield packet[begin:at]
