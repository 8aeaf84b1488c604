"""The bytes that a header asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.serve.byte_range import UnsatisfiableError, asked_range

SIZES = st.integers(0, 10**15)


@given(SIZES, st.integers(0, 10**15), st.integers(0, 10**15))
def test_a_range_is_inside_the_file_and_begins_where_it_was_asked(
    size: int, first: int, more: int
) -> None:
    header = f"bytes={first}-{first + more}"
    if first >= size:
        with pytest.raises(UnsatisfiableError):
            asked_range(header, size)
        return
    assert asked_range(header, size) == range(first, min(first + more + 1, size))
    assert asked_range(f"bytes={first}-", size) == range(first, size)


@given(SIZES, st.integers(0, 10**15))
def test_a_suffix_is_the_end_of_the_file(size: int, count: int) -> None:
    if 0 in (size, count):
        with pytest.raises(UnsatisfiableError):
            asked_range(f"bytes=-{count}", size)
    else:
        assert asked_range(f"bytes=-{count}", size) == range(max(0, size - count), size)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-4",
        "bytes=a-b",
        "bytes=+1-2",
        "bytes=1-2,4-5",
        "seconds=1-2",
        "bytes=0x1-2",
        "bytes=\u0661-\u0662",
        "bytes=" + "9" * 5000 + "-",
    ],
)
def test_what_is_no_single_range_stands_for_the_whole_file(header: str | None) -> None:
    assert asked_range(header, 100) is None


@given(st.text(), SIZES)
def test_no_header_fails_otherwise(header: str, size: int) -> None:
    try:
        part = asked_range(header, size)
    except UnsatisfiableError:
        return
    assert part is None or 0 <= part.start < part.stop <= size
