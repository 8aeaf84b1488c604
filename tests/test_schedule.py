"""The schedule of the tests: nothing is lost, files stay together, the longest come first."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.schedule import (
    SLOW_S,
    SPREAD,
    in_order,
    is_slow,
    read_durations,
    scope_of,
    with_unmeasured,
    write_durations,
)

NAMES = st.sampled_from(["tests/a.py", "tests/b.py", "tests/c.py", SPREAD[0]])
TESTS = st.lists(st.builds("{}::test_{}".format, NAMES, st.integers(0, 9)), unique=True)


@given(TESTS, st.dictionaries(st.text(), st.floats(0, 9)), st.randoms())
def test_each_test_runs_once_and_scopes_stay_together(
    tests: list[str], others: dict[str, float], random: object
) -> None:
    tests = sorted(tests)
    durations = {**others, **{test: len(test) % 5 + 0.5 for test in tests[::2]}}
    ordered = in_order(tests, durations)
    assert sorted(ordered) == tests
    scopes = [scope for scope, _ in groupby(ordered, scope_of)]
    sums = [sum(durations.get(t, 0.0) for t in tests if scope_of(t) == scope) for scope in scopes]
    assert sums == sorted(sums, reverse=True)
    for scope in set(scopes):
        assert [t for t in ordered if scope_of(t) == scope] == [
            t for t in tests if scope_of(t) == scope
        ]


def test_what_is_measured_is_kept_and_decides_what_is_slow(tmp_path: Path) -> None:
    path = tmp_path / "durations.json"
    write_durations({"a": 0.01, "b": 0.7, "c": 12.345}, path)
    kept = read_durations(path)
    assert kept == {"b": 0.7, "c": 12.3}
    assert [is_slow(test, kept) for test in "abcd"] == [False, False, True, False]
    assert SLOW_S == 1.0


def test_a_slow_test_that_was_never_measured_comes_before_measured_ones() -> None:
    kept = {"tests/a.py::test_1": 5.0, "tests/c.py::test_1": 30.0}
    known = with_unmeasured(kept, ["tests/b.py::test_1", "tests/c.py::test_1"])
    tests = ["tests/a.py::test_1", "tests/b.py::test_1", "tests/c.py::test_1", "tests/d.py::test_1"]
    assert [test[6] for test in in_order(tests, known)] == ["c", "b", "a", "d"]


def test_the_kept_durations_are_those_of_tests_that_exist() -> None:
    root = Path(__file__).parents[1]
    kept = read_durations()
    assert all((root / test.partition("::")[0]).is_file() for test in kept)
    assert all((root / path).is_file() for path in SPREAD)
