"""Memory of a segment in flight, and the memory share of each worker: how many lanes fit.

The figures are measured on the CPU in 32 bits (`benchmarks/memory.py`): per pixel of the whole
frame, both eyes. What they say of a GPU is derived from them (the network's tensors have 16 bits
there) and has not been measured. They only decide how much is begun at once; what does not fit
after all is met by smaller chunks, one segment at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.fleet.jobs import VideoJob
from pipeline.contract import (
    MattingSettings,
    VideoInfo,
    VideoSettings,
    chunk_frames,
)
from pipeline.deliverables.format import parted
from pipeline.deliverables.formats import FORMATS
from pipeline.deliverables.kept import needs_fine
from pipeline.stages.catalogue import chosen_rows, output_video
from pipeline.stages.matting.catalogue import by_boxes, candidates, facts_of

_MB = 1_000_000

#: RVM: 0.64, 1.64 and 3.15 GiB with one frame a chunk at 1920x960, 3840x1920 and 5760x2880; each
#: further frame of a chunk the same again. The other models stay below.
_SEGMENT_BYTES = 200 * _MB
_CHUNK_FRAME_BYTES = 130 * _MB
_CHUNK_FRAME_BYTES_PER_PIXEL = 180

#: Of a frame that a stage holds back.
_HELD_BYTES_PER_PIXEL = 3

#: Where decoding resamples a picture: its grids (25), one eye as floats twice, the stored picture.
_RESAMPLING_BYTES_PER_PIXEL = 45
#: Of a frame of a chunk where 8 bits are not enough: what they leave out, in the batches that wait,
#: and planes of two bytes a sample instead of one.
_FINE_BYTES_PER_PIXEL = 20

#: What encoders of 10 bits take of those of 8: at 1920x960 x265 199 of 139 bytes a pixel, SVT-AV1
#: 363 of 284; without what does not grow with the picture x265 1.6 times as much.
_DEEP_ENCODERS = 1.6

#: On a GPU, in memory that PyTorch does not know of: the surfaces of its decoder (20 of 8 bits, 10
#: of more), and of each of its encoders, whose pictures come through a pipe to a process with a
#: context of its own, or from PyTorch's memory. The encoder's have not been measured.
_SURFACE_BYTES_PER_PIXEL = 30
_NVENC_BYTES_PER_PIXEL = 12
_NVENC_CONTEXT_BYTES = 250 * _MB

#: What it is of the needs of a huge picture, where no video is known yet.
_OUTSIDE_SHARE = 0.22

#: Beside a GPU: frames of a CPU decoder (16 of them, 10 bit) and planes on their way out.
_HOST_BYTES_PER_PIXEL = 60

#: Models' weights and what follows a subject do not depend on it.
_ANY_ENGINE = "auto"

#: What a worker holds with its model loaded, and before anything else runs on a GPU.
_WORKER_BYTES = 1_000 * _MB
_CUDA_CONTEXT_BYTES = 600 * _MB

#: Share of what a device or a machine has that is planned with where no limit is set.
_USABLE = 0.9

#: Of a frame in a chunk: the alpha of one object alone.
_OBJECT_BYTES_PER_PIXEL = 4


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker may use, in bytes; None where that is not known.

    Attributes:
        ram_bytes: of the machine's memory, all of its processes together.
        vram_bytes: of its GPU; None on the CPU.
        weights_bytes: of it, what weights take that are larger than most.
    """

    ram_bytes: int | None = None
    vram_bytes: int | None = None
    weights_bytes: int = 0

    @property
    def ram_for_segments(self) -> int | None:
        if self.ram_bytes is None:
            return None
        weights = self.weights_bytes if self.vram_bytes is None else 0
        return max(0, self.ram_bytes - _WORKER_BYTES - weights)

    @property
    def vram_for_segments(self) -> int | None:
        if self.vram_bytes is None:
            return None
        return max(0, self.vram_bytes - _CUDA_CONTEXT_BYTES - self.weights_bytes)


def share(
    workers: int,
    machine_bytes: int,
    gpu_bytes: int | None,
    ram_gb: float | None,
    vram_gb: float | None,
) -> Share:
    """What each of `workers` may use.

    Args:
        machine_bytes: memory of the machine, or of its container.
        gpu_bytes: memory of the worker's GPU; None on the CPU.
        ram_gb: `limits.ram_gb`, for all workers together.
        vram_gb: `limits.vram_gb`, for each.
    """
    ram = _USABLE * machine_bytes if ram_gb is None else ram_gb * 1e9
    if gpu_bytes is None:
        return Share(round(ram / workers))
    vram = _USABLE * gpu_bytes
    return Share(round(ram / workers), round(vram if vram_gb is None else min(vram, vram_gb * 1e9)))


def with_needs(job: VideoJob, on_gpu: bool) -> VideoJob:
    """The job with what one of its segments is expected to need."""
    chunk = chunk_frames(job.info, job.settings.streaming)
    ram, vram = segment_bytes(job.info, job.settings, chunk, on_gpu)
    tracking = tracking_bytes(job.settings.matting, on_gpu)
    if on_gpu:
        return replace(job, ram_bytes=ram, vram_bytes=vram + tracking)
    return replace(job, ram_bytes=ram + tracking, vram_bytes=vram)


def weights_bytes(matting: MattingSettings) -> int:
    """What a worker's network takes where that is more than most do."""
    return max(facts_of(each).memory(each, _ANY_ENGINE).weights for each in candidates(matting))


def tracking_bytes(matting: MattingSettings, on_gpu: bool) -> int:
    """What following a subject takes of a segment's RAM, or of its GPU's memory."""
    whole = facts_of(matting).memory(matting, _ANY_ENGINE).segment
    return round(whole * 0.6 if on_gpu else whole)


