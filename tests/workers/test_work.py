"""What a worker makes of its setup on a GPU, with PyTorch's part of it doubled."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from pipeline.errors import DeviceError, MachineError, ResourceError
from workers import work
from workers.messages import WorkerSetup

GB = 10**9


@pytest.fixture
def fractions(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A GPU of 24 GB; the shares of it that were asked for."""
    asked: list[float] = []
    properties = SimpleNamespace(total_memory=24 * GB)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA L4")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(
        torch.cuda,
        "set_per_process_memory_fraction",
        lambda fraction, device: asked.append(fraction),
    )
    return asked


def open_with(vram_bytes: int | None, idle_decoders: int = 0) -> str:
    setup = WorkerSetup(
        device=1,
        lanes=1,
        log_path="nowhere",
        vram_bytes=vram_bytes,
        idle_decoders=idle_decoders,
    )
    return work._open(torch.device("cuda:0"), setup)


def test_a_limit_is_enforced_by_pytorch_itself(fractions: list[float]) -> None:
    assert open_with(6 * GB) == "NVIDIA L4 (cuda:1)"
    assert fractions == [0.25]
    open_with(100 * GB)
    assert fractions == [0.25, 1.0]


def test_without_a_limit_the_gpu_is_left_as_it_is(fractions: list[float]) -> None:
    open_with(None)
    assert fractions == []


@pytest.mark.usefixtures("fractions")
def test_convolutions_of_floats_keep_all_of_their_bits() -> None:
    before = torch.backends.cudnn.allow_tf32
    try:
        open_with(None)
        assert not torch.backends.cudnn.allow_tf32, "PyTorch's compiler reads it"
    finally:
        torch.backends.cudnn.allow_tf32 = before


@pytest.mark.usefixtures("fractions")
@pytest.mark.parametrize("count", [0, 2])
def test_idle_decoders_are_no_more_than_is_planned_with(count: int) -> None:
    from pipeline.torchcodec_import import decoders

    open_with(None, count)
    assert decoders.get_nvdec_cache_capacity() == count


def test_a_gpu_that_does_not_open_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(device: object) -> None:
        raise RuntimeError("CUDA error: unknown\nmore lines")

    monkeypatch.setattr(torch.cuda, "set_device", broken)
    with pytest.raises(MachineError, match=r"GPU 1 cannot be used: CUDA error: unknown \(look"):
        open_with(None)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), ResourceError),
        (MemoryError(), ResourceError),
        (torch.AcceleratorError("CUDA error: an illegal memory access"), DeviceError),
    ],
)
def test_errors_of_memory_and_device_get_their_names(
    raised: Exception, expected: type[Exception]
) -> None:
    with pytest.raises(expected), work._named_errors():
        raise raised
