from __future__ import annotations

from unittest.mock import Mock

import pytest

from orchestrator.backends import local
from orchestrator.backends.local import TOLERANCE_BYTES, LocalBackend


def test_a_device_is_free_when_it_holds_no_more_than_before_the_first_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "launch", lambda worker, life, setup: Mock(pid=100 + worker))
    used = {0: 1 << 30}
    backend = LocalBackend({0: None}, used.__getitem__)  # type: ignore[dict-item]
    assert backend.is_free(0), "nothing of ours was there yet"
    backend.launch(0, 1)
    assert backend.pids() == {0: 100}
    used[0] += 5 << 30  # its model
    assert not backend.is_free(0)
    backend.launch(0, 2)  # patience has ended
    used[0] = (1 << 30) + TOLERANCE_BYTES
    assert backend.is_free(0)
    used[0] += 1
    assert not backend.is_free(0)


def test_where_memory_cannot_be_told_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "launch", lambda worker, life, setup: Mock(pid=100 + worker))
    backend = LocalBackend({0: None})  # type: ignore[dict-item]
    backend.launch(0, 1)
    assert backend.is_free(0)
    told: list[int | None] = [100, None]
    backend = LocalBackend({0: None}, lambda worker: told.pop(0))  # type: ignore[dict-item]
    backend.launch(0, 1)
    assert backend.is_free(0), "the driver went away"
