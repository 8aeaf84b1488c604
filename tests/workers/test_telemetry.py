from __future__ import annotations

import os
import subprocess
import sys

import pynvml
import pytest

from workers.telemetry import (
    GpuSample,
    family_usage,
    gpu_memory_used,
    only_gpu,
    resident_bytes,
    sample_gpus,
)

HOLDER = "block = b'x' * 50_000_000; print('ready', flush=True); input()"


def test_memory_of_a_process_includes_its_children_and_is_0_when_it_is_gone() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        alone = resident_bytes(child.pid)
        assert alone > 50_000_000
        assert resident_bytes(os.getpid()) > alone
        child.kill()
    assert resident_bytes(child.pid) == 0


def test_usage_of_a_family_is_shared_out_among_its_members() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        whole, members = family_usage(os.getpid(), [child.pid, 1])
        assert members[child.pid].rss_bytes > 50_000_000
        assert 0 < members[child.pid].cpu_s < whole.cpu_s
        assert whole.rss_bytes > members[child.pid].rss_bytes
        assert members[1].rss_bytes == 0, "not of the family"
        child.kill()
    assert family_usage(child.pid, [child.pid])[1][child.pid].rss_bytes == 0


def test_what_a_card_does_not_tell_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Figures:
        used, total, gpu = 1, 4, 93

    def silent(*asked: object) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    answers = {
        "Init": lambda: None,
        "Shutdown": lambda: None,
        "DeviceGetCount": lambda: 1,
        "DeviceGetHandleByIndex": lambda index: index,
        "DeviceGetUUID": lambda gpu: "GPU-a",
        "DeviceGetName": lambda gpu: "NVIDIA L4",
        "DeviceGetMemoryInfo": lambda gpu: Figures,
        "DeviceGetUtilizationRates": lambda gpu: Figures,
        "DeviceGetPowerUsage": silent,
        "DeviceGetDecoderUtilization": lambda gpu: [77, 167000],
        "DeviceGetEncoderUtilization": silent,
        "DeviceGetTemperature": lambda gpu, sensor: 71,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, f"nvml{name}", answer)
    [sample] = sample_gpus()
    assert (sample.uuid, sample.busy_percent, sample.decoder_percent) == ("GPU-a", 93, 77)
    assert (sample.power_w, sample.encoder_percent, sample.temperature_c) == (None, None, 71)


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", absent)
    assert sample_gpus() == ()


def test_memory_of_one_gpu_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        used = 123

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: uuid)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda handle: Memory)
    assert gpu_memory_used("GPU-a") == 123


def test_the_gpu_that_a_process_sees_is_named_by_number_or_uuid() -> None:
    gpus = [GpuSample(n, "L4", 0, 1, 2, None, uuid=f"GPU-{n}abc") for n in range(2)]
    assert [only_gpu(gpus, name) for name in ("0", "1", "GPU-1abc", "GPU-1")] == [
        *gpus,
        *(gpus[1], gpus[1]),
    ]
    assert only_gpu(gpus, "") is None
    assert only_gpu(gpus, "7") is None


def test_memory_of_a_gpu_that_is_gone_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(uuid: str) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", gone)
    assert gpu_memory_used("GPU-a") is None
