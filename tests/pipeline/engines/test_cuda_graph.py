"""A capture keeps out what would void it, by a double of PyTorch's graphs."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pipeline.engines.cuda_graph import cuda_capture


class FreedMeanwhile(RuntimeError):
    """What CUDA says where memory is freed by a thread that captures."""


class Graph:
    """Fails where a decoder's surfaces are let go between begin and end, as CUDA's does."""

    capturing = False
    voided = False

    def capture_begin(self, pool: object, capture_error_mode: str) -> None:
        assert capture_error_mode == "thread_local"
        Graph.capturing, Graph.voided = True, False

    def capture_end(self) -> None:
        Graph.capturing = False
        if Graph.voided:
            raise FreedMeanwhile("operation failed due to a previous error during capture")

    def replay(self) -> None: ...


@pytest.fixture
def _doubles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    stream = SimpleNamespace(synchronize=lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)


class Decoder:
    """Of a segment that has ended, held by nothing but itself."""

    def __init__(self) -> None:
        self.itself = self
        weakref.finalize(self, self.freed)

    @staticmethod
    def freed() -> None:
        Graph.voided = Graph.voided or Graph.capturing


def makes_objects() -> None:
    gc.set_threshold(1, 1, 1)  # the next object is one too many
    made: list[Any] = [[object()] for _ in range(100)]
    del made


@pytest.mark.usefixtures("_doubles")
def test_garbage_is_not_collected_while_a_graph_is_captured() -> None:
    gc.set_threshold(0)
    Decoder()
    cuda_capture(makes_objects)
    assert gc.isenabled()


@pytest.mark.usefixtures("_doubles")
@pytest.mark.parametrize("enabled", [True, False])
def test_collecting_goes_on_after_a_capture_as_before(enabled: bool) -> None:
    def fails() -> None:
        assert not gc.isenabled()
        raise RuntimeError("not permitted")

    works: list[Callable[[], None]] = [lambda: None, fails]
    try:
        for work in works:
            (gc.enable if enabled else gc.disable)()
            with suppress(RuntimeError):
                cuda_capture(work)
            assert gc.isenabled() == enabled
    finally:
        gc.enable()
