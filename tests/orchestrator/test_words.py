"""Words for people."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.words import clock, counted, printable, readable_size


@given(st.binary(max_size=20))
def test_any_file_name_can_be_shown(name: bytes) -> None:
    shown = printable(os.fsdecode(name))
    assert shown.isprintable()
    shown.encode()


@given(st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=20))
def test_what_can_be_shown_is_left_alone(text: str) -> None:
    assert printable(text) == text or not text.isprintable()


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
