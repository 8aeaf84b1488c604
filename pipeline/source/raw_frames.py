"""Drives TorchCodec's demuxer and decoder packet by packet, and says whose fault a refusal is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from pipeline.errors import DecodeError, ResourceError
from pipeline.structlog_import import structlog

if TYPE_CHECKING:
    from pipeline.torchcodec_import import decoders

_log = structlog.get_logger()

# RuntimeErrors that must not pass for damage in the file, and be painted over.
_THE_MACHINES_FAULT = (torch.OutOfMemoryError, torch.AcceleratorError)

#: FFmpeg's words where a file's data are no longer of its format; all else is no end of the file.
_DAMAGE = "Invalid data found when processing input"
_NO_MEMORY = "Cannot allocate memory"
_OWN_PLACE = re.compile(r"^\w+, \S+\.cpp:\d+, ")


def raw_frames(
    demuxer: decoders.Demuxer, decoder: decoders.VideoPacketDecoder, skipped: int = 0
) -> Iterator[decoders.RawFrame]:
    """Decode packet by packet; a packet that the codec refuses is left out.

    Where the file's data end, it ends, as it did for the probe.

    Args:
        skipped: so many packets are passed over first, undecoded.

    Raises:
        DecodeError: the file cannot be read.
        ResourceError: memory ran out.
    """
    packets = _packets(demuxer)
    for _ in range(skipped):
        if next(packets, None) is None:
            return
    refused = 0
    while True:
        packet = next(packets, None)
        try:
            frames = decoder.drain() if packet is None else decoder.decode(packet)
        except _THE_MACHINES_FAULT:
            raise
        except RuntimeError as error:
            if _NO_MEMORY in str(error):
                raise ResourceError(f"no memory to decode ({reason_of(error)})") from error
            refused += 1
            if refused == 1:  # a damaged file may have as many as frames
                _log.warning("packet refused", reason=reason_of(error))
            frames = []
        yield from frames
        if packet is None:
            if refused:
                _log.warning("packets refused", count=refused)
            return


def _packets(demuxer: decoders.Demuxer) -> Iterator[decoders.Packet]:
    packets = iter(demuxer)
    while True:
        try:
            packet = next(packets, None)
        except _THE_MACHINES_FAULT:
            raise
        except RuntimeError as error:
            if _NO_MEMORY in str(error):
                raise ResourceError(f"no memory to read ({reason_of(error)})") from error
            if _DAMAGE not in str(error):
                raise DecodeError(
                    f"the source cannot be read ({reason_of(error)})",
                    "check the disk that holds it, then run again",
                ) from error
            _log.warning("file ends early", reason=reason_of(error))
            return
        if packet is None:
            return
        yield packet


def reason_of(error: BaseException) -> str:
    """One line of what TorchCodec says, without the place in its own code."""
    lines = str(error).splitlines() or [type(error).__name__]
    return _OWN_PLACE.sub("", lines[0])[-200:]
