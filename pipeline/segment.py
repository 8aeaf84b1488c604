"""Makes one segment of one video: decode, chain of stages, planes, encode, check."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import torch

from pipeline.clip import ClipReader, prepared_data
from pipeline.contract import (
    AS_ASKED,
    Concession,
    Finding,
    SegmentJob,
    SegmentResult,
    chunk_frames,
    is_huge,
)
from pipeline.deliverables.base import Deliverable, make_deliverable
from pipeline.deliverables.format import parted
from pipeline.deliverables.kept import needs_fine
from pipeline.encode.ffmpeg_pipe import Encoder
from pipeline.errors import InputError, Stopped
from pipeline.files.disk import disk_error, refusal, writing
from pipeline.files.segment_files import commit, segment_drafts
from pipeline.flow.cuda_streams import segment_stream
from pipeline.flow.device_copies import HostCopy, HostRing
from pipeline.flow.overlap import overlap
from pipeline.flow.stage_clock import StageClock, device_marks
from pipeline.kernels.choice import way_on
from pipeline.pixels.batches import FrameBatch
from pipeline.pixels.labels import layers_of_object
from pipeline.pixels.layers import Layers
from pipeline.source.reader import open_reader
from pipeline.source.timing.frame_index import FrameIndex, index_of
from pipeline.source.unchanged import require_unchanged
from pipeline.stages.catalogue import output_video
from pipeline.stages.chain import Chain, eyes_of
from pipeline.verify.selfcheck import Sample, sample_every, take_sample

#: Batches that may wait between two stages.
_DEPTH = 2

#: Of each format, on their way to the host or there: one is written, the others wait.
_COPIES = 3

#: Of the whole matte (None), and of single objects by their numbers, as far as files show them.
Samples = dict[int | None, list[Sample]]


def run_segment(
    job: SegmentJob,
    chain: Chain,
    device: torch.device,
    *,
    concession: Concession = AS_ASKED,
    own_folder: Path | None = None,
    on_progress: Callable[[int], None] = lambda frames_done: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SegmentResult:
    """Make one segment and leave one whole, checked file a deliverable in the work folder.

    Args:
        chain: the stages that the job's settings ask for, made for `device`.
        concession: what is made easier than the settings ask; no frame is left out.
        own_folder: a folder of this process alone, in which the files are written and checked
            before they get to the work folder; None: in that one itself.
        on_progress: called with the number of frames given to the encoders so far.
        should_stop: asked between batches; when it says yes the segment is dropped.

    Raises:
        Stopped: `should_stop` said yes.
        VrmatteError: by its kind.
    """
    clock = StageClock(device_marks(device))
    require_unchanged(job.video)
    index = _frame_index(job)
    video = output_video(job.video, job.settings)
    if (shape := chain.shape(job.video.eye_shape)) != video.eye_shape:
        raise RuntimeError(f"the stages give {shape}, their rows say {video.eye_shape}")
    deliverables = [make_deliverable(n, video, job.settings) for n in job.settings.deliverables]
    targets = [segment_path(job, deliverable) for deliverable in deliverables]
    with segment_stream(device) as lane:

        def set_threads() -> None:
            torch.set_num_threads(job.settings.processing.intra_op_threads)

        def on_thread() -> None:
            set_threads()
            lane.use()

        reader = open_reader(
            job.video,
            index,
            device,
            threads=job.settings.processing.decode_threads,
            cpu_decode=concession.cpu_decode,
            fine=needs_fine(job.video, job.settings),
            kernels=job.settings.processing.kernels,
        )
        chunk = max(1, chunk_frames(job.video, job.settings.streaming) // concession.chunk_divisor)
        with clock.at("matting"):
            prepared = prepared_data(job, chain.stages, ClipReader(job, reader))
        depth = _depth(job, device)
        decoded = clock.stage(
            "decode", chain.decoded(reader, job.video, job.start, job.stop, chunk)
        )
        ahead = lane.decode_ahead(decoded, depth, FrameBatch.tensors, set_threads)
        frames = clock.stage(None, ahead)
        passing = chain.start(job.video.eye_shape, prepared, clock.at)
        layers = passing.layers(eyes_of(frames, job.video), job.start, job.stop)
        samples: Samples = {parted(d.name)[1]: [] for d in deliverables}
        waiting = partial(clock.at, None)
        to_host = HostRing if lane.transfer is None else partial(HostRing, transfer=lane.transfer)
        rings = [to_host(_COPIES, stays=_stays_on_device(d), waiting=waiting) for d in deliverables]
        made = clock.stage("planes", _planes(job, deliverables, layers, samples, rings))
        planes = clock.stage(None, overlap(made, depth, on_thread=on_thread))
        with ExitStack() as ends:  # the last first: who waits for a buffer is then waited for
            ends.enter_context(closing(frames))
            ends.enter_context(closing(planes))
            for ring in rings:
                ends.enter_context(closing(ring))
            ends.enter_context(clock.at("encode"))
            with segment_drafts(targets, own_folder) as drafts:
                _encode(job, deliverables, drafts, planes, samples, on_progress, should_stop)
                pairs = zip(drafts, targets, strict=True)
                digests = tuple(commit(draft, target) for draft, target in pairs)
        findings = (*passing.findings(job.start, job.stop), *_by_torch(job, device))
        # The findings came after all that the device was asked for, so its marks can be read.
        stage_seconds, wall_s = clock.stage_seconds(), clock.wall_s()
    concealed = {frame for frame in reader.concealed_frames if job.start <= frame < job.stop}
    return SegmentResult(
        files=tuple(str(target) for target in targets),
        num_frames=job.num_frames,
        concealed_frames=len(concealed),
        decoder=reader.decoder,
        digests=digests,
        findings=findings,
        stage_seconds=stage_seconds,
        wall_s=wall_s,
    )


def _by_torch(job: SegmentJob, device: torch.device) -> Iterator[Finding]:
    """What PyTorch did although a kernel was asked for: the report has a note on each."""
    for name, reason in way_on(device, job.settings.processing.kernels).notes.items():
        yield Finding("kernels", f"{name} by PyTorch", job.start, job.stop - 1, detail=reason)


def segment_path(job: SegmentJob, deliverable: Deliverable) -> Path:
    """Where the segment's file of that deliverable lies."""
    folder = Path(job.work_dir)
    return folder / f"{deliverable.name}-{job.number:06d}{deliverable.suffix}"


