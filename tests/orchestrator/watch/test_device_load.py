"""The load of the devices: figures in, shares out; remembered in bounded room."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.watch.device_load import (
    DeviceLoad,
    Elsewhere,
    History,
    LoadMeter,
    LoadPoint,
    mean,
)
from workers.telemetry import GpuSample, Usage, WorkerSample


def point(seconds: float, cpu: float = 0.5, busy: float | None = 0.5) -> LoadPoint:
    return LoadPoint(seconds, (DeviceLoad(0, 0, "L4", busy, cpu=cpu),), cpu, 100)


class Machine:
    """Two workers, the first with a GPU; a clock and counters that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pids = {0: 100, 1: 200}
        self.cpu_s = {100: 0.0, 200: 0.0}
        self.elsewhere: dict[int, Elsewhere] = {}
        self.gpus = [
            GpuSample(7, "L4", 93, 6 << 30, 24 << 30, None, 77, None, 71, "GPU-a"),
        ]

    def usage(self, root: int, members: Iterable[int]) -> tuple[Usage, dict[int, Usage]]:
        each = {pid: Usage(self.cpu_s.get(pid, 0.0), 1000) for pid in members}
        return sum(each.values(), Usage(0.0, 50)), each

    def meter(self) -> LoadMeter:
        return LoadMeter(
            {0: (0, "GPU-a"), 1: None},
            lambda: self.pids,
            cores=4,
            elsewhere=lambda: self.elsewhere,
            sample=lambda: self.gpus,
            usage=self.usage,
            clock=lambda: self.now,
        )


def test_shares_are_of_the_time_since_the_sample_before() -> None:
    machine = Machine()
    meter = machine.meter()
    meter.take()
    machine.now = 2.0
    machine.cpu_s = {100: 2.0, 200: 6.0}
    taken = meter.take()
    assert taken.seconds == 2.0
    assert [device.cpu for device in taken.devices] == [0.25, 0.75]
    assert taken.cpu == 1.0
    assert taken.rss_bytes == 2050
    assert meter.last() == taken


def test_what_was_used_before_it_began_does_not_count() -> None:
    machine = Machine()
    meter = LoadMeter(
        {},
        dict,
        cores=4,
        usage=lambda root, members: (Usage(100.0 + machine.now), {}),
        clock=lambda: machine.now,
    )
    machine.now = 2.0
    assert meter.take().cpu == 0.25


def there(seconds: float, cpu_s: float, machine: str = "node-b", busy: int = 40) -> Elsewhere:
    """A worker on eight cores and the second GPU of another machine."""
    gpu = GpuSample(1, "H200", busy, 1 << 30, 4 << 30, None)
    return Elsewhere(WorkerSample(seconds, Usage(cpu_s, 500), gpu), machine, "pod-b", 8)


def test_a_worker_of_another_machine_has_that_machines_figures() -> None:
    machine = Machine()
    meter = machine.meter()
    machine.elsewhere = {5: there(1000.0, 50.0)}
    meter.take()
    machine.now = 2.0
    machine.elsewhere = {5: there(1004.0, 66.0)}  # 4 of its 8 cores, by its own clock
    taken = meter.take()
    device = taken.devices[-1]
    assert (device.worker, device.gpu, device.name, device.node) == (5, 1, "H200", "pod-b")
    assert (device.cpu, device.busy, device.vram, device.rss_bytes) == (0.5, 0.4, 0.25, 500)
    assert taken.cpu == pytest.approx(4 / 12), "of all cores of both machines"
    assert taken.rss_bytes == 2550
    machine.elsewhere = {5: there(1008.0, 82.0, machine="")}
    machine.now = 4.0
    assert meter.take().cpu == 1.0, "the very machine of the leading process: counted once"


def test_a_worker_of_which_nothing_new_is_heard_is_not_shown() -> None:
    machine = Machine()
    meter = machine.meter()
    machine.elsewhere = {5: there(1000.0, 50.0)}
    meter.take()
    machine.now = 9.0
    assert [device.worker for device in meter.take().devices] == [0, 1, 5]
    machine.now = 11.0
    assert [device.worker for device in meter.take().devices] == [0, 1]
    machine.elsewhere = {5: there(3.0, 1.0)}  # another node, whose clock began later
    assert [device.cpu for device in meter.take().devices][2:] == [0.0]


def test_workers_that_come_and_go_keep_their_own_means() -> None:
    early, late = DeviceLoad(0, cpu=0.2), DeviceLoad(1, cpu=0.6)
    points = [LoadPoint(0, (early,), 0.1, 1), LoadPoint(2, (early, late), 0.1, 1)]
    assert [(d.worker, d.cpu) for d in mean(points).devices] == [(0, 0.2), (1, 0.6)]


def test_a_gpu_is_found_by_its_name_and_keeps_the_runs_number() -> None:
    meter = Machine().meter()
    first, second = meter.take().devices
    assert (first.gpu, first.name, first.busy, first.vram) == (0, "L4", 0.93, 0.25)
    assert (first.decoder, first.encoder, first.temperature_c) == (0.77, None, 71)
    assert (second.gpu, second.busy) == (None, None)
    assert meter.last() is not None
    assert [device.worker for device in meter.history()[0].gpus] == [0]


def test_a_gpu_that_is_gone_tells_nothing() -> None:
    machine = Machine()
    machine.gpus = []
    device = machine.meter().take().devices[0]
    assert (device.gpu, device.busy, device.vram) == (0, None, None)


def test_a_new_life_begins_at_nothing() -> None:
    machine = Machine()
    meter = machine.meter()
    machine.cpu_s = {100: 50.0, 200: 0.0, 300: 1.0}
    machine.now = 2.0
    meter.take()
    machine.pids = {0: 300, 1: 200}
    machine.now = 4.0
    assert meter.take().devices[0].cpu == 1.0 / 8


def test_a_worker_without_a_process_uses_nothing() -> None:
    machine = Machine()
    machine.pids = {}
    assert [(d.cpu, d.rss_bytes) for d in machine.meter().take().devices] == [(0, 0), (0, 0)]


@settings(max_examples=30)
@given(st.integers(1, 2000), st.sampled_from([2, 6, 600]))
def test_history_is_bounded_and_loses_no_time(samples: int, most: int) -> None:
    history = History(most)
    for number in range(samples):
        history.add(point(2.0 * number, cpu=number / samples))
    points = history.points()
    assert 1 <= len(points) <= most
    assert points[-1].seconds == 2.0 * (samples - 1)
    gaps = {b.seconds - a.seconds for a, b in itertools.pairwise(points[:-1])}
    assert len(gaps) <= 1, "points are of equal intervals"


@given(st.integers(1, 10))
def test_pairs_that_become_one_keep_the_mean(doublings: int) -> None:
    history = History(2)
    count = 2**doublings
    for number in range(count):
        history.add(point(number, cpu=float(number)))
    told = history.points()
    assert sum(p.cpu for p in told) / len(told) == pytest.approx((count - 1) / 2)


def test_what_is_not_told_does_not_count() -> None:
    assert mean([point(0, busy=None), point(2, busy=0.5)]).devices[0].busy == 0.5
    assert mean([point(0, busy=None)]).devices[0].busy is None


def test_it_samples_by_itself_and_ends() -> None:
    with Machine().meter() as meter:
        while meter.last() is None:
            pass
    assert len(meter.history()) >= 1
