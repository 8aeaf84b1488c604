"""Gate 1: the machine itself. A check for each finding of the doctor."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from orchestrator.doctor.doctor import examine
from orchestrator.doctor.findings import Finding
from orchestrator.gates.checks import Check, CheckFailed, CheckSkipped
from orchestrator.gates.site import Site

GATE = 1


def checks(site: Site) -> Iterator[Check]:
    """One check for each of the doctor's findings, as they are found."""
    for finding in examine(site.with_children(), site.out, site.matting, fresh=site.fresh):
        card = finding.group.partition(":")[0]
        name = f"{card}: {finding.name}" if card.startswith("GPU ") else finding.name
        yield Check(GATE, name, partial(judge, finding))


def judge(finding: Finding) -> str:
    """A warning passes and says so; a broken finding fails."""
    if finding.level == "broken":
        raise CheckFailed(finding.said, finding.advice)
    if finding.level == "skipped":
        raise CheckSkipped(finding.said)
    if finding.level == "warning":
        return f"warning: {finding.said}" + (f" -> {finding.advice}" if finding.advice else "")
    return finding.said
