"""The process of a trial: measure the speed of each stage alone, one after the other.

It drives the same chain as `pipeline/segment.py`, and leaves out that stages overlap: each has the
cores that it has there, and waits for the one before. Run as
``python -m orchestrator.estimate.trial_child REQUEST RESULT DEVICE``, in a worker's environment.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.estimate.trial import CodedBytes, Stage, StageRequest, Stages
from pipeline.errors import EncodeError, SettingsError, VrmatteError
from pipeline.stages.matting.catalogue import JSON_CONTEXT

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pipeline.contract import Finding, SegmentJob, VideoSettings
    from pipeline.deliverables.base import Deliverable
    from pipeline.pixels.batches import FrameBatch
    from pipeline.pixels.layers import Layers
    from pipeline.source.reader import Reader
    from pipeline.stages.base import Prepared
    from pipeline.stages.chain import Chain

#: Frames on which a second opinion is asked.
OPINIONS = 3

#: Frames and planes are held between stages up to this many bytes; that bounds how many there are.
HELD_BYTES = 1_500_000_000


class _Meter:
    """Adds up wall and CPU seconds by stage; a GPU's work is over before a clock is read."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sums: dict[str, tuple[int, float, float]] = {}
        self._waiting: dict[str, tuple[float, float]] = {}

    @contextmanager
    def of(self, name: str, frames: int) -> Iterator[None]:
        """Measure what happens inside, as a part of `name`; 0 frames: it does not count."""
        wall, cpu = self._now()
        yield
        ended, cpu_ended = self._now()
        self._add(name, frames, ended - wall, cpu_ended - cpu)

    @contextmanager
    def waiting(self, name: str) -> Iterator[None]:
        """Measure what happens inside, for frames that are told when they come out (`out`)."""
        wall, cpu = self._now()
        yield
        ended, cpu_ended = self._now()
        wall_s, cpu_s = self._waiting.get(name, (0.0, 0.0))
        self._waiting[name] = wall_s + ended - wall, cpu_s + cpu_ended - cpu

    def out(self, frames: int) -> None:
        """That many came out of the stages by all that was waited for since the last time."""
        for name, (wall_s, cpu_s) in self._waiting.items():
            self._add(name, frames, wall_s, cpu_s)
        self._waiting = {}

    def _add(self, name: str, frames: int, wall_s: float, cpu_s: float) -> None:
        if frames:
            count, wall_before, cpu_before = self._sums.get(name, (0, 0.0, 0.0))
            self._sums[name] = count + frames, wall_before + wall_s, cpu_before + cpu_s

    def _now(self) -> tuple[float, float]:
        import torch

        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = time.process_time() + children.ru_utime + children.ru_stime
        return time.perf_counter(), cpu

    def stages(self) -> tuple[Stage, ...]:
        return tuple(Stage(name, *sums) for name, sums in self._sums.items())


def measure(request: StageRequest, folder: Path, device_name: str) -> Stages:
    """All stages, on as many of the frames as memory holds.

    The first chunk goes through the stages before the encoders without being counted: memory is
    taken and kernels are chosen then. An encoder's time is from its start to its whole file.

    Args:
        folder: for the encoders' files.
    """
    begin = time.perf_counter()
    import torch

    from pipeline.clip import ClipReader
    from pipeline.contract import SegmentJob, chunk_frames
    from pipeline.deliverables.kept import needs_fine
    from pipeline.flow.cuda_streams import segment_stream
    from pipeline.source.reader import open_reader
    from pipeline.source.timing.frame_index import index_of
    from pipeline.stages.chain import Chain
    from pipeline.torchcodec_import import decoders  # noqa: F401  what decoding imports

    device = torch.device(device_name)
    # Prompts lie in the work folder of a run, and cost no time that would count.
    settings, video = replace(request.settings, prompts_sha256=None), request.info
    index_path = Path(request.index_path)
    torch.set_num_threads(settings.processing.intra_op_threads)
    imported = time.perf_counter()
    chain = Chain.of(settings, device)
    loaded = time.perf_counter()
    chunk = chunk_frames(video, settings.streaming)
    start = request.start
    frame_bytes = video.even_width * video.even_height * (3 + 2.5 * len(settings.deliverables))
    stop = min(request.stop, start + max(2 * chunk, int(HELD_BYTES / frame_bytes)))
    job = SegmentJob(video, settings, 0, start, stop, str(index_path), str(folder))
    reader = open_reader(
        video,
        index_of(video, index_path),
        device,
        threads=settings.processing.decode_threads,
        fine=needs_fine(video, settings),
        kernels=settings.processing.kernels,
    )
    prepared = chain.prepare(ClipReader(job, reader))
    seen = time.perf_counter()
    meter = _Meter(device)
    # Threads keep what they were told once: small stages have one of their own.
    with (
        segment_stream(device) as lane,
        ThreadPoolExecutor(1, initializer=lane.use) as one_core,
    ):
        batches = one_core.submit(_decode, job, reader, chunk, meter).result()
        shown: list[Layers] = []
        planes, findings = _layers_and_planes(job, chain, prepared, batches, meter, one_core, shown)
    findings += _opinions(settings, device, shown)
    coded = [
        _encode(job, name, [group[place] for group in planes], meter)
        for place, name in enumerate(settings.deliverables)
    ]
    return Stages(
        device="cpu" if device.type == "cpu" else torch.cuda.get_device_name(device),
        decoder=reader.decoder,
        chunk_frames=chunk,
        warmup_frames=chain.warmup_frames,
        import_s=imported - begin,
        load_s=loaded - imported,
        prepare_s=seen - loaded,
        stages=meter.stages(),
        coded=tuple(coded),
        findings=findings if request.settings.prompts_sha256 is None else (),
    )


