"""Decodes a file to `FrameBatch`es by TorchCodec, on the GPU's decoder or the CPU.

A `FrameReader` is passive and belongs to one thread. It gives exactly the output frames asked for,
whatever the container does to seeking, and knows nothing of eyes or models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.contract import VideoInfo
from pipeline.contract.processing import KernelChoice
from pipeline.errors import DecodeError, InputError, VrmatteError
from pipeline.flow.device_copies import settle, to_device
from pipeline.kernels.choice import way_on
from pipeline.pixels.batches import FrameBatch
from pipeline.pixels.color import YuvFormat, resolve_matrix
from pipeline.pixels.fine import split_levels
from pipeline.source.picture.deinterlace import BEFORE, WholeFrame, deinterlaced
from pipeline.source.picture.resample import resampler_of
from pipeline.source.plain_read import require_readable
from pipeline.source.raw_frames import machines_fault, raw_frames, reason_of
from pipeline.source.timing.frame_index import FrameIndex
from pipeline.source.timing.positions import Positions
from pipeline.source.unchanged import require_unchanged
from pipeline.structlog_import import structlog

if TYPE_CHECKING:
    from pipeline.torchcodec_import import decoders

_log = structlog.get_logger()

#: YUV formats of a CPU decoder that are converted here; of NVDEC's all are. TorchCodec has planes
#: even of the packed ones; a fourth plane is alpha.
_OWN_8_BIT = re.compile(r"yuv[ja]?4[0124][0124]p|nv12|uyvy422|yuyv422")
_OWN_DEEP = re.compile(r"yuva?4[24][024]p(9|10|12|14|16)le")
#: What NVDEC makes of more bits: they are the upper ones of 16, with zeros below.
_SURFACES_16 = ("p010le", "p012le", "p016le", "yuv444p16le")

#: Seek points tried, each a keyframe earlier, before reading from the beginning of the file.
_SEEK_TRIES = 3

#: A segment may have this share of its frames concealed; with more the file is called broken.
_MAX_CONCEALED = 0.5


def keep_idle_decoders(count: int) -> None:
    """How many of NVDEC's decoders TorchCodec may keep for the next file, in this process.

    Outside of PyTorch's memory; 20 if it is not told.
    """
    from pipeline.torchcodec_import import decoders

    decoders.set_nvdec_cache_capacity(count)


def nvdec_refusal(path: str, stream: int, index: FrameIndex, device: torch.device) -> str | None:
    """Why the GPU will not decode this file, or None if it will.

    TorchCodec falls back to the CPU without a word; this asks.
    """
    from pipeline.torchcodec_import import decoders

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
        fine: also give what 8 bits leave out of the pictures.
        kernels: `ProcessingSettings.kernels`.

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
        fine: bool = False,
        kernels: KernelChoice = "auto",
    ) -> None:
        # TorchCodec takes addresses, and any format: it is given nothing but what the probe saw.
        require_unchanged(video)
        self.concealed_frames: list[int] = []
        self._video = video
        self._index = index
        self._device = device
        self._threads = threads
        self._fine = fine
        self._way = way_on(device, kernels)
        self._resampler = resampler_of(video, device)
        self._decode_device = torch.device("cpu")
        self.decoder = "CPU"
        if device.type == "cuda" and video.first_field is not None:
            self.decoder = "CPU: the pictures are interlaced"
        elif device.type == "cuda" and (why_not := _unlike_nvdec(video)) is not None:
            self.decoder = f"CPU: {why_not}"
        elif device.type == "cuda" and not cpu_decode:
            try:
                refusal = nvdec_refusal(video.path, video.stream, index, device)
            except RuntimeError as error:
                raise self._cannot_open(error) from error
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
            fine = torch.empty_like(rgb, dtype=torch.int8) if self._fine else None
            for slot in range(count):
                self._render(next(pictures), rgb[slot], None if fine is None else fine[slot])
                if self._by_nvdec:
                    # NVDEC writes a surface on this stream, and whether the driver may take the
                    # place of its picture before, no document says. So no packet is given to
                    # it before; only decoding waits, which has a stream of its own.
                    settle(self._decode_device)
            seen = None if self._resampler is None else self._resampler.seen
            yield FrameBatch(rgb, first, seen, fine)
            del rgb, fine  # not to be held beside the next batch

    def picture(self, frame: int) -> Tensor:
        """One output frame, uint8 ``[3, H, W]`` on the device; not cheap: it seeks."""
        (batch,) = self.batches(frame, frame + 1, 1)
        return batch.rgb[0]

    @property
    def _by_nvdec(self) -> bool:
        return self.decoder == "NVDEC"

    def _pictures(self, start: int, stop: int) -> Iterator[decoders.RawFrame | WholeFrame]:
        """The raw frame to show for each output frame; the same object again where one repeats."""
        wanted = self._index.source_frames(start, stop).tolist()
        frames = self._whole_from(wanted[0])
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
                if self._by_nvdec:
                    # It drops a frame without a word where a surface cannot be mapped, which is no
                    # fault of the file. Where it is the file's the CPU's decoder will say so.
                    raise DecodeError(
                        f"the GPU's decoder gave no frame {frame} of {self._video.path}"
                    )
                concealed += 1
                if concealed > max(1, _MAX_CONCEALED * len(wanted)):
                    raise DecodeError(
                        f"more than half of frames {start}..{stop} of {self._video.path} "
                        "cannot be decoded"
                    )
                self.concealed_frames.append(frame)
            yield current

    def _whole_from(self, number: int) -> Iterator[tuple[int, decoders.RawFrame | WholeFrame]]:
        """As `_frames_from`, deinterlaced where they have fields."""
        if self._video.first_field is None:
            return self._frames_from(number)
        frames = self._frames_from(max(0, number - BEFORE))
        return deinterlaced(frames, number, self._video.first_field)

    def _frames_from(self, number: int) -> Iterator[tuple[int, decoders.RawFrame]]:
        """(position in the index, raw frame), beginning at or before source frame `number`.

        Seeking is not exact in every container: where it lands too late an earlier keyframe is
        tried, and at last the file is read from its beginning.
        """
        keys: list[int | None] = []
        if number > 0:
            keys += self._index.keys_before(number)[:_SEEK_TRIES]
        for key in [*keys, None]:
            frames = self._decode(key)
            first = next(frames, None)
            if first is not None and (first[0] <= number or key is None):
                yield first
                yield from frames
                return

    def _decode(self, key: int | None) -> Iterator[tuple[int, decoders.RawFrame]]:
        """(position in the index, raw frame) from a keyframe of the index, or the file's begin."""
        index = self._index
        demuxer, decoder = self._open()
        skipped = first = 0
        if key is not None and index.clock is not None:
            # One time may come several times in the file: what is not wanted is passed over.
            skipped = int(index.key_numbers[key])
            first = int(index.begins[index.begins.searchsorted(index.keyframes[key], "right") - 1])
        elif key is not None:
            try:
                demuxer.seek(index.seek_s(key))
            except RuntimeError as error:  # the next earlier point is tried
                _log.warning("seek refused", seconds=index.seek_s(key), reason=reason_of(error))
                return
        positions = Positions(index, self._clock_offset_s, first)
        last = first
        for raw in raw_frames(demuxer, decoder, skipped):
            position = positions.of(raw.pts_seconds)
            if position is not None:
                last = position
                yield position, raw
        if last < len(index.pts) - 1:
            self._require_readable(last)

    def _require_readable(self, last: int) -> None:
        """See to it that the file ended early by itself: its end may be a disk's that fails.

        Raises:
            DecodeError: it cannot be read there.
        """
        keys = self._index.keyframes.searchsorted(last, side="right")
        offset = int(self._index.key_offsets[keys - 1]) if keys else 0
        try:
            require_readable(Path(self._video.path), max(0, offset))
        except InputError as error:
            raise DecodeError(error.message, error.advice) from error

    @cached_property
    def _clock_offset_s(self) -> float:
        """What TorchCodec's FFmpeg adds to the index's time stamps.

        AVI holds none for presentation, and FFmpeg's versions (the index was made with PyAV's)
        guess them differently, by a constant; the first frame tells it.
        """
        if self._video.container != "avi":
            return 0.0
        demuxer, decoder = self._open()
        first = next(raw_frames(demuxer, decoder), None)
        return 0.0 if first is None else first.pts_seconds - float(self._index.pts_seconds[0])

    def _open(self) -> tuple[decoders.Demuxer, decoders.VideoPacketDecoder]:
        from pipeline.torchcodec_import import decoders

        try:
            demuxer = decoders.Demuxer(self._video.path, streams=self._video.stream)
            decoder = demuxer.streams[0].make_decoder(
                self._decode_device, num_ffmpeg_threads=self._threads
            )
        except (RuntimeError, ValueError) as error:
            raise self._cannot_open(error) from error
        return demuxer, decoder

    def _cannot_open(self, error: BaseException) -> VrmatteError:
        fault = machines_fault(error, f"open {self._video.path}")
        return fault or DecodeError(f"cannot open {self._video.path}: {reason_of(error)}")

    def _render(
        self, raw: decoders.RawFrame | WholeFrame, out: Tensor, fine: Tensor | None
    ) -> None:
        """Write a raw frame into uint8 ``[3, H, W]``: upright, in the video's own projection.

        Args:
            fine: int8 of that shape, for what 8 bits leave out of it; None where it is resampled.
        """
        if self._resampler is None:
            self._render_upright(raw, out, fine)
            return
        width, height = self._video.stored_size
        picture = torch.empty(3, height, width, dtype=torch.uint8, device=self._device)
        self._render_upright(raw, picture, None)
        self._resampler.draw(picture, out)

    def _render_upright(
        self, raw: decoders.RawFrame | WholeFrame, out: Tensor, fine: Tensor | None
    ) -> None:
        """Write a raw frame into uint8 ``[3, H, W]``: upright, padded to that size."""
        video = self._video
        stored = raw.height, raw.width
        if stored != _stored_size(video):
            raise DecodeError(
                f"{video.path} changes its picture size to {raw.width}x{raw.height} on the way",
                "split it at the change",
            )
        if self._by_nvdec and raw.pixel_format not in _surfaces(video):
            # NVDEC goes on with the decoder of the first sequence; a CPU's takes each as it is.
            raise DecodeError(
                f"{video.path} changes its pixel format on the way: the GPU's decoder gives "
                f"{raw.pixel_format} of {video.pixel_format}"
            )
        turned = video.rotation or video.mirrored
        if self._is_own_format(raw) and not turned and out.shape[1:] == stored:
            self._convert(raw, out, fine)
            return
        for layer, target in zip(self._layers(raw, stored, fine), (out, fine), strict=True):
            if layer is not None and target is not None:
                upright = _upright(layer, video)
                pad = (0, out.shape[2] - upright.shape[2], 0, out.shape[1] - upright.shape[1])
                target.copy_(F.pad(upright[None].float(), pad, mode="replicate")[0])

    def _layers(
        self, raw: decoders.RawFrame | WholeFrame, stored: tuple[int, int], wanted: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The stored picture, and what its 8 bits leave out of it if that is `wanted`."""
        rgb = torch.empty(3, *stored, dtype=torch.uint8, device=self._device)
        fine = None if wanted is None else torch.empty_like(rgb, dtype=torch.int8)
        if isinstance(raw, WholeFrame) or self._is_own_format(raw):
            self._convert(raw, rgb, fine)
        else:
            split_levels(_convert_elsewhere(raw, self._decode_device), rgb, fine)
        return rgb, fine

    def _is_own_format(self, raw: decoders.RawFrame | WholeFrame) -> bool:
        if self._by_nvdec or _OWN_8_BIT.fullmatch(raw.pixel_format):
            return True
        return _OWN_DEEP.fullmatch(raw.pixel_format) is not None

    def _convert(
        self, raw: decoders.RawFrame | WholeFrame, out: Tensor, fine: Tensor | None
    ) -> None:
        video, depth, zeros = self._video, raw.bit_depth, 0
        if self._by_nvdec and raw.pixel_format in _SURFACES_16:
            depth, zeros = video.bit_depth, 16 - video.bit_depth
        form = YuvFormat(resolve_matrix(video), video.color.full_range, depth, zeros)
        y, u, v = (to_device(plane, out.device) for plane in raw.planes[:3])
        self._way.yuv_to_rgb((y, u, v), form, out, fine)


def _unlike_nvdec(video: VideoInfo) -> str | None:
    """Why NVDEC's surfaces cannot hold what a CPU decoder gives of that pixel format."""
    if "422" in video.pixel_format:  # they are 4:2:0 or 4:4:4
        return "the GPU's decoder halves the colour of 4:2:2"
    if video.pixel_format.startswith("gray"):  # what they hold for it is written nowhere
        return "the pictures have no colour"
    return None


def _surfaces(video: VideoInfo) -> tuple[str, ...]:
    """What NVDEC's pictures may be, by TorchCodec's names (`nvdec_pix_fmt` in FFMPEGCommon.cpp)."""
    if "444" in video.pixel_format:
        return ("yuv444p", "yuv444p16le") if video.bit_depth == 8 else ("yuv444p16le",)
    by_depth = {8: ("nv12", "p016le"), 10: ("p010le",), 12: ("p012le", "p016le")}
    return by_depth.get(video.bit_depth, ("p016le",))


def _stored_size(video: VideoInfo) -> tuple[int, int]:
    """(height, width) of the pictures in the file."""
    width, height = video.stored_size
    size = (width, height) if video.rotation in (90, 270) else (height, width)
    crop = video.crop
    return size[0] + crop.top + crop.bottom, size[1] + crop.left + crop.right


def _upright(picture: Tensor, video: VideoInfo) -> Tensor:
    """The picture ``[3, H, W]`` of a file as players show it."""
    _, height, width = picture.shape
    crop = video.crop
    picture = picture[:, crop.top : height - crop.bottom, crop.left : width - crop.right]
    if video.mirrored:
        picture = picture.flip(2)
    return torch.rot90(picture, video.rotation // 90, (1, 2))


def _convert_elsewhere(raw: decoders.RawFrame, device: torch.device) -> Tensor:
    """Any other format of a CPU decoder (RGB, grey) by TorchCodec's own conversion.

    In float, because it cuts deep samples off otherwise. It turns pictures, but knows no mirror:
    the result is turned back, as the file holds it, and is in levels of 0..255 plus a half.
    """
    from pipeline.torchcodec_import import decoders

    picture: Tensor = decoders.ColorConverter(device, output_dtype=torch.float32).convert(raw).data
    stored = torch.rot90(picture, -round(raw.rotation / 90), (1, 2))
    return stored.mul(255).add_(0.5)
