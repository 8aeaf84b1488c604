"""Devices: what is asked for, what is there, and what is said when they differ."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.machine.devices import (
    MOST_LANES,
    Gpu,
    choose_devices,
    default_lanes,
    usable_cores,
    visible_gpus,
)
from pipeline.errors import MachineError

TWO = [Gpu(0, "GPU-aaaa", "NVIDIA L4", 24 << 30), Gpu(1, "GPU-bbbb", "NVIDIA L40S", 48 << 30)]


def test_all_takes_every_gpu() -> None:
    chosen = choose_devices("all", 3, TWO)
    assert chosen.devices == (0, 1)
    assert chosen.remark == "GPU 0: NVIDIA L4, GPU 1: NVIDIA L40S"


def test_all_on_a_machine_with_none_works_on_the_cpu_and_says_so() -> None:
    chosen = choose_devices("all", 2, [])
    assert chosen.devices == ("cpu", "cpu")
    assert chosen.remark == "no GPU found: 2 workers on the CPU"


def test_none_leaves_the_gpus_alone() -> None:
    assert choose_devices("none", 1, TWO).devices == ("cpu",)


def test_a_list_is_taken_in_its_order_and_each_once() -> None:
    assert choose_devices([1, 0, 1], 1, TWO).devices == (1, 0)


@pytest.mark.parametrize(("gpus", "there"), [(TWO, "there are 0, 1"), ([], "there is none")])
def test_a_gpu_that_is_not_there_is_an_error(gpus: list[Gpu], there: str) -> None:
    with pytest.raises(MachineError) as caught:
        choose_devices([7], 1, gpus)
    assert caught.value.message == f"there is no GPU 7 here; {there}"
    assert "--gpus none" in caught.value.advice


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["NVIDIA L4", "NVIDIA L40S"]),
        ("", []),
        ("1", ["NVIDIA L40S"]),
        ("1,0", ["NVIDIA L40S", "NVIDIA L4"]),
        ("GPU-bb", ["NVIDIA L40S"]),
        ("0,9,1", ["NVIDIA L4"]),
        ("-1", []),
    ],
)
def test_what_the_environment_hides_is_not_there(visible: str | None, names: list[str]) -> None:
    seen = visible_gpus(TWO, visible)
    assert [gpu.name for gpu in seen] == names
    assert [gpu.number for gpu in seen] == list(range(len(names)))


@pytest.mark.parametrize(
    ("quota", "cores"), [("", 10**6), ("max 100000", 10**6), ("200000 100000\n", 2), ("1 100", 1)]
)
def test_a_container_may_use_less_than_it_sees(quota: str, cores: int) -> None:
    assert usable_cores(lambda: quota) == min(cores, len(os.sched_getaffinity(0)))


@given(st.integers(1, 512), st.integers(1, 64))
def test_there_is_always_a_lane_and_never_too_many(cores: int, workers: int) -> None:
    lanes = default_lanes(cores, workers)
    assert 1 <= lanes <= MOST_LANES
    assert lanes <= default_lanes(cores + 1, workers)