def _decode(job: SegmentJob, reader: Reader, chunk: int, meter: _Meter) -> list[FrameBatch]:
    """Decode to RGB, and hold it: a decoder that worked ahead would disturb the next stages."""
    source = reader.batches(job.start, job.stop, chunk)
    held = [next(source)]
    with meter.of("decode", job.num_frames - len(held[0])):
        held += source
    return held


def _layers_and_planes(
    job: SegmentJob,
    chain: Chain,
    prepared: Mapping[str, Prepared],
    batches: list[FrameBatch],
    meter: _Meter,
    one_core: ThreadPoolExecutor,
    shown: list[Layers],
) -> tuple[list[list[Tensor]], tuple[Finding, ...]]:
    """Each batch through the chain and to planes.

    Args:
        shown: gets some single frames as they came out of the chain.

    Returns:
        The planes of each, by format; and what the stages found.
    """
    from pipeline.deliverables.base import make_deliverable
    from pipeline.stages.catalogue import output_video
    from pipeline.stages.chain import eyes_of

    video = output_video(job.video, job.settings)
    makers = [make_deliverable(name, video, job.settings) for name in job.settings.deliverables]

    def planes(maker: Deliverable, layers: Layers) -> Tensor:
        return maker.planes(layers).cpu()

    passing = chain.start(job.video.eye_shape, prepared, meter.waiting)
    made: list[list[Tensor]] = []
    for layers in passing.layers(eyes_of(batches, job.video), job.start, job.stop):
        counted = len(layers) if made else 0  # the first do not count
        meter.out(counted)
        group = []
        for maker in makers:
            with meter.of(f"planes {maker.name}", counted):
                group.append(one_core.submit(planes, maker, layers).result())
        made.append(group)
        if len(shown) < OPINIONS and (first := layers.part(layers.start, layers.start + 1)):
            shown.append(first)
    return made, passing.findings(job.start, job.stop)


def _opinions(
    settings: VideoSettings, device: torch.device, shown: list[Layers]
) -> tuple[Finding, ...]:
    """What RVM says of the mattes, where it is at hand; in no stage's time."""
    from pipeline.judge.opinion import SecondOpinion

    opinion = SecondOpinion.at_hand(settings, device)
    return () if opinion is None else tuple(opinion.of(layers) for layers in shown)


def _encode(job: SegmentJob, name: str, planes: list[Tensor], meter: _Meter) -> CodedBytes:
    from pipeline.deliverables.base import make_deliverable
    from pipeline.stages.catalogue import output_video

    maker = make_deliverable(name, output_video(job.video, job.settings), job.settings)
    path = Path(job.work_dir) / f"alone-{name}{maker.suffix}"
    with meter.of(f"encode {name}", job.num_frames):
        encoder = maker.open_segment(path)
        try:
            for part in planes:
                encoder.write(part)
            encoder.close()
        except BaseException:
            encoder.abort()
            raise
    coded = _coded_bytes(name, path, job.num_frames)
    path.unlink()
    return coded


def _coded_bytes(name: str, path: Path, num_frames: int) -> CodedBytes:
    from pipeline.verify.readback import packet_sizes

    try:
        sizes = packet_sizes(path)
    except EncodeError:  # no film but a stack of pictures, one like the other
        return CodedBytes(name, 0, 0, num_frames, path.stat().st_size)
    key = [size for size, is_keyframe in sizes if is_keyframe]
    others = [size for size, is_keyframe in sizes if not is_keyframe]
    return CodedBytes(name, len(key), sum(key), len(others), sum(others))


def main(request_path: str, result: str, device: str) -> None:
    from pydantic import TypeAdapter

    text = Path(request_path).read_bytes()
    request = TypeAdapter(StageRequest).validate_json(text, context=JSON_CONTEXT)
    if request.stop - request.start < 2:
        raise SettingsError("one frame tells nothing about speed", "take a longer clip")
    stages = measure(request, Path(result).parent, device)
    Path(result).write_bytes(TypeAdapter(Stages).dump_json(stages))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except VrmatteError as error:
        sys.exit(f"error: {error}")
