"""Nobody reads what is not there yet: a ledger of streams and events on the way of a frame.

A double of CUDA's streams and events keeps for each stream what it is sure to come after. Work is
done at once on the CPU, so that files come out right; the ledger says what a GPU might have done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline import segment
from pipeline.flow import cuda_streams
from pipeline.flow.cuda_streams import segment_stream
from pipeline.flow.device_copies import CudaTransfer, HostCopy
from pipeline.segment import run_segment
from pipeline.source import decode
from pipeline.stages.chain import Chain
from tests.chains import chain_around
from tests.clips import X264, ClipSpec
from tests.pipeline.flow.test_device_copies import Failing, job_of
from tests.render import CPU

GetClip = Callable[[ClipSpec], Path]

#: How much of each stream's work is sure to be done.
Clock = dict[int, int]


@dataclass
class Memory:
    """A storage: who made it, who wrote to it last, and who may still read it when it is let go."""

    made_on: int
    written: tuple[int, int]
    kept_for: set[int] = field(default_factory=set)
    read_on: set[int] = field(default_factory=set)


class Ledger:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.clocks: dict[int, Clock] = {}
        self.hosts: dict[int, Clock] = {}
        self.memory: dict[int, Memory] = {}
        self.wrong: set[str] = set()
        self.streams_used: set[int] = set()
        self.alive: list[torch.UntypedStorage] = []

    def work(self, stream: int, reads: list[Tensor], writes: list[Tensor]) -> None:
        with self.lock:
            self.streams_used.add(stream)
            # An address that the host got again would still be told as the GPU's.
            self.alive += [tensor.untyped_storage() for tensor in (*reads, *writes)]
            clock = self.clocks.setdefault(stream, {})
            merge(clock, self.hosts.get(threading.get_ident(), {}))
            clock[stream] = clock.get(stream, 0) + 1
            for tensor in reads:
                if (known := self.memory.get(place(tensor))) is not None:
                    self._require(known, clock, f"stream {stream}")
                    known.read_on.add(stream)
            for tensor in writes:
                known = self.memory.get(place(tensor))
                if known is None or not any(place(tensor) == place(given) for given in reads):
                    known = self.memory[place(tensor)] = self._anew(tensor, stream, clock)
                known.written = (stream, clock[stream])

    def _anew(self, tensor: Tensor, stream: int, clock: Clock) -> Memory:
        self.let_go(place(tensor))
        return Memory(stream, (stream, clock[stream]))

    def let_go(self, where: int) -> None:
        before = self.memory.pop(where, None)
        if before is not None and not before.read_on <= before.kept_for | {before.made_on}:
            self.wrong.add("memory was given away under a reader")

    def _require(self, known: Memory, clock: Clock, who: str) -> None:
        stream, count = known.written
        if clock.get(stream, 0) < count:
            self.wrong.add(f"{who} reads what stream {stream} has not written yet")

    def host_reads(self, tensor: Tensor) -> None:
        with self.lock:
            known = self.memory.get(place(tensor))
            if known is not None:
                clock = self.hosts.get(threading.get_ident(), {})
                self._require(known, clock, "the host")

    def close(self) -> set[str]:
        for where in list(self.memory):
            self.let_go(where)
        return self.wrong


def place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def merge(clock: Clock, other: Clock) -> None:
    for stream, count in other.items():
        clock[stream] = max(clock.get(stream, 0), count)


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the work of one thread under the stream that is current there."""

    def __init__(self, cuda: Cuda) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cuda = cuda

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        results = [x for x in tree_leaves(made) if isinstance(x, Tensor) and x.numel()]
        views = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
        changed = []
        for number, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = args[number] if number < len(args) else (kwargs or {}).get(argument.name)
                changed += [x for x in tree_leaves(value) if isinstance(x, Tensor)]
        stream = self._cuda.current()
        if stream is not None and not views:
            self._cuda.ledger.work(stream.number, given, [*results, *changed])
        return made


class Stream:
    def __init__(self, cuda: Cuda, number: int) -> None:
        self.cuda, self.number, self.cuda_stream = cuda, number, number
        self.device = torch.device("cuda:0")

    def wait_event(self, event: Event) -> None:
        if self.cuda.broken != "wait_event":
            self._after(event.clock)

    def wait_stream(self, other: Stream) -> None:
        if self.cuda.broken != "wait_stream":
            self._after(self.cuda.ledger.clocks.get(other.number, {}))

    def _after(self, clock: Clock) -> None:
        with self.cuda.ledger.lock:
            merge(self.cuda.ledger.clocks.setdefault(self.number, {}), dict(clock))


class Event:
    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self.clock: Clock = {}

    def record(self) -> None:
        stream = self._cuda.current()
        assert stream is not None
        with self._cuda.ledger.lock:
            self.clock = dict(self._cuda.ledger.clocks.get(stream.number, {}))

    def synchronize(self) -> None:
        if self._cuda.broken != "synchronize":
            ledger = self._cuda.ledger
            with ledger.lock:
                merge(ledger.hosts.setdefault(threading.get_ident(), {}), self.clock)


