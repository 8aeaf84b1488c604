"""The order of the tests and their tier, by durations that were measured and kept.

`tests/durations.json` holds the seconds of tests that take long; `make durations` measures them
anew. A test that is not in it takes no time, or `UNMEASURED_S` where its file marks it slow. A test
of a second or more is `slow`: `make quick` leaves it out.

Processes of pytest-xdist take files, the longest first, so that none runs alone at the end. Files
in `SPREAD` are too long for one process: each of their tests goes to any.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

DURATIONS = Path(__file__).with_name("durations.json")

#: Seconds from which on a test is slow.
SLOW_S = 1.0

#: Seconds for a slow test that nobody has measured: more than most take, so that it runs early.
UNMEASURED_S = 20.0

#: Seconds below which a test is not worth a line in the file.
_KEPT_S = 0.3

#: Files whose tests share no expensive fixture of their module.
SPREAD = (
    "tests/end_to_end/test_chaos.py",
    "tests/end_to_end/test_faults.py",
    "tests/end_to_end/test_hangs.py",
)


def read_durations(path: Path = DURATIONS) -> Mapping[str, float]:
    """Seconds by test."""
    durations: dict[str, float] = json.loads(path.read_text())
    return durations


def write_durations(measured: Mapping[str, float], path: Path = DURATIONS) -> None:
    """Keep what was measured of all tests, in place of what was kept."""
    kept = {test: round(took, 1) for test, took in measured.items() if took >= _KEPT_S}
    path.write_text(json.dumps(dict(sorted(kept.items())), indent=0) + "\n")


def with_unmeasured(durations: Mapping[str, float], slow: Iterable[str]) -> Mapping[str, float]:
    """The durations, and UNMEASURED_S for each test of `slow` that has none."""
    return {**dict.fromkeys(slow, UNMEASURED_S), **durations}


def scope_of(test: str) -> str:
    """The tests with the same scope run one after the other in one process."""
    path = test.partition("::")[0]
    return test if path in SPREAD else path


def is_slow(test: str, durations: Mapping[str, float]) -> bool:
    return durations.get(test, 0.0) >= SLOW_S


def in_order(tests: Iterable[str], durations: Mapping[str, float]) -> Sequence[str]:
    """The scopes that take longest first; in a scope as they stand in their file."""
    taken: dict[str, float] = defaultdict(float)
    tests = list(tests)
    for test in tests:
        taken[scope_of(test)] += durations.get(test, 0.0)
    return sorted(tests, key=lambda test: -taken[scope_of(test)])
