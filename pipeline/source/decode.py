"""Decodes a file to `FrameBatch`es by TorchCodec, on the GPU's decoder or the CPU.

A `FrameReader` is passive and belongs to one thread. It gives exactly the output frames asked for,
whatever the container does to seeking, and knows nothing of eyes or models.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import structlog
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import VideoInfo
from pipeline.errors import DecodeError
from pipeline.flow.device_copies import to_device
from pipeline.pixels.batches import FrameBatch
from pipeline.pixels.color import YuvFormat, resolve_matrix, yuv_to_rgb
from pipeline.source.frame_index import FrameIndex
from pipeline.source.unchanged import require_unchanged

if TYPE_CHECKING:
    from pipeline.torchcodec_import import decoders

_log = structlog.get_logger()

#: Planar and semi-planar 8-bit formats, and planar ones of more bits as a CPU decoder gives them.
_OWN_8_BIT = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12")
_OWN_DEEP = tuple(f"yuv{chroma}p{bits}le" for chroma in (420, 422, 444) for bits in (10, 12))

#: Seek points tried, each a keyframe earlier, before reading from the beginning of the file.
_SEEK_TRIES = 3

#: A segment may have this share of its frames concealed; with more the file is called broken.
_MAX_CONCEALED = 0.5

# RuntimeErrors that must not pass for damage in the file, and be painted over.
_THE_MACHINES_FAULT = (torch.OutOfMemoryError, torch.AcceleratorError)


def nvdec_refusal(path: str, stream: int, index: FrameIndex, device: torch.device) -> str | None:
    """Why the GPU will not decode this file, or None if it will.

    TorchCodec falls back to the CPU without a word; this asks.
    """
    from pipeline.torchcodec_import import decoders

    decoders.set_nvdec_cache_capacity(2)
    # A mapping of one frame spares the scan of the file that the constructor would make.
    mapping = {"frames": [{"pts": int(index.pts[0]), "duration": 1, "key_frame": 1}]}
    decoder = decoders.VideoDecoder(
        path, device=device, stream_index=stream, custom_frame_mappings=json.dumps(mapping)
    )
    status = decoder.cpu_fallback
    return str(status).rpartition("due to: ")[2] if status else None


class FrameReader:
    """Reads frames of one file.

    Args:
        device: where the frames shall be.
        threads: CPU threads of a CPU decoder; does not alter the frames.
        cpu_decode: do not try the GPU's decoder.

    Raises:
        InputError: the file is not the one that was probed.

    Attributes:
        decoder: what decodes, in words: "NVDEC", "CPU", or "CPU: <why not NVDEC>".
        concealed_frames: output frames so far that the decoder never gave, filled with a
            neighbour.
    """

    def __init__(
        self,
        video: VideoInfo,
        index: FrameIndex,
        device: torch.device,
        *,
        threads: int = 2,
        cpu_decode: bool = False,
    ) -> None:
        # TorchCodec takes addresses, and any format: it is given nothing but what the probe saw.
        require_unchanged(video)
        self.concealed_frames: list[int] = []
        self._video = video
        self._index = index
        self._device = device
        self._threads = threads
        self._decode_device = torch.device("cpu")
        self.decoder = "CPU"
        if device.type == "cuda" and not cpu_decode:
            try:
                refusal = nvdec_refusal(video.path, video.stream, index, device)
            except RuntimeError as error:
                raise DecodeError(f"cannot open {video.path}: {_reason(error)}") from error
            if refusal is None:
                self._decode_device, self.decoder = device, "NVDEC"
            else:
                self.decoder = f"CPU: {refusal}"
        elif device.type == "cuda":
            self.decoder = "CPU: as asked"

    def batches(self, start: int, stop: int, size: int) -> Iterator[FrameBatch]:
        """Output frames start..stop in batches of `size`, the last one shorter.

        Raises:
            DecodeError: the file cannot be decoded there.
        """
        pictures = self._pictures(start, stop)
        for first in range(start, stop, size):
            count = min(size, stop - first)
            shape = (count, 3, self._video.even_height, self._video.even_width)
            rgb = torch.empty(shape, dtype=torch.uint8, device=self._device)
            for slot in rgb:
                self._render(next(pictures), slot)
            yield FrameBatch(rgb, first)
            del rgb, slot  # not to be held beside the next batch

    def picture(self, frame: int) -> Tensor:
        """One output frame, uint8 ``[3, H, W]`` on the device; not cheap: it seeks."""
        (batch,) = self.batches(frame, frame + 1, 1)
        return batch.rgb[0]

    def _pictures(self, start: int, stop: int) -> Iterator[decoders.RawFrame]:
        """The raw frame to show for each output frame; the same object again where one repeats."""
        wanted = self._index.source_frames(start, stop).tolist()
        frames = self._frames_from(wanted[0])
        position, current = next(frames, (-1, None))
        if current is None:
            raise DecodeError(f"no frame of {self._video.path} can be decoded at frame {start}")
        concealed = 0
        ended = False
        for frame, number in enumerate(wanted, start):
            while position < number and not ended:
                following = next(frames, None)
                if following is None:
                    ended = True
                else:
                    position, current = following
            if position != number:
                concealed += 1
                if concealed > max(1, _MAX_CONCEALED * len(wanted)):
                    raise DecodeError(
                        f"more than half of frames {start}..{stop} of {self._video.path} "
                        "cannot be decoded"
                    )
                self.concealed_frames.append(frame)
            yield current

    def _frames_from(self, number: int) -> Iterator[tuple[int, decoders.RawFrame]]:
        """(position in the index, raw frame), beginning at or before source frame `number`.

        Seeking is not exact in every container: where it lands too late an earlier keyframe is
        tried, and at last the file is read from its beginning.
        """
        points: list[float | None] = []
        if number > 0:
            points += self._index.seek_points(number)[:_SEEK_TRIES]
        for seconds in [*points, None]:
            frames = self._decode(seconds)
            first = next(frames, None)
            if first is not None and (first[0] <= number or seconds is None):
                yield first
                yield from frames
                return

    def _decode(self, seek_s: float | None) -> Iterator[tuple[int, decoders.RawFrame]]:
        stamps = self._index.pts_seconds + self._clock_offset_s
        last = -1
        demuxer, decoder = self._open()
        if seek_s is not None:
            try:
                demuxer.seek(seek_s)
            except RuntimeError as error:  # the next earlier point is tried
                _log.warning("seek refused", seconds=seek_s, reason=_reason(error))
                return
        for raw in _raw_frames(demuxer, decoder):
            seconds = raw.pts_seconds
            if math.isfinite(seconds) and abs(seconds) < 1e12:
                after = int(stamps.searchsorted(seconds))
                before = max(0, after - 1)
                after = min(after, len(stamps) - 1)
                nearer = abs(stamps[after] - seconds) < abs(stamps[before] - seconds)
                position = after if nearer else before
            else:
                position = last + 1  # no time stamp (AVI's last frames): they come in order
            if position > last:
                last = position
                yield position, raw

    @cached_property
    def _clock_offset_s(self) -> float:
        """What TorchCodec's FFmpeg adds to the index's time stamps.

        AVI holds none for presentation, and FFmpeg's versions (the index was made with PyAV's)
        guess them differently, by a constant; the first frame tells it.
        """
        if self._video.container != "avi":
            return 0.0
        demuxer, decoder = self._open()
        first = next(_raw_frames(demuxer, decoder), None)
        return 0.0 if first is None else first.pts_seconds - float(self._index.pts_seconds[0])

    def _open(self) -> tuple[decoders.Demuxer, decoders.VideoPacketDecoder]:
        from pipeline.torchcodec_import import decoders

        try:
            demuxer = decoders.Demuxer(self._video.path, streams=self._video.stream)
            decoder = demuxer.streams[0].make_decoder(
                self._decode_device, num_ffmpeg_threads=self._threads
            )
        except (RuntimeError, ValueError) as error:
            raise DecodeError(f"cannot open {self._video.path}: {_reason(error)}") from error
        return demuxer, decoder

    def _render(self, raw: decoders.RawFrame, out: Tensor) -> None:
        """Write a raw frame into uint8 ``[3, H, W]``: upright, padded to even sides."""
        video = self._video
        turned = video.rotation in (90, 270)
        stored = (video.width, video.height) if turned else (video.height, video.width)
        if (raw.height, raw.width) != stored:
            raise DecodeError(
                f"{video.path} changes its picture size to {raw.width}x{raw.height} on the way",
                "split it at the change",
            )
        if not self._is_own_format(raw):
            upright = _convert_elsewhere(raw, self._decode_device)
        elif video.rotation == 0 and out.shape[1:] == stored:
            self._convert(raw, out)
            return
        else:
            upright = torch.empty(3, *stored, dtype=torch.uint8, device=self._device)
            self._convert(raw, upright)
            upright = torch.rot90(upright, video.rotation // 90, (1, 2))
        pad = (0, out.shape[2] - upright.shape[2], 0, out.shape[1] - upright.shape[1])
        out.copy_(F.pad(upright[None].float(), pad, mode="replicate")[0])

    def _is_own_format(self, raw: decoders.RawFrame) -> bool:
        deep = raw.pixel_format in _OWN_DEEP and self._decode_device.type == "cpu"
        return deep or raw.pixel_format in _OWN_8_BIT

    def _convert(self, raw: decoders.RawFrame, out: Tensor) -> None:
        matrix = resolve_matrix(self._video)
        form = YuvFormat(matrix, self._video.color.full_range, raw.bit_depth)
        y, u, v = (to_device(plane, out.device) for plane in raw.planes)
        yuv_to_rgb((y, u, v), form, out)


def _raw_frames(
    demuxer: decoders.Demuxer, decoder: decoders.VideoPacketDecoder
) -> Iterator[decoders.RawFrame]:
    """Decode packet by packet; a packet that the codec refuses is left out.

    Where the file cannot be read any further it ends, as it did for the probe.
    """
    packets = iter(demuxer)
    refused = 0
    while True:
        try:
            packet = next(packets, None)
        except _THE_MACHINES_FAULT:
            raise
        except RuntimeError as error:
            _log.warning("file ends early", reason=_reason(error))
            packet = None
        try:
            frames = decoder.drain() if packet is None else decoder.decode(packet)
        except _THE_MACHINES_FAULT:
            raise
        except RuntimeError as error:
            refused += 1
            if refused == 1:  # a damaged file may have as many as frames
                _log.warning("packet refused", reason=_reason(error))
            frames = []
        yield from frames
        if packet is None:
            if refused:
                _log.warning("packets refused", count=refused)
            return


def _convert_elsewhere(raw: decoders.RawFrame, device: torch.device) -> Tensor:
    """Any other format (RGB, grey, NVDEC's 16-bit surfaces) by TorchCodec's own conversion.

    In float, because it cuts deep samples off otherwise. The result is upright.
    """
    from pipeline.torchcodec_import import decoders

    picture: Tensor = decoders.ColorConverter(device, output_dtype=torch.float32).convert(raw).data
    return picture.mul(255).add_(0.5).clamp_(0, 255).to(torch.uint8)


def _reason(error: BaseException) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][-200:]
