"""Tries whether the sound of a file can be decoded, by a few packets here and there of each track.

The packets are kept while the file is read for its time stamps, so that nothing is read twice.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import av

#: Packets in a row: a decoder may need what came before, and then refuses the first ones.
_RUN = 6
_MOST_RUNS = 8
#: A packet that is larger is not kept, and no more packets of all tracks together.
_MOST_PACKET_BYTES = 1 << 20
_MOST_BYTES = 64 << 20

#: FFmpeg gives up on a track when more than two thirds of its packets cannot be decoded.
_LEAST_SHARE = 1 / 3


class Samples:
    """Runs of packets of one track, spread evenly over it, its end included.

    How long the track will be is not known before.

    Args:
        room: what all tracks of the file may keep.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._runs: list[list[Any]] = []
        self._last: deque[Any] = deque(maxlen=_RUN)
        self._stride = _RUN
        self._seen = 0

    def add(self, packet: Any) -> None:
        number = self._seen
        self._seen += 1
        if not self._room.take(packet):
            return
        self._last.append(packet)
        if number % self._stride == 0:
            self._runs.append([])
        if self._runs and number % self._stride < _RUN:
            self._runs[-1].append(packet)
        else:
            self._room.give_back(packet)
        if len(self._runs) > _MOST_RUNS:
            for run in self._runs[1::2]:
                for dropped in run:
                    self._room.give_back(dropped)
            del self._runs[1::2]
            self._stride *= 2

    def runs(self) -> list[Sequence[Any]]:
        """In order; no packet is in two of them."""
        last = list(self._last)
        late = {id(packet) for packet in last}
        earlier = [[packet for packet in run if id(packet) not in late] for run in self._runs]
        return [run for run in (*earlier, last) if run]


@dataclass
class Room:
    """What the packets of all tracks may take."""

    left: int = _MOST_BYTES

    def take(self, packet: Any) -> bool:
        if packet.size > min(_MOST_PACKET_BYTES, self.left):
            return False
        self.left -= packet.size
        return True

    def give_back(self, packet: Any) -> None:
        self.left += packet.size


@dataclass(frozen=True, slots=True)
class Trial:
    """Attributes: runs of packets that were tried, and how many of them could be decoded."""

    tried: int
    decoded: int

    @property
    def plays(self) -> bool:
        return self.decoded >= self.tried * _LEAST_SHARE


def try_sound(stream: Any, runs: Sequence[Sequence[Any]]) -> Trial:
    """Decode runs of packets of an audio stream."""
    decoder = stream.codec_context
    decoder.thread_count = 1
    decoded = 0
    for run in runs:
        decoded += 2 * sum(_decodes(decoder, packet) for packet in run) >= len(run)
        decoder.flush_buffers()
    return Trial(len(runs), decoded)


def _decodes(decoder: Any, packet: Any) -> bool:
    try:
        for frame in decoder.decode(packet):
            keep_alive(frame.layout)
    except (av.FFmpegError, ValueError, MemoryError):
        return False
    return True


def keep_alive(layout: Any) -> None:
    """Never free a layout that PyAV gave: it would free what belongs to the stream or the frame.

    PyAV 18 copies FFmpeg's AVChannelLayout without the list of channels that a layout of the order
    "custom" points to, and frees that list with its copy: the process then ends by SIGABRT.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))
