"""The process of `vrmatte bench --quality`: one model's mattes of a clip, compared with the truth.

It drives the chain that `pipeline/segment.py` drives, as one segment, one batch at a time.
Run as ``python -m orchestrator.bench.quality_child ASKED FOUND DEVICE``, in a worker's environment.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.bench.alpha_measures import AlphaMeasures, Floats
from orchestrator.bench.quality import Asked, Found
from pipeline.errors import InputError, SettingsError, VrmatteError
from pipeline.stages.matting.catalogue import JSON_CONTEXT
from pipeline.text import printable


class _Clock:
    """Wall and CPU seconds of this process since it was made, but for what happens in `stopped`."""

    def __init__(self) -> None:
        self._began = _now()
        self._left_out = (0.0, 0.0)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        before = _now()
        yield
        wall_s, cpu_s = _since(before)
        self._left_out = self._left_out[0] + wall_s, self._left_out[1] + cpu_s

    def seconds(self) -> tuple[float, float]:
        wall_s, cpu_s = _since(self._began)
        return wall_s - self._left_out[0], cpu_s - self._left_out[1]


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(before: tuple[float, float]) -> tuple[float, float]:
    wall, cpu = _now()
    return wall - before[0], cpu - before[1]


def judge(asked: Asked, device_name: str) -> Found:
    """Matte every frame of the job's video and compare its alpha.

    Raises:
        VrmatteError: by its kind.
    """
    import torch

    from pipeline.clip import ClipReader
    from pipeline.contract import chunk_frames
    from pipeline.flow.cuda_streams import segment_stream
    from pipeline.pixels.eyes import join_eyes
    from pipeline.source.reader import open_reader
    from pipeline.source.timing.frame_index import index_of
    from pipeline.stages.chain import Chain, eyes_of

    job, device = asked.job, torch.device(device_name)
    video, settings = job.video, job.settings
    torch.set_num_threads(settings.processing.intra_op_threads)
    chain = Chain.of(settings, device)
    if chain.shape(video.eye_shape) != video.eye_shape:
        raise SettingsError("a stage changes the size of the picture", "leave it out")
    index = index_of(video, Path(job.index_path))
    processing = settings.processing
    reader = open_reader(
        *(video, index, device), threads=processing.decode_threads, kernels=processing.kernels
    )
    prepared = chain.prepare(ClipReader(job, reader))
    truth = true_alpha(Path(asked.truth))
    measures = AlphaMeasures()
    with segment_stream(device):
        passing = chain.start(video.eye_shape, prepared)
        chunk = chunk_frames(video, settings.streaming)
        clock = _Clock()
        decoded = chain.decoded(reader, video, 0, video.num_frames, chunk)
        for layers in passing.layers(eyes_of(decoded, video), 0, video.num_frames):
            whole = join_eyes(layers.matte.alpha, video.layout, video.right_first)
            pictures = whole[:, 0, : video.height, : video.width].float().cpu()
            with clock.stopped():
                for alpha in pictures.numpy():
                    measures.add(alpha, _next(truth, asked.truth))
        wall_s, cpu_s = clock.seconds()
    name = "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
    return Found(measures.distance(), name, reader.decoder, wall_s, cpu_s)


def _next(truth: Iterator[Floats], path: str) -> Floats:
    picture = next(truth, None)
    if picture is None:
        raise InputError(f"{printable(path)} ends before the clip", "is it damaged?")
    return picture


def true_alpha(path: Path) -> Iterator[Floats]:
    """Each frame of a video of alpha, ``[H, W]``, 0..1: its alpha, or else its grey.

    Raises:
        InputError: it cannot be read, or has pictures of another form.
    """
    import av

    from pipeline.source.container import open_container, said_by

    shown = printable(str(path))
    with open_container(path, shown) as container:
        stream = container.streams.video[0]
        decoder = stream.codec_context
        if decoder.name == "vp9":  # FFmpeg's own decoder drops alpha
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        try:
            for packet in container.demux(stream):
                if packet.size:
                    yield from (_alpha(frame, shown) for frame in decoder.decode(packet))
            yield from (_alpha(frame, shown) for frame in decoder.decode(None))
        except av.FFmpegError as error:
            raise InputError(
                f"{shown} cannot be decoded ({said_by(error)})", "make it again"
            ) from error


def _alpha(frame: Any, shown: str) -> Floats:
    import numpy as np

    from pipeline.pixels.planes import frame_planes

    name, depth = frame.format.name, frame.format.components[0].bits
    most = 2**depth - 1
    if not name.startswith(("gray", "yuv", "gbr")) or "f32" in name:
        raise InputError(f"{shown} has {name} pictures", "make a grey video of it, such as FFV1")
    planes = frame_planes(frame)
    # Grey and colours of their own span the full range, and alpha always does.
    plane = planes[3] if len(planes) == 4 else planes[0]
    values = plane.numpy().astype(np.float32)
    if len(planes) == 3 and name.startswith("yuv") and not _is_full(frame):
        step = 2 ** (depth - 8)
        limited: Floats = ((values - 16 * step) / np.float32(219 * step)).clip(0, 1)
        return limited
    full: Floats = values / np.float32(most)
    return full


def _is_full(frame: Any) -> bool:
    return frame.format.name.startswith("yuvj") or int(frame.color_range) == 2


def main(question: str, answer: str, device: str) -> None:
    from pydantic import TypeAdapter

    asked = TypeAdapter(Asked).validate_json(Path(question).read_bytes(), context=JSON_CONTEXT)
    Path(answer).write_bytes(TypeAdapter(Found).dump_json(judge(asked, device)))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except VrmatteError as error:
        sys.exit(f"error: {error}")
