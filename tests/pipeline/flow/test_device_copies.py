"""Copies that leave a device: right when used, bounded, and no deadlock however a segment ends.

The double does each copy as late as CUDA may, when it is waited for, out of data that are done then
(a stream's order keeps them), into memory that holds noise until then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline import segment
from pipeline.contract import SegmentJob, StreamingSettings
from pipeline.errors import EncodeError, Stopped
from pipeline.flow.cuda_streams import segment_stream
from pipeline.flow.device_copies import CudaTransfer, HostCopy, HostRing, RingClosed, to_device
from pipeline.flow.overlap import overlap
from pipeline.pixels.batches import EyeBatch, MatteBatch
from pipeline.source.video_info import read_video
from pipeline.stages.chain import Chain
from pipeline.stages.matting.base import ClipSampler, Prepared
from tests.chains import chain_around
from tests.clips import X264, ClipSpec
from tests.render import CPU, chroma_settings

GetClip = Callable[[ClipSpec], Path]


class LateCopy:
    def __init__(self, data: Tensor, target: Tensor) -> None:
        self._data, self._target = data.clone(), target

    def synchronize(self) -> None:
        self._target.copy_(self._data)


class LateTransfer:
    """Every tensor is on a device; counts the memory that was asked for."""

    def __init__(self) -> None:
        self.buffers: list[int] = []

    def is_needed(self, data: Tensor) -> bool:
        return True

    def buffer(self, num_bytes: int) -> Tensor:
        self.buffers.append(num_bytes)
        return torch.randint(0, 256, (num_bytes,), dtype=torch.uint8)

    def begin(self, data: Tensor, target: Tensor) -> LateCopy:
        target.random_(0, 256)
        return LateCopy(data, target)

    def mark(self) -> LateCopy:
        return LateCopy(torch.empty(0), torch.empty(0))


@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=12), slots=st.integers(1, 4))
def test_what_arrives_is_what_was_sent_in_no_more_buffers_than_slots(
    sizes: list[int], slots: int
) -> None:
    transfer = LateTransfer()
    ring = HostRing(slots, transfer)
    sent = [torch.randint(0, 256, (size, 5), dtype=torch.uint8) for size in sizes]

    def copies() -> Iterator[HostCopy]:
        for data in sent:
            yield ring.begin(data)

    arrived = []
    for copy in overlap(copies(), 2):
        with copy.arrived() as data:
            assert len(copy) == len(data)
            arrived.append(data.clone())
    assert all(map(torch.equal, arrived, sent))
    # A larger batch than any before takes new memory for its place.
    assert len(transfer.buffers) <= slots + len(sizes)
    if len(set(sizes)) == 1:
        assert len(transfer.buffers) <= slots


def test_a_slot_is_not_used_again_before_its_copy_was() -> None:
    ring = HostRing(2, LateTransfer())
    copies = [ring.begin(torch.full((1, 4), value, dtype=torch.uint8)) for value in (1, 2)]
    third: list[HostCopy] = []
    begun = threading.Event()

    def begin_third() -> None:
        third.append(ring.begin(torch.full((1, 4), 3, dtype=torch.uint8)))
        begun.set()

    thread = threading.Thread(target=begin_third)
    thread.start()
    assert not begun.is_set()
    with copies[0].arrived() as data:
        assert not begun.is_set()
        assert data.tolist() == [[1] * 4]
    thread.join()
    for copy, value in ((copies[1], 2), (third[0], 3)):
        with copy.arrived() as data:
            assert data.tolist() == [[value] * 4]


def test_whoever_waits_for_a_slot_is_let_go() -> None:
    ring = HostRing(1, LateTransfer())
    ring.begin(torch.zeros(1, 4, dtype=torch.uint8))

    def more() -> Iterator[HostCopy]:
        yield ring.begin(torch.zeros(1, 4, dtype=torch.uint8))

    stage = overlap(more(), 1)
    threading.Timer(0, ring.close).start()
    with pytest.raises(RingClosed):
        next(stage)


def test_on_the_cpu_nothing_is_copied() -> None:
    data = torch.zeros(2, 3, dtype=torch.uint8)
    ring = HostRing(1)
    for _ in range(3):  # nor does it take a slot
        with ring.begin(data).arrived() as there:
            assert there is data
    assert to_device(data, CPU) is data
    with segment_stream(CPU) as lane:
        lane.use()
        assert lane.transfer is None


@pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning")
def test_without_pinned_memory_there_is_other(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.empty

    def refuses(*size: object, pin_memory: bool = False, **named: object) -> Tensor:
        if pin_memory:
            raise RuntimeError("CUDA error: out of memory\nmore")
        return real(*size, **named)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(torch, "empty", refuses)
    memory = CudaTransfer().buffer(7)
    assert memory.shape == (7,)
    assert not memory.is_pinned()


# The same, on the way of a frame.


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> LateTransfer:
    transfer = LateTransfer()
    monkeypatch.setattr(segment, "HostRing", partial(HostRing, transfer=transfer))
    return transfer


def job_of(path: Path, folder: Path) -> SegmentJob:
    folder.mkdir(exist_ok=True)
    index_path = folder / "index.json"
    settings = replace(
        chroma_settings(),
        deliverables=("webm", "matte"),
        streaming=StreamingSettings(segment_frames=50, chunk_frames=3),
    )
    video = read_video(path, index_path, "sbs")
    return SegmentJob(video, settings, 0, 0, 20, str(index_path), str(folder))


def test_a_segment_is_the_same_by_late_copies(
    clip: GetClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip(ClipSpec("h264.mp4", X264))
    plain = job_of(path, tmp_path / "plain")
    chain = Chain.of(plain.settings, CPU)
    expected = segment.run_segment(plain, chain, CPU)
    transfer = LateTransfer()
    monkeypatch.setattr(segment, "HostRing", partial(HostRing, transfer=transfer))
    found = segment.run_segment(job_of(path, tmp_path / "late"), chain, CPU)
    assert found.digests == expected.digests
    assert len(transfer.buffers) <= 2 * segment._COPIES


class Failing:
    """A model that fails at a frame."""

    name: ClassVar[str] = "failing"
    warmup_frames = 0

    def __init__(self, at: int) -> None:
        self._at = at

    def prepare(self, clip: ClipSampler) -> Prepared:
        return {}

    def start(self, eyes: int, height: int, width: int, prepared: Prepared) -> None: ...

    def matte(self, eyes: EyeBatch, state: None) -> MatteBatch:
        if eyes.start >= self._at:
            raise KeyError("the model is gone")
        shape = (len(eyes), eyes.eyes, 1, *eyes.rgb.shape[3:])
        return MatteBatch(torch.ones(shape), None, eyes.start)


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize("frame", [0, 9])
def test_a_model_that_fails_ends_the_segment(clip: GetClip, tmp_path: Path, frame: int) -> None:
    job = job_of(clip(ClipSpec("h264.mp4", X264)), tmp_path)
    with pytest.raises(KeyError, match="the model is gone"):
        segment.run_segment(job, chain_around(Failing(frame), job.settings), CPU)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.usefixtures("late")
def test_an_encoder_that_fails_and_a_stop_end_it_while_all_slots_are_taken(
    clip: GetClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(clip(ClipSpec("h264.mp4", X264)), tmp_path)
    full = threading.Event()
    real = HostRing.begin

    def counted(ring: HostRing, data: Tensor) -> HostCopy:
        if ring._in_use == segment._COPIES:
            full.set()
        return real(ring, data)

    monkeypatch.setattr(HostRing, "begin", counted)

    def when_full() -> bool:
        assert full.wait(60)
        return True

    with pytest.raises(Stopped):
        segment.run_segment(
            job, chain_around(Failing(1000), job.settings), CPU, should_stop=when_full
        )

    def broken(encoder: object, planes: Tensor) -> None:
        assert full.wait(60)
        raise EncodeError("the encoder is gone")

    full.clear()
    monkeypatch.setattr("pipeline.encode.ffmpeg_pipe.PipeEncoder.write", broken)
    with pytest.raises(EncodeError, match="is gone"):
        segment.run_segment(job, chain_around(Failing(1000), job.settings), CPU)
    assert not list(tmp_path.glob("*.part"))
    assert not [t for t in threading.enumerate() if t.name == "overlap"]
