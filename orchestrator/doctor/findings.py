"""A finding of the doctor: one thing that it examined, and its level. Knows no machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

#: ok: as it should be. warning: it works, but slower or with less than possible. broken: a run
#: fails or hangs. skipped: there is nothing to examine.
Level = Literal["ok", "warning", "broken", "skipped"]

#: Version of the JSON form.
SCHEMA = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        group: the heading above it.
        name: what was examined; unique in its group.
        said: what was found, in words.
        advice: what to do; may be empty.
    """

    group: str
    name: str
    level: Level
    said: str
    advice: str = ""


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level among them."""
    found = {finding.level for finding in findings}
    return "broken" if "broken" in found else "warning" if "warning" in found else "ok"


def as_record(findings: Iterable[Finding]) -> dict[str, Any]:
    """The JSON form; its fields are those of `Finding`."""
    findings = list(findings)
    return {
        "schema": SCHEMA,
        "level": worst(findings),
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }
