from __future__ import annotations

import os
import subprocess
import sys

import pynvml
import pytest

from workers.telemetry import gpu_memory_used, resident_bytes, sample_gpus

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


def test_memory_of_a_gpu_that_is_gone_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(uuid: str) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", gone)
    assert gpu_memory_used("GPU-a") is None
