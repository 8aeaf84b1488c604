"""Laws of overlap: same items, same order, bounded, closes from either end, carries exceptions."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.flow.overlap import overlap


@given(items=st.lists(st.integers()), depth=st.integers(1, 5))
def test_gives_what_the_source_gives(items: list[int], depth: int) -> None:
    assert list(overlap(iter(items), depth)) == items


def test_works_in_a_thread_of_its_own_that_was_prepared() -> None:
    prepared = threading.local()

    def source() -> Iterator[tuple[str, bool]]:
        yield threading.current_thread().name, getattr(prepared, "done", False)

    def prepare() -> None:
        prepared.done = True

    ((name, done),) = overlap(source(), 1, on_thread=prepare)
    assert name != threading.current_thread().name
    assert done


@pytest.mark.parametrize("depth", [1, 3])
def test_never_works_further_ahead_than_its_depth(depth: int) -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for item in range(20):
            made.append(item)
            yield item

    for item in overlap(source(), depth):
        # `depth` wait, and one is in the producer's hand.
        assert len(made) <= item + 1 + depth + 1


def test_an_exception_comes_after_the_items_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("lost")

    stage = overlap(source(), 2)
    assert [next(stage), next(stage)] == [1, 2]
    with pytest.raises(KeyError, match="lost"):
        next(stage)


def test_closing_closes_the_source_in_its_own_thread_and_waits() -> None:
    closed_by: list[str] = []

    def source() -> Iterator[int]:
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed_by.append(threading.current_thread().name)

    stage = overlap(source(), 2)
    assert next(stage) == 0
    stage.close()
    assert closed_by == ["overlap"]


def test_closing_reaches_through_two_of_them() -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    def double(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            yield 2 * item

    inner = overlap(source(), 1)
    outer = overlap(double(inner), 1)
    assert next(outer) == 2
    outer.close()
    inner.close()
    assert closed.is_set()
