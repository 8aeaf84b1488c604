"""Time of the stages: each its own, none of what it waits; on a device by marks in its queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import segment
from pipeline.contract import SegmentJob, StageTimes, StreamingSettings
from pipeline.flow.overlap import overlap
from pipeline.flow.stage_clock import StageClock, device_marks
from pipeline.judge.meter import MatteMeter
from pipeline.source.video_info import read_video
from pipeline.stages.chain import Chain
from tests.clips import X264, ClipSpec
from tests.render import CPU, chroma_settings

GetClip = Callable[[ClipSpec], Path]
Batches = Generator[tuple[int, ...], None, None]


@dataclass
class Host:
    """A clock that goes on when it is told to."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds


class Device:
    """Does in order what is asked of it, later than that, as a CUDA stream does."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.free_at = 0.0

    def ask_for(self, seconds: float) -> None:
        self.free_at = max(self.free_at, self.host.now) + seconds

    def mark(self) -> DeviceMark:
        return DeviceMark(self)

    def is_waited_for(self) -> None:
        self.host.now = max(self.host.now, self.free_at)


class DeviceMark:
    """Like `torch.cuda.Event`, and cannot be waited for."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.reached_at = max(device.free_at, device.host.now)

    def elapsed_time(self, end_event: DeviceMark) -> float:
        if max(self.reached_at, end_event.reached_at) > self._device.host.now:
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        return 1000 * (end_event.reached_at - self.reached_at)


#: Of one batch: decode, matte, planes, the wait for a free buffer, encode, and what is none of it.
BATCH = st.tuples(*[st.integers(0, 100)] * 6)


def run_in_one_thread(
    clock: StageClock, batches: list[tuple[int, ...]], do: Callable[[int], None], host: Host
) -> None:
    """The way of a frame as `pipeline.segment` puts it together; `do` is the network's work."""

    def decoded() -> Batches:
        for batch in batches:
            host.work(batch[0])
            yield batch

    def matted(frames: Batches) -> Batches:
        for batch in frames:
            do(batch[1])
            yield batch

    def planes(mattes: Batches) -> Batches:
        for batch in mattes:
            do(batch[2])
            with clock.at(None):
                host.work(batch[3])
            yield batch

    frames = clock.stage(None, overlap(clock.stage("decode", decoded()), 0))
    mattes = clock.stage("matte", matted(frames))
    for batch in clock.stage(None, overlap(clock.stage("planes", planes(mattes)), 0)):
        with clock.at("encode"):
            host.work(batch[4])
        host.work(batch[5])


@given(st.lists(BATCH, max_size=6))
def test_in_one_thread_each_stage_has_its_own_time_and_no_more(
    batches: list[tuple[int, ...]],
) -> None:
    host = Host(now=1e6)
    clock = StageClock(now=host)
    run_in_one_thread(clock, batches, host.work, host)
    sums = [sum(batch[place] for batch in batches) for place in range(6)]
    assert clock.times() == StageTimes(sum(sums), sums[0], sums[1], sums[2], sums[4])


@given(st.lists(BATCH, max_size=6))
def test_on_a_device_a_stage_has_the_time_that_the_device_took_for_it(
    batches: list[tuple[int, ...]],
) -> None:
    host = Host()
    device = Device(host)
    clock = StageClock(device.mark, host)
    run_in_one_thread(clock, batches, device.ask_for, host)
    device.is_waited_for()
    times = clock.times()
    sums = [sum(batch[place] for batch in batches) for place in range(6)]
    assert (times.decode_s, times.encode_s) == (sums[0], sums[4])
    assert (times.matte_s, times.planes_s) == pytest.approx((sums[1], sums[2]))
    assert times.matte_s + times.planes_s <= times.wall_s + 1e-6


def test_marks_are_read_when_the_device_has_come_to_them() -> None:
    host = Host()
    device = Device(host)
    clock = StageClock(device.mark, host)
    with clock.at("matte"):
        device.ask_for(5)
    with pytest.raises(RuntimeError, match="must be completed"):
        clock.times()
    device.is_waited_for()
    assert clock.times() == StageTimes(5, 0, 5, 0, 0)


def test_a_slow_host_is_the_stages_time_too() -> None:
    """Kernels that are shorter than their launch."""
    host = Host()
    device = Device(host)
    clock = StageClock(device.mark, host)
    with clock.at("matte"):
        for _ in range(4):
            host.work(1)
            device.ask_for(0.25)
    device.is_waited_for()
    assert clock.times().matte_s == 4.25


def test_between_threads_whoever_waits_is_at_nothing() -> None:
    host = Host()
    clock = StageClock(now=host)
    names: list[str] = []

    def decoded() -> Generator[int, None, None]:
        names.append(threading.current_thread().name)
        host.work(100)
        yield 1

    for _ in clock.stage(None, overlap(clock.stage("decode", decoded()), 2)):
        with clock.at("matte"):
            host.work(1)
    times = clock.times()
    assert names == ["overlap"]
    assert times.matte_s == 1
    assert 100 <= times.decode_s <= 101  # it may look for another frame in that last second


def test_closing_and_failing_pass_through() -> None:
    closed: list[int] = []

    def source() -> Generator[int, None, None]:
        try:
            yield 1
            raise KeyError("lost")
        finally:
            closed.append(1)

    clock = StageClock()
    stage = clock.stage("decode", source())
    assert next(stage) == 1
    stage.close()
    assert closed == [1]
    stage = clock.stage("decode", source())
    assert next(stage) == 1
    with pytest.raises(KeyError, match="lost"):
        next(stage)


# On the way of a frame.


@pytest.fixture(scope="module")
def job(clip: GetClip, tmp_path_factory: pytest.TempPathFactory) -> SegmentJob:
    folder = tmp_path_factory.mktemp("stages")
    index_path = folder / "index.json"
    video = read_video(clip(ClipSpec("h264.mp4", X264)), index_path, "sbs")
    settings = replace(chroma_settings(), streaming=StreamingSettings(chunk_frames=2))
    return SegmentJob(video, settings, 0, 0, 6, str(index_path), str(folder))


def measured(job: SegmentJob) -> StageTimes:
    stages = segment.run_segment(job, Chain.of(job.settings, CPU), CPU).stages
    assert stages is not None
    assert all(0 < seconds <= stages.wall_s for seconds in astuple(stages))
    return stages


def test_a_segment_in_one_thread_has_no_more_time_than_there_is(
    job: SegmentJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert device_marks(CPU) is None
    monkeypatch.setattr(segment, "_depth", lambda job, device: 0)
    stages = measured(job)
    together = stages.decode_s + stages.matte_s + stages.planes_s + stages.encode_s
    assert together <= stages.wall_s + 1e-5


def test_a_segment_reads_its_marks_when_the_device_was_waited_for(
    job: SegmentJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measures of the matte are the last that the device is asked for, and waited for."""
    waited = threading.Event()
    real = MatteMeter.measures

    class LateMark:
        def __init__(self) -> None:
            assert not waited.is_set()
            self.at = time.perf_counter()

        def elapsed_time(self, end_event: LateMark) -> float:
            assert waited.is_set()
            return 1000 * (end_event.at - self.at)

    def measures(meter: MatteMeter, disagreement: object) -> object:
        waited.set()
        return real(meter, disagreement)  # type: ignore[arg-type]

    monkeypatch.setattr(MatteMeter, "measures", measures)
    monkeypatch.setattr(segment, "device_marks", lambda device: LateMark)
    stages = measured(job)
    assert stages.matte_s + stages.planes_s <= stages.wall_s + 1e-5