class Cuda:
    """`torch.cuda`, as far as lanes use it."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.broken = ""
        self.default = Stream(self, 0)
        self.priorities: list[int] = []
        self._here = threading.local()

    def current(self) -> Stream | None:
        return getattr(self._here, "stream", None)

    def new_stream(self, device: torch.device, priority: int = 0) -> Stream:
        self.priorities.append(priority)
        return Stream(self, len(self.priorities))

    def set_stream(self, stream: Stream) -> None:
        if self.current() is None:  # a thread that ends with it
            Watch(self).__enter__()  # type: ignore[no-untyped-call]
        self._here.stream = stream

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before = self.current()
        self._here.stream = stream
        try:
            if before is None:
                with Watch(self):
                    yield
            else:
                yield
        finally:
            self._here.stream = before

    def keep(self, tensor: Tensor, stream: Stream) -> None:
        if self.broken != "record_stream":
            with self.ledger.lock:
                if (known := self.ledger.memory.get(place(tensor))) is not None:
                    known.kept_for.add(stream.number)


class EveryTensor(CudaTransfer):
    """All tensors are on the GPU, and no memory is pinned."""

    def is_needed(self, data: Tensor) -> bool:
        return True

    def buffer(self, num_bytes: int) -> Tensor:
        return torch.from_numpy(
            np.zeros(num_bytes, dtype=np.uint8)
        )  # the host's: made by no stream


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    cuda = Cuda()
    monkeypatch.setattr(torch.cuda, "Stream", cuda.new_stream)
    monkeypatch.setattr(torch.cuda, "Event", lambda **_: Event(cuda))
    monkeypatch.setattr(torch.cuda, "stream", cuda.stream)
    monkeypatch.setattr(torch.cuda, "set_stream", cuda.set_stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _=None: cuda.current())
    monkeypatch.setattr(torch.cuda, "default_stream", lambda _: cuda.default)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda t, stream: cuda.keep(t, stream))
    monkeypatch.setattr(cuda_streams, "_idle", [])
    monkeypatch.setattr(cuda_streams, "CudaTransfer", EveryTensor)
    monkeypatch.setattr(segment, "segment_stream", lambda _: segment_stream(torch.device("cuda:0")))
    real = HostCopy.arrived

    @contextmanager
    def arrived(copy: HostCopy) -> Iterator[Tensor]:
        with real(copy) as data:
            cuda.ledger.host_reads(data)
            yield data

    monkeypatch.setattr(HostCopy, "arrived", arrived)
    return cuda


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ("", set()),
        ("wait_event", {"stream 1 reads what stream 2 has not written yet"}),
        ("wait_stream", {"stream 3 reads what stream 1 has not written yet"}),
        ("synchronize", {"the host reads what stream 3 has not written yet"}),
        ("record_stream", {"memory was given away under a reader"}),
    ],
)
def test_decoder_stages_and_copies_wait_for_each_other(
    broken: str, expected: set[str], cuda: Cuda, clip: GetClip, tmp_path: Path
) -> None:
    cuda.broken = broken
    job = job_of(clip(ClipSpec("h264.mp4", X264)), tmp_path / "streams")
    job = replace(job, stop=6, settings=replace(job.settings, deliverables=("webm",)))
    found = run_segment(job, chain_around(Failing(1000), job.settings), CPU)
    assert found.num_frames == 6
    assert cuda.ledger.streams_used == {1, 2, 3}
    assert cuda.priorities == [0, -1, 0], "the decoder's goes before"
    wrong = cuda.ledger.close()
    assert wrong == expected if not broken else wrong >= expected


def test_three_streams_alter_no_bit(
    cuda: Cuda, clip: GetClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(job_of(clip(ClipSpec("h264.mp4", X264)), tmp_path / "streams"), stop=6)
    chain = Chain.of(job.settings, CPU)
    found = run_segment(job, chain, CPU)
    monkeypatch.undo()
    plain = replace(job, work_dir=str(tmp_path / "plain"))
    (tmp_path / "plain").mkdir()
    assert run_segment(plain, chain, CPU).digests == found.digests


def test_the_next_segment_takes_the_streams_of_the_last(cuda: Cuda) -> None:
    with segment_stream(torch.device("cuda:0")), segment_stream(torch.device("cuda:0")):
        pass
    with segment_stream(torch.device("cuda:0")):
        pass
    assert len(cuda.priorities) == 6


def test_nvdec_gets_no_packet_before_its_surface_was_read(
    clip: GetClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the driver would hold the surface back is written nowhere."""
    from pipeline.source.decode import FrameReader
    from pipeline.source.raw_frames import raw_frames
    from pipeline.source.timing.frame_index import index_of

    job = job_of(clip(ClipSpec("h264.mp4", X264)), tmp_path / "nvdec")
    order: list[str] = []

    def noted(*arguments: Any) -> Iterator[Any]:
        for raw in raw_frames(*arguments):
            order.append("surface")
            yield raw

    monkeypatch.setattr(decode, "raw_frames", noted)
    monkeypatch.setattr(decode, "settle", lambda device: order.append("settled"))
    monkeypatch.setattr(decode, "_surfaces", lambda video: ("yuv420p",))
    reader = FrameReader(job.video, index_of(job.video, Path(job.index_path)), CPU)
    reader.decoder = "NVDEC"
    list(reader.batches(0, 6, 3))
    assert order == ["surface", "settled"] * 6
    order.clear()
    reader.decoder = "CPU"
    list(reader.batches(0, 6, 3))
    assert "settled" not in order
