"""What the check found: a line for each result, and one JSON file of all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from orchestrator.gpu_check.machine import Machine
from pipeline.files.disk import write_file
from pipeline.text import printable

#: "absent": this machine does not have what the result is about, and need not have it.
Outcome = Literal["ok", "FAILED", "absent"]

SCHEMA_VERSION = 1

#: Of a line on the terminal; the file holds all.
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Result:
    """One thing that was looked at.

    Attributes:
        what: of the step.
        expected, found: in words.
        figures: by name, with the unit in the name.
        said: what a library or a program said about it, line by line.
    """

    what: str
    expected: str
    found: str
    outcome: Outcome
    figures: Mapping[str, float] = field(default_factory=dict)
    said: str = ""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What a step found, in order; never empty."""

    name: str
    limit_s: float
    wall_s: float
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """A whole check.

    Attributes:
        at: when it began, ISO 8601.
        rehearsal: it ran on the CPU, with doubles.
        asked: names of the steps that were asked for.
        versions: of the packages that matter, by name.
    """

    at: str
    rehearsal: bool
    machine: Machine
    versions: Mapping[str, str]
    asked: tuple[str, ...]
    steps: tuple[StepRecord, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every step has been run, or has had its turn."""
        return tuple(step.name for step in self.steps) == self.asked

    @property
    def right(self) -> bool:
        """Whether it is complete and nothing failed."""
        results = [result for step in self.steps for result in step.results]
        return self.complete and all(result.outcome != "FAILED" for result in results)


def passed(what: str, expected: str, found: str, right: bool = True, **figures: float) -> Result:
    """ "ok" where it is right, "FAILED" where it is not."""
    return Result(what, expected, found, "ok" if right else "FAILED", figures)


def line(step: str, result: Result) -> str:
    """``ok      nvdec: h264: expected the CPU's bits; found 48 frames, none differs``."""
    text = f"{step}: {result.what}: expected {result.expected}; found {result.found}"
    return f"{result.outcome:7} {printable(text, _LONGEST)}"


def write(check: Check, path: Path) -> None:
    """Replace the file, which is complete at any time.

    Raises:
        DiskError: it cannot be written.
    """
    record = {
        "schema_version": SCHEMA_VERSION,
        "card": check.machine.card,
        "driver": check.machine.driver,
        "complete": check.complete,
        "right": check.right,
        **asdict(check),
    }
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    write_file(path, text.encode() + b"\n")


def summary(steps: Sequence[StepRecord]) -> str:
    """``31 ok, 2 FAILED, 4 absent``."""
    outcomes = [result.outcome for step in steps for result in step.results]
    return ", ".join(f"{outcomes.count(each)} {each}" for each in ("ok", "FAILED", "absent"))
