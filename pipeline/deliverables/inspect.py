"""Read a finished WebM back: frames, times, alpha, sound. What `verify` trusts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import EncodeError

_ALLOWED = {"protocol_whitelist": "file,pipe", "format_whitelist": "matroska"}


@dataclass(frozen=True, slots=True)
class WebMFacts:
    """What was found in a file.

    Attributes:
        pts_s: time stamp of each frame, seconds.
        audio_s: (begin, end) of each audio track, seconds.
        ends_with_alpha: whether the first and the last frame decode with alpha; None if not tried.
    """

    pts_s: tuple[float, ...]
    alpha_mode: bool
    audio_s: tuple[tuple[float, float], ...]
    ends_with_alpha: bool | None

    @property
    def num_frames(self) -> int:
        return len(self.pts_s)


def inspect_webm(path: Path, *, decode_ends: bool = False) -> WebMFacts:
    """Read every packet of `path`; with `decode_ends` decode its first and last frames too.

    Raises:
        EncodeError: FFmpeg cannot read it.
    """
    import av

    pts: list[float] = []
    audio: dict[int, tuple[float, float]] = {}
    first_group: list[Any] = []
    last_group: list[Any] = []
    try:
        with av.open(f"file:{path}", options=_ALLOWED) as container:
            (stream,) = container.streams.video
            tags = {key.lower(): value for key, value in stream.metadata.items()}
            alpha = tags.get("alpha_mode") == "1"
            tracks = [s.index for s in container.streams.audio]
            for packet in container.demux():
                if packet.pts is None or packet.size == 0 or packet.time_base is None:
                    continue
                seconds = float(packet.pts * packet.time_base)
                if packet.stream_index in tracks:
                    end = seconds + float((packet.duration or 0) * packet.time_base)
                    old = audio.get(packet.stream_index, (seconds, end))
                    audio[packet.stream_index] = (min(old[0], seconds), max(old[1], end))
                elif packet.stream_index == stream.index:
                    pts.append(seconds)
                    if packet.is_keyframe:
                        last_group.clear()
                    last_group.append(packet)
                    if not first_group:
                        first_group.append(packet)
            ends = None
            if decode_ends and pts:
                ends = _decodes_with_alpha(first_group) and _decodes_with_alpha(last_group)
    except (av.FFmpegError, ValueError) as error:
        raise EncodeError(f"cannot read back {path.name}: {error}") from error
    spans = tuple(audio.get(index, (0.0, 0.0)) for index in tracks)
    return WebMFacts(tuple(pts), alpha, spans, ends)


def _decodes_with_alpha(packets: list[Any]) -> bool:
    """Whether a group of packets from a keyframe on gives its last frame, with alpha."""
    import av

    decoder = av.CodecContext.create("libvpx-vp9", "r")  # the native decoder drops alpha
    count, last = 0, ""
    for packet in packets:  # one frame is held at a time: a group of 8K would be gigabytes
        for frame in decoder.decode(packet):
            count, last = count + 1, frame.format.name
    return count == len(packets) and last == "yuva420p"
