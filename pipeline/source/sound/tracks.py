"""The audio tracks of a file: what their channels are, and which of them can be decoded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.contract import Ambisonics, AudioTrack
from pipeline.source.signature import Container
from pipeline.source.sound.trial import Trial, keep_alive, try_sound
from pipeline.source.timing.packets import Packets
from pipeline.source.timing.recordings import Frames
from pipeline.text import printable
from pipeline.vr_tags.mp4_header import stored_sound_fields
from pipeline.vr_tags.sa3d import ambisonics, ambisonics_of

LANGUAGE_CHARACTERS = 16
TITLE_CHARACTERS = 200

#: FFmpeg's name of a layout that is a sound field.
_SOUND_FIELD = re.compile(r"ambisonic (\d+)(\+stereo)?")
#: How it calls channels of no known place, or of places that together have no name.
_NO_NAME = re.compile(r"\d+ channels\b.*|ambisonic .*")


class Sounds:
    """The audio tracks of an open file.

    Args:
        packets: all of its packets.
        frames: of its picture.
    """

    def __init__(
        self, path: Path, kind: Container, container: Any, packets: Packets, frames: Frames
    ) -> None:
        self._streams = list(container.streams.audio)
        self._packets = packets
        self._frames = frames
        fields = stored_sound_fields(path) if kind == "mov" else []
        known = len(fields) == len(self._streams)
        self._fields = fields if known else [b""] * len(self._streams)

    def __bool__(self) -> bool:
        return any(stream.index in self._packets.sounds for stream in self._streams)

    def tracks(self) -> tuple[tuple[AudioTrack, ...], tuple[str, ...]]:
        """Those that can be decoded, and notes on the others; decodes a little of each."""
        tracks, notes = [], []
        for stream, field in zip(self._streams, self._fields, strict=True):
            name = f"audio stream {stream.index}"
            sound = self._packets.sounds.get(stream.index)
            if sound is None:
                notes.append(f"{name} is left out: no packets, or an unknown codec")
                continue
            track = self._track(stream, field)
            trial = try_sound(stream, sound.samples.runs())
            if not trial.plays:
                notes.append(f"{name} ({track.codec}) is left out: it cannot be decoded")
                continue
            tracks.append(track)
            notes += [f"{name}: {words}" for words in _doubts(track, field, trial)]
        return tuple(tracks), tuple(notes)

    def _track(self, stream: Any, field: bytes) -> AudioTrack:
        sound, frames = self._packets.sounds[stream.index], self._frames
        shifts_s = sound.clock.shifts(frames.recordings_s, frames.shifts_s)
        start_s, last_s, end_s = sound.times_s(shifts_s)
        begin_s = float(frames.pts[0] * frames.time_base)
        codec = stream.codec_context
        layout = codec.layout
        keep_alive(layout)
        name, channels = layout.name, layout.nb_channels
        said = ambisonics_of(field) or _sound_field(name)
        if said is not None and len(said.channel_map) != channels:
            said = None
        return AudioTrack(
            stream=stream.index,
            codec=codec.codec.canonical_name,
            channels=channels,
            sample_rate=codec.sample_rate,
            start_s=start_s - begin_s,
            end_s=end_s - begin_s,
            language=printable(stream.metadata.get("language", ""), LANGUAGE_CHARACTERS),
            title=printable(stream.metadata.get("title", ""), TITLE_CHARACTERS),
            layout="" if said or _NO_NAME.fullmatch(name) else printable(name),
            ambisonics=said,
            last_s=last_s - begin_s,
            packets=sound.count,
            shifts_s=tuple(shifts_s) if any(shifts_s) else (),
        )


def _doubts(track: AudioTrack, field: bytes, trial: Trial) -> Iterator[str]:
    if trial.decoded < trial.tried:
        yield f"{trial.tried - trial.decoded} of {trial.tried} places cannot be decoded"
    if field and track.ambisonics is None:
        yield "its SA3D box makes no sense and is left out"


def _sound_field(name: str) -> Ambisonics | None:
    """By FFmpeg's name of the layout, which is in order."""
    if not (found := _SOUND_FIELD.fullmatch(name)):
        return None
    order, head_locked = int(found[1]), bool(found[2])
    count = (order + 1) ** 2 + 2 * head_locked
    return ambisonics(order, head_locked, range(count)) if order <= math.isqrt(255) else None
