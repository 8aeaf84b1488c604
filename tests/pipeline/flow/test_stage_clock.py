"""Time of the stages: each its own, none of what it waits; on a device by marks in its queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import segment
from pipeline.contract import SegmentJob, SegmentResult, StreamingSettings
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


#: The steps of a segment; those in between have the names of their stages.
NAMES = ("decode", "any name", "planes", "encode")
#: Steps with threads of their own.
SIDE_BY_SIDE = ("decode", "encode")

#: Of one batch: decode, a stage, planes, the wait for a free buffer, encode, and the rest.
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
    mattes = clock.stage("any name", matted(frames))
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
    assert clock.wall_s() == sum(sums)
    seconds = clock.stage_seconds()
    expected = dict(zip(NAMES, (sums[0], sums[1], sums[2], sums[4]), strict=True))
    assert seconds == {stage: expected[stage] for stage in seconds}, "and none of the waits"
    assert tuple(seconds) == tuple(stage for stage in NAMES if stage in seconds)
    assert tuple(seconds) == NAMES or not batches


@given(st.lists(BATCH, max_size=6))
def test_on_a_device_a_stage_has_the_time_that_the_device_took_for_it(
    batches: list[tuple[int, ...]],
) -> None:
    host = Host()
    device = Device(host)
    clock = StageClock(device.mark, host)
    run_in_one_thread(clock, batches, device.ask_for, host)
    device.is_waited_for()
    seconds = dict.fromkeys(NAMES, 0.0) | clock.stage_seconds()
    sums = [sum(batch[place] for batch in batches) for place in range(6)]
    assert (seconds["decode"], seconds["encode"]) == (sums[0], sums[4])
    assert (seconds["any name"], seconds["planes"]) == pytest.approx((sums[1], sums[2]))
    assert seconds["any name"] + seconds["planes"] <= clock.wall_s() + 1e-6


def test_marks_are_read_when_the_device_has_come_to_them() -> None:
    host = Host()
    device = Device(host)
    clock = StageClock(device.mark, host)
    with clock.at("matte"):
        device.ask_for(5)
    with pytest.raises(RuntimeError, match="must be completed"):
        clock.stage_seconds()
    device.is_waited_for()
    assert (clock.stage_seconds(), clock.wall_s()) == ({"matte": 5}, 5)


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
    assert clock.stage_seconds() == {"matte": 4.25}


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
    seconds = clock.stage_seconds()
    assert names == ["overlap"]
    assert seconds["matte"] == 1
    assert 100 <= seconds["decode"] <= 101  # it may look for another frame in that last second


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


def measured(job: SegmentJob) -> SegmentResult:
    result = segment.run_segment(job, Chain.of(job.settings, CPU), CPU)
    first, *between, planes, encode = result.stage_seconds
    assert (first, planes, encode) == ("decode", "planes", "encode")
    assert between == ["matting", "stereo", "judge"]
    assert all(0 < seconds <= result.wall_s for seconds in result.stage_seconds.values())
    return result


def test_a_segment_in_one_thread_has_no_more_time_than_there_is(
    job: SegmentJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert device_marks(CPU) is None
    monkeypatch.setattr(segment, "_depth", lambda job, device: 0)
    result = measured(job)
    assert sum(result.stage_seconds.values()) <= result.wall_s + 1e-5


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

    def measures(meter: MatteMeter, *rest: Any) -> object:
        waited.set()
        return real(meter, *rest)

    monkeypatch.setattr(MatteMeter, "measures", measures)
    monkeypatch.setattr(segment, "device_marks", lambda device: LateMark)
    result = measured(job)
    one_by_one = [s for stage, s in result.stage_seconds.items() if stage not in SIDE_BY_SIDE]
    assert sum(one_by_one) <= result.wall_s + 1e-5
