"""Words for people."""

from __future__ import annotations

import pytest

from orchestrator.words import clock, counted, readable_size


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (7325, "2:02:05")]
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0 lanes"), (1, "1 lane"), (2, "2 lanes")])
def test_counted(count: int, shown: str) -> None:
    assert counted(count, "lane") == shown


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e12, "2.5 TB")]
)
def test_readable_size(size: float, shown: str) -> None:
    assert readable_size(size) == shown