def _frame_index(job: SegmentJob) -> FrameIndex:
    path = Path(job.index_path)
    try:
        return index_of(job.video, path)
    except InputError as error:
        if (trouble := refusal(path.parent)) is not None:
            raise disk_error(trouble, path) from error
        raise


def _depth(job: SegmentJob, device: torch.device) -> int:
    """One huge batch is enough to wait, and on a CPU, which it fills by itself, none."""
    if not is_huge(job.video):
        return _DEPTH
    return 0 if device.type == "cpu" else 1


def _stays_on_device(deliverable: Deliverable) -> bool:
    """Whether its encoder takes planes where they are; most kinds do not speak of it."""
    return bool(getattr(deliverable, "stays_on_device", False))


def _planes(
    job: SegmentJob,
    deliverables: Sequence[Deliverable],
    passing: Iterator[Layers],
    samples: Samples,
    rings: Sequence[HostRing],
) -> Generator[list[HostCopy], None, None]:
    """The planes of each deliverable, on their way to the host: all that leaves the device, but
    for what an encoder takes from the device's own memory.

    A few frames leave their sample, to be compared with the files when they are closed; only those
    are waited for here.
    """
    every = sample_every(job.video, job.settings)
    for layers in passing:
        for t in range(len(layers)):
            number = layers.start + t - job.start
            if number % every == 0:
                for of, taken in samples.items():
                    taken.append(_sample(layers, t, number, of))
        yield [
            ring.begin(deliverable.planes(layers))
            for deliverable, ring in zip(deliverables, rings, strict=True)
        ]
        del layers


def _sample(layers: Layers, t: int, number: int, of: int | None) -> Sample:
    """Of frame `t` of a batch; of one object alone, if `of` is its number."""
    if of is None:
        return take_sample(layers, t, number)
    one = layers.part(layers.start + t, layers.start + t + 1)
    assert one is not None
    return take_sample(layers_of_object(one, of), 0, number)


def _encode(
    job: SegmentJob,
    deliverables: Sequence[Deliverable],
    drafts: Sequence[Path],
    planes: Iterator[list[HostCopy]],
    samples: Samples,
    on_progress: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> None:
    """Write every batch to every encoder, then check the files."""
    encoders: list[Encoder] = []
    done = 0
    try:
        for deliverable, draft in zip(deliverables, drafts, strict=True):
            encoders.append(deliverable.open_segment(draft))
        for batch in planes:
            if should_stop():
                raise Stopped("stopped on demand")
            for encoder, part in zip(encoders, batch, strict=True):
                with part.arrived() as data:
                    encoder.write(data)
                del data, part
            done += len(batch[0])
            del batch
            on_progress(done)
        for encoder in encoders:
            encoder.close()
        require_unchanged(job.video)
        for deliverable, draft in zip(deliverables, drafts, strict=True):
            with writing(draft):
                draft.stat()  # a file that was removed while it was written
            own = samples[parted(deliverable.name)[1]]
            deliverable.check_segment(draft, job.num_frames, own)
    except BaseException:
        for encoder in encoders:
            encoder.abort()
        raise
