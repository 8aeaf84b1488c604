"""Drives TorchCodec's demuxer and decoder packet by packet, and says whose fault a refusal is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from pipeline.errors import DecodeError, DeviceError, ResourceError, VrmatteError
from pipeline.structlog_import import structlog

if TYPE_CHECKING:
    from pipeline.torchcodec_import import decoders

_log = structlog.get_logger()

# RuntimeErrors that must not pass for damage in the file, and be painted over.
_THE_MACHINES_FAULT = (torch.OutOfMemoryError, torch.AcceleratorError)

#: FFmpeg's words where a file's data are no longer of its format; all else is no end of the file.
_DAMAGE = "Invalid data found when processing input"
_NO_MEMORY = "Cannot allocate memory"

#: The same of a GPU. TorchCodec throws plain RuntimeErrors, whatever PyTorch threw inside of it
#: (torch/csrc/stable/macros.h); its own texts end in CUDA's words, or in a number of the driver's,
#: of which 2 is a want of memory (BetaCudaDeviceInterface.cpp, cuda.h).
_NO_GPU_MEMORY = re.compile(r"out of memory|Failed to create (NVDEC decoder|video parser): 2\b")
_GPU_FAILED = re.compile(
    r"CUDA error|Failed to (copy NVDEC surface|unmap previous frame|copy plane \d+ to GPU"
    r"|wait for the CPU-to-GPU upload)"
)
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
        ResourceError: memory ran out, the machine's or the GPU's.
        DeviceError: the GPU failed.
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
            if (fault := machines_fault(error, "decode")) is not None:
                raise fault from error
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
            if (fault := machines_fault(error, "read")) is not None:
                raise fault from error
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


def machines_fault(error: BaseException, doing: str) -> VrmatteError | None:
    """What TorchCodec's refusal is where the machine is to blame for it, and no file.

    Args:
        doing: what it was about to do, as in "to decode".
    """
    text = str(error)
    if _NO_MEMORY in text:
        return ResourceError(f"no memory to {doing} ({reason_of(error)})")
    if _NO_GPU_MEMORY.search(text):
        return ResourceError(
            f"the GPU had no memory to {doing} ({reason_of(error)})",
            "use smaller chunks (streaming.chunk_frames), or set limits.vram_gb, which plans ahead",
        )
    if _GPU_FAILED.search(text):
        return DeviceError(f"the GPU failed ({reason_of(error)})", "look at dmesg for Xid lines")
    return None


def reason_of(error: BaseException) -> str:
    """One line of what TorchCodec says, without the place in its own code."""
    lines = str(error).splitlines() or [type(error).__name__]
    return _OWN_PLACE.sub("", lines[0])[-200:]