def encoders_bytes_per_pixel(settings: VideoSettings) -> int:
    """RAM of the encoders of all formats of one segment together, per pixel of the frame."""
    encoding = settings.encoding
    return sum(FORMATS[name].encoder_memory(encoding) for name in settings.deliverables)


def _of_ten_bits(shown: VideoInfo, settings: VideoSettings) -> int:
    """What encoders take more, per pixel, of a source of more than 8 bits."""
    encoding = settings.encoding
    rows = [FORMATS[name] for name in settings.deliverables]
    deep = [
        row
        for row in rows
        if row.bits_of(shown, encoding) > 8 and row.codec_for(encoding) in ("hevc", "av1")
    ]
    return round((_DEEP_ENCODERS - 1) * sum(row.encoder_memory(encoding) for row in deep))


def segment_bytes(
    info: VideoInfo, settings: VideoSettings, chunk: int, on_gpu: bool
) -> tuple[int, int]:
    """RAM and GPU memory of one segment in flight, in bytes.

    Encoders and the stages after matting have pictures of the size that the chain gives.

    Args:
        chunk: frames given to the network at once.
    """
    shown = output_video(info, settings)
    pixels = info.even_width * info.even_height
    pixels_out = shown.even_width * shown.even_height
    rows = chosen_rows(settings)
    stages = sum(row.bytes_per_pixel for row in rows) * pixels_out
    fine = needs_fine(info, settings)
    held_bytes = _HELD_BYTES_PER_PIXEL * (2 if fine else 1)
    held = sum(row.held_frames(settings) for row in rows) * held_bytes * pixels_out
    if any(parted(name)[1] for name in settings.deliverables):
        stages += _OBJECT_BYTES_PER_PIXEL * pixels_out
    if fine:
        stages += _FINE_BYTES_PER_PIXEL * pixels
    frame = _CHUNK_FRAME_BYTES + _CHUNK_FRAME_BYTES_PER_PIXEL * pixels + stages
    model = _SEGMENT_BYTES + chunk * frame
    encoders = (encoders_bytes_per_pixel(settings) + _of_ten_bits(shown, settings)) * pixels_out
    if info.stored is not None:
        model += _RESAMPLING_BYTES_PER_PIXEL * pixels
    if on_gpu:
        outside = outside_bytes(info, settings)
        return encoders + _HOST_BYTES_PER_PIXEL * pixels_out, outside + held + round(model * 0.6)
    return encoders + held + model, 0


def outside_bytes(info: VideoInfo, settings: VideoSettings) -> int:
    """Of a segment's GPU memory, what is outside of PyTorch's: its decoder's and its encoders'."""
    shown, encoding = output_video(info, settings), settings.encoding
    bytes_ = _SURFACE_BYTES_PER_PIXEL * info.even_width * info.even_height
    if encoding.encoder == "nvenc":
        sessions = sum(FORMATS[name].codec is None for name in settings.deliverables)
        each = _NVENC_BYTES_PER_PIXEL * shown.even_width * shown.even_height
        if encoding.nvenc_input != "gpu":
            each += _NVENC_CONTEXT_BYTES
        bytes_ += sessions * each
    return bytes_


def pytorch_bytes(
    room: int, lanes: int, jobs: Sequence[VideoJob], *, idle_decoders: int = 0
) -> int:
    """How much of a worker's GPU memory PyTorch may take: without it, decoders fail for want of it.

    What PyTorch keeps for later counts as taken, and a decoder of NVIDIA's that gets none may end
    the process. Whatever jobs run at once, these bytes and those outside are no more than `room`,
    unless decoders alone want more than half of it.

    Args:
        room: for segments.
        lanes: segments at once, if their memory allows that.
        jobs: of which they may be, with their needs.
        idle_decoders: kept beside them for the next file.
    """
    outside = [(outside_bytes(job.info, job.settings), job.vram_bytes) for job in jobs]
    most = max((each for each, _ in outside), default=0)
    # Segments begin only while their needs, of which this is a share, fit into the room together.
    share = max((each / need for each, need in outside if need), default=_OUTSIDE_SHARE)
    at_once = max(most, min(lanes * most if jobs else room, round(share * room)))
    return max(room // 2, room - at_once - idle_decoders * most)


def fitted(info: VideoInfo, settings: VideoSettings, limit: Share, on_gpu: bool) -> VideoSettings:
    """The settings with what fits into a limit that was set.

    Chunks become smaller, down to one frame; then no frames are held back for boxes, and the
    network sees whole eyes. Both alter what comes out: they follow from the settings and the video,
    never from the machine, so that the same command goes on elsewhere with what it has.
    """
    small = _with_small_chunks(info, settings, limit, on_gpu)
    if small is not None:
        return small
    if by_boxes(settings):
        whole = replace(settings, matting=replace(settings.matting, region="whole"))
        return fitted(info, whole, limit, on_gpu)
    return replace(settings, streaming=replace(settings.streaming, chunk_frames=1))


def _with_small_chunks(
    info: VideoInfo, settings: VideoSettings, limit: Share, on_gpu: bool
) -> VideoSettings | None:
    """None: not even one frame fits."""
    chunk = chunk_frames(info, settings.streaming)
    room = limit.vram_for_segments if on_gpu else limit.ram_for_segments
    tracking = tracking_bytes(settings.matting, on_gpu)
    while room is not None:
        if segment_bytes(info, settings, chunk, on_gpu)[on_gpu] + tracking <= room:
            break
        if chunk == 1:
            return None
        chunk //= 2
    if chunk == chunk_frames(info, settings.streaming):
        return settings
    return replace(settings, streaming=replace(settings.streaming, chunk_frames=chunk))
