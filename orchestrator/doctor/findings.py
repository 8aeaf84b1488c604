"""What the doctor says of one thing, and of a machine. Knows no machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

#: ok: as it should be. mind: it works, but slower or with less than could be. broken: a run fails,
#: or hangs. skipped: there is nothing to look at.
Level = Literal["ok", "mind", "broken", "skipped"]

#: What a program that reads the JSON form may rely on.
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        group: the heading it stands under.
        name: what was looked at; no other finding of the group bears it.
        said: what was found, in words.
        advice: what to do; empty where there is nothing.
    """

    group: str
    name: str
    level: Level
    said: str
    advice: str = ""


def worst(findings: Iterable[Finding]) -> Level:
    """The level of all of them together."""
    found = {finding.level for finding in findings}
    return "broken" if "broken" in found else "mind" if "mind" in found else "ok"


def as_record(findings: Iterable[Finding]) -> dict[str, Any]:
    """The JSON form: what is here is documented by the field names of `Finding`."""
    findings = list(findings)
    return {
        "schema": SCHEMA,
        "level": worst(findings),
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }
