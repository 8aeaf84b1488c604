"""A check of a gate, and its result. Checks are plain functions; pytest calls the same ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import VrmatteError

Status = Literal["passed", "failed", "skipped"]


class CheckFailed(Exception):
    """A check failed: what is wrong, and what to do, in one line each."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message} ({self.advice})"


class CheckSkipped(Exception):
    """There is nothing to check here, and why. Never counts as passed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold.

    Attributes:
        gate: 1 to 5.
        run: returns what it found, in words; raises CheckFailed or CheckSkipped.
    """

    gate: int
    name: str
    run: Callable[[], str]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a check ended."""

    gate: int
    name: str
    status: Status
    said: str
    advice: str = ""
    seconds: float = 0.0


def results(
    checks: Iterable[Check],
    on_check: Callable[[str], None] = lambda name: None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[CheckResult]:
    """Run checks in order; a failure does not stop those after it.

    Args:
        on_check: called with the name of each before it runs.
    """
    for check in checks:
        on_check(check.name)
        began = clock()
        status, said, advice = _run(check)
        yield CheckResult(check.gate, check.name, status, said, advice, round(clock() - began, 3))


def _run(check: Check) -> tuple[Status, str, str]:
    try:
        return "passed", check.run(), ""
    except CheckFailed as error:
        return "failed", error.message, error.advice
    except CheckSkipped as error:
        return "skipped", str(error), ""
    except VrmatteError as error:
        return "failed", error.message, error.advice
