"""`vrmatte gates`: run the five gates in order, up to the first that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestrator.doctor.cache import write_record
from orchestrator.gates import batch, components, environment, integration, production
from orchestrator.gates.checks import Check, CheckResult, results
from orchestrator.gates.record import (
    gate_status,
    merged,
    passed_earlier,
    read_gates,
    record_file,
)
from orchestrator.gates.site import Site
from pipeline.errors import DiskError, SettingsError

GATES: dict[int, tuple[str, Callable[[Site], Iterator[Check]]]] = {
    1: ("environment", environment.checks),
    2: ("components", components.checks),
    3: ("integration", integration.checks),
    4: ("batch", batch.checks),
    5: ("production", production.checks),
}


def gates_to_run(site: Site, through: int) -> tuple[list[int], str | None]:
    """The numbers of the gates to run, and when the first four passed if they are left out.

    The fifth checks a finished output folder. The first four are not repeated for it if they have
    passed on this machine with this version, unless `site.fresh`.

    Raises:
        SettingsError: the fifth is asked for without an output folder, or for one without a run.
    """
    if through < 5:
        return list(range(1, through + 1)), None
    if site.out is None:
        raise SettingsError("gate 5 checks a finished output folder", "name it with --out")
    production.Finished.open(site.out)  # an OUT that is none ends here, not minutes later
    earlier = None
    if not site.fresh:
        earlier = passed_earlier(read_gates(site.around.cache, site.around.identity()))
    return [5] if earlier else [1, 2, 3, 4, 5], earlier


def pass_gates(site: Site, numbers: Sequence[int]) -> Iterator[CheckResult]:
    """Yield the results of all checks, up to and including the first gate that fails."""
    for gate in numbers:
        _, checks = GATES[gate]
        passed = []
        for result in results(checks(site), site.around.on_step):
            passed.append(result)
            yield result
        if gate_status(passed, gate) != "passed":
            return


def keep_results(
    site: Site, found: Sequence[CheckResult], now: datetime
) -> tuple[dict[str, Any], Path | DiskError]:
    """Write ``gates.json``; its content, and its path or why it could not be written."""
    who = site.around.identity()
    record = merged(found, read_gates(site.around.cache, who), who, now, site.matting)
    path = record_file(site.around.cache, who)
    try:
        write_record(path, record)
    except DiskError as error:
        return record, error
    return record, path


def failed_gate(found: Sequence[CheckResult]) -> int | None:
    """The gate that failed; None if all passed."""
    return next((result.gate for result in found if result.status == "failed"), None)
