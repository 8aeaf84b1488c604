"""Words for people."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.words import clock, counted, listed, readable_size, seconds_of


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (7325, "2:02:05")]
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0 lanes"), (1, "1 lane"), (2, "2 lanes")])
def test_counted(count: int, shown: str) -> None:
    assert counted(count, "lane") == shown


@pytest.mark.parametrize(
    ("names", "shown"), [("", ""), ("a", "a"), ("abc", "a, b, c"), ("abcde", "a, b, c and 2 more")]
)
def test_listed(names: str, shown: str) -> None:
    assert listed(names, 3) == shown


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e12, "2.5 TB")]
)
def test_readable_size(size: float, shown: str) -> None:
    assert readable_size(size) == shown


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59_999))
def test_times_are_read_exactly(hours: int, minutes: int, milliseconds: int) -> None:
    seconds = f"{milliseconds // 1000:02}.{milliseconds % 1000:03}"
    rest = Fraction(milliseconds, 1000)
    assert seconds_of(seconds) == rest
    assert seconds_of(f"{minutes}:{seconds}") == 60 * minutes + rest
    assert seconds_of(f"{hours}:{minutes:02}:{seconds}") == 3600 * hours + 60 * minutes + rest


@pytest.mark.parametrize("text", ["", "-1", "1:60:00", "1:2:3:4", "1e3", "nan", "1:", ".5", "٣"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        seconds_of(text)
