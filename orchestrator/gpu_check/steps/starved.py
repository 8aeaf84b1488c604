"""Step `memory`: where the GPU has no memory left for the decoder no frame is concealed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from orchestrator.gpu_check.clips import LARGE, made, opened
from orchestrator.gpu_check.results import passed
from orchestrator.gpu_check.site import Site, Tell
from pipeline.contract import VideoInfo
from pipeline.errors import ResourceError
from pipeline.source.decode import FrameReader, keep_idle_decoders
from pipeline.source.timing.frame_index import FrameIndex

#: Beside the batch, in MB: from less than one picture of NVDEC's at 8K (50 MB) to several.
_ROOM_MB = (8, 24, 48, 72, 96, 128)

#: TorchCodec's own text where PyTorch has no memory (`torch/csrc/stable/macros.h`).
_TEXT = "CUDA out of memory. Tried to allocate 48.00 MiB. (originally from a double)"


def decoder(site: Site, tell: Tell) -> None:
    """See `orchestrator.gpu_check.site.Run`."""
    video, index = opened(site, made(site, LARGE))
    keep_idle_decoders(0)
    inside, concealed, seen = 0, 0, []
    for room_mb in _ROOM_MB[:2] if site.rehearsal else _ROOM_MB:
        reader = (_Starved if site.rehearsal else FrameReader)(video, index, site.device)
        with _limited(site, video, room_mb):
            error = _read(reader, min(video.num_frames, 8))
        concealed += len(reader.concealed_frames)
        inside += isinstance(error, ResourceError)
        seen.append(f"{room_mb} MB: {type(error).__name__ if error else 'enough'}")
    known = all(
        "Error" not in each or each.endswith(("ResourceError", "OutOfMemoryError")) for each in seen
    )
    found = "; ".join(seen)
    tell(passed("concealed frames", "0", f"{concealed}", concealed == 0))
    tell(passed("the error", "a want of memory, whenever there is one", found, known))
    wanted = "inside the decoder, once at least"
    tell(passed("where", wanted, f"{inside} times", inside > 0))


def _read(reader: FrameReader, stop: int) -> Exception | None:
    """What ended reading; None: nothing did."""
    try:
        for batch in reader.batches(0, stop, 1):
            del batch
    except Exception as error:
        return error.with_traceback(None)  # which would hold the frames
    return None


@contextmanager
def _limited(site: Site, video: VideoInfo, room_mb: int) -> Iterator[None]:
    """PyTorch may take a batch of one frame, and so much more."""
    if site.rehearsal:
        yield
        return
    device = site.device
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    batch = 3 * video.even_width * video.even_height
    allowed = torch.cuda.memory_reserved(device) + batch + room_mb * 1_000_000
    torch.cuda.set_per_process_memory_fraction(min(1.0, allowed / total), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


class _Starved(FrameReader):
    """The rehearsal's double: TorchCodec says after two frames that there is no memory."""

    def __init__(self, video: VideoInfo, index: FrameIndex, device: torch.device) -> None:
        super().__init__(video, index, device)

    def _open(self) -> tuple[Any, Any]:
        demuxer, real = super()._open()
        return demuxer, _StarvedDecoder(real)


class _StarvedDecoder:
    def __init__(self, real: Any) -> None:
        self._real, self._left = real, 2

    def decode(self, packet: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError(_TEXT)
        return self._real.decode(packet)

    def drain(self) -> Any:
        return self._real.drain()
