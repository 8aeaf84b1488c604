"""GPUs that are divided (MIG), virtual, or another's: what is listed, and what a run may see.

NVML is a double that refuses as NVIDIA's does: with the error of the number, from each call alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pynvml
import pytest

from orchestrator.fleet.jobs import VideoJob
from orchestrator.machine.crew import UNKNOWN_VRAM_BYTES, crew_of
from orchestrator.machine.devices import Devices, Gpu, choose_devices, list_gpus, visible_gpus
from orchestrator.out.folder import OutFolder
from orchestrator.settings.settings import load_settings
from workers.launch import visible_devices
from workers.telemetry import sample_gpus

GB = 1_000_000_000
NO_PERMISSION, NOT_SUPPORTED = pynvml.NVML_ERROR_NO_PERMISSION, pynvml.NVML_ERROR_NOT_SUPPORTED


@dataclass
class Card:
    """One GPU, or a part of one.

    Attributes:
        memory: in bytes, or the number of the error.
        parts: None: it knows nothing of MIG; a number: asking for them is an error.
        handle: whether it may be opened.
    """

    uuid: str
    name: str
    memory: int
    parts: list[Card] | int | None = None
    handle: bool = True
    no_name: bool = False


@dataclass
class Nvml:
    cards: list[Card] = field(default_factory=list)

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in dir(self):
            if name.startswith("nvml"):
                monkeypatch.setattr(pynvml, name, getattr(self, name))

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:
        if not self.cards[index].handle:
            raise pynvml.NVMLError(NO_PERMISSION)
        return self.cards[index]

    def nvmlDeviceGetUUID(self, card: Card) -> str:
        return card.uuid

    def nvmlDeviceGetName(self, card: Card) -> str:
        if card.no_name:
            raise pynvml.NVMLError(NOT_SUPPORTED)
        return card.name

    def nvmlDeviceGetMemoryInfo(self, card: Card) -> Any:
        if card.memory < 1000:
            raise pynvml.NVMLError(card.memory)
        return type("Memory", (), {"total": card.memory, "used": 0})

    def nvmlDeviceGetMigMode(self, card: Card) -> list[int]:
        if card.parts is None:
            raise pynvml.NVMLError(NOT_SUPPORTED)
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, card: Card) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: Card, index: int) -> Card:
        assert card.parts is not None
        if isinstance(card.parts, int):
            raise pynvml.NVMLError(card.parts)
        if index >= len(card.parts):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return card.parts[index]


def listed(monkeypatch: pytest.MonkeyPatch, *cards: Card) -> list[Gpu]:
    Nvml(list(cards)).use(monkeypatch)
    return list_gpus()


L4 = Card("GPU-l4", "NVIDIA L4", 24 * GB)


@pytest.mark.parametrize("refusal", [NO_PERMISSION, NOT_SUPPORTED])
def test_memory_that_is_not_told_hides_no_gpu(
    refusal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual = Card("GPU-v", "GRID A100-10C", refusal)
    found = listed(monkeypatch, virtual, L4)
    assert [(gpu.number, gpu.name, gpu.memory_bytes) for gpu in found] == [
        (0, "GRID A100-10C", None),
        (1, "NVIDIA L4", 24 * GB),
    ]
    assert [sample.name for sample in sample_gpus()] == ["NVIDIA L4"]


def test_a_gpu_of_another_container_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA counts those that may be opened."""
    found = listed(monkeypatch, Card("GPU-x", "NVIDIA L4", 1, handle=False), L4)
    assert [(gpu.number, gpu.uuid) for gpu in found] == [(0, "GPU-l4")]
    assert listed(monkeypatch, Card("GPU-n", "x", 5 * GB, no_name=True))[0].uuid == "GPU-n"


def test_parts_of_a_gpu_are_known_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    slices = [Card(f"MIG-{k}", "NVIDIA A100 MIG 1g.10gb", 10 * GB) for k in "ab"]
    whole = Card("GPU-a100", "NVIDIA A100", NO_PERMISSION, slices)
    gpus = listed(monkeypatch, whole)
    assert [gpu.memory_bytes for gpu in gpus] == [10 * GB], "a process gets the first part"
    [seen] = visible_gpus(gpus, "MIG-b")
    assert (seen.number, seen.uuid, seen.memory_bytes) == (0, "MIG-b", 10 * GB)
    assert [gpu.uuid for gpu in visible_gpus(gpus, "MIG-a,MIG-b")] == ["MIG-a", "MIG-b"]
    assert visible_devices(1, {"CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b"}) == "MIG-b"
    assert [gpu.uuid for gpu in visible_gpus(gpus, "0")] == ["GPU-a100"]


@pytest.mark.parametrize("name", ["MIG-4c1", "MIG-GPU-a100/3/0"])
def test_a_part_whose_gpu_may_not_be_asked_is_taken_at_its_word(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = listed(monkeypatch, Card("GPU-a100", "NVIDIA A100", NO_PERMISSION, NO_PERMISSION))
    [seen] = visible_gpus(gpus, name)
    assert (seen.uuid, seen.name, seen.memory_bytes) == (name, "a part of NVIDIA A100", None)
    assert choose_devices("all", 1, [seen]).devices == (0,)
    assert visible_gpus([], name) == []


def test_unknown_memory_is_planned_with_little_or_with_what_is_allowed(tmp_path: Any) -> None:
    part = Gpu(0, "MIG-a", "a part", None)
    jobs: list[VideoJob] = []
    rooms = []
    for groups in ({}, {"limits": {"vram_gb": 20}}):
        settings = load_settings(None, groups)
        crew = crew_of(
            settings, Devices((0,), "", (part,)), OutFolder(tmp_path), jobs,
            lanes=1, machine_bytes=64 * GB,
        )  # fmt: skip
        rooms.append(crew.specs()[0].vram_bytes or 0)
    assert 0 < rooms[0] < UNKNOWN_VRAM_BYTES < rooms[1] < 20 * GB
