"""``gates.json``: the gates that this machine and version have passed; `run --gated` reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from orchestrator.doctor.cache import Identity, read_record
from orchestrator.doctor.doctor import Surroundings
from orchestrator.doctor.weights_here import weights_of
from orchestrator.gates.checks import CheckResult
from orchestrator.settings.settings import Settings, with_overrides
from pipeline.contract import MattingSettings
from pipeline.errors import MachineError
from pipeline.stages.matting.catalogue import MODELS, candidates, weights_used

SCHEMA = 1

#: Gates that must have passed before a run with `--gated`; the fifth checks a finished run.
NEEDED = (1, 2, 3, 4)

#: The one that tries models.
_MODELS_GATE = 2

_RESULTS: TypeAdapter[list[CheckResult]] = TypeAdapter(list[CheckResult])


def record_file(cache: Path, who: Identity) -> Path:
    return cache / "machines" / who.fingerprint() / "gates.json"


def gate_status(results: Sequence[CheckResult], gate: int) -> str:
    """passed, failed, or "not run"; skipped checks alone make no gate pass."""
    own = {result.status for result in results if result.gate == gate}
    if "failed" in own:
        return "failed"
    return "passed" if "passed" in own else "not run"


def models_passed(results: Iterable[CheckResult]) -> list[str]:
    """Models that passed on every device they were tried on."""
    by_model: dict[str, set[str]] = {}
    for result in results:
        word, _, rest = result.name.partition(" ")
        if word == "model" and " (" in rest:
            by_model.setdefault(rest.partition(" (")[0], set()).add(result.status)
    return sorted(name for name, found in by_model.items() if found == {"passed"})


def merged(
    found: Sequence[CheckResult],
    old: Mapping[str, Any],
    who: Identity,
    now: datetime,
    matting: MattingSettings,
) -> dict[str, Any]:
    """The record after these results. Gates that were not run keep their old results, except for
    those after one that failed now, which would not have been reached.

    Args:
        old: the record before; may be empty.
        matting: the settings that choose the models' weights.

    Returns:
        The JSON form; `results` are `CheckResult`, field by field.
    """
    run_now = {result.gate for result in found}
    failed = min((result.gate for result in found if result.status == "failed"), default=6)
    before = [r for r in _results_of(old) if r.gate not in run_now and r.gate < failed]
    results = sorted([*before, *found], key=lambda result: result.gate)
    at = now.isoformat(timespec="seconds")
    return {
        "schema": SCHEMA,
        "machine": dataclasses.asdict(who),
        "gates": {
            str(gate): {
                "status": gate_status(results, gate),
                "at": at if gate in run_now else _at(old, gate),
            }
            for gate in range(1, 6)
        },
        "models": models_passed(results),
        "weights": weights_of(matting) if _MODELS_GATE in run_now else old.get("weights", {}),
        "results": [dataclasses.asdict(result) for result in results],
    }


def _results_of(record: Mapping[str, Any]) -> list[CheckResult]:
    """The results of a record; none if it is damaged."""
    try:
        return _RESULTS.validate_python(record.get("results", []))
    except ValueError:
        return []


def _at(record: Mapping[str, Any], gate: int) -> str | None:
    gates = record.get("gates")
    entry = gates.get(str(gate)) if isinstance(gates, dict) else None
    return entry.get("at") if isinstance(entry, dict) else None


def read_gates(cache: Path, who: Identity) -> dict[str, Any]:
    """The record of this machine and version; empty if there is none."""
    record = read_record(record_file(cache, who))
    return record if record.get("schema") == SCHEMA else {}


def passed_earlier(record: Mapping[str, Any]) -> str | None:
    """When the oldest of gates 1 to 4 passed; None if one of them did not."""
    results = _results_of(record)
    if any(gate_status(results, gate) != "passed" for gate in NEEDED):
        return None
    return min(_at(record, gate) or "" for gate in NEEDED)


def models_of(settings: Settings) -> list[MattingSettings]:
    """All models that these settings may choose for some video."""
    each = [with_overrides(settings, [override]) for override in settings.overrides]
    asked = dict.fromkeys(s.matting for s in (settings, *each))
    return list(dict.fromkeys(one for matting in asked for one in candidates(matting)))


def require_gates(around: Surroundings, models: Sequence[MattingSettings]) -> None:
    """Raises MachineError unless gates 1 to 4 passed here, with this version and these models."""
    record = read_gates(around.cache, around.identity())
    if passed_earlier(record) is None:
        raise MachineError(
            "--gated: the gates have not been passed on this machine with this version",
            "run `vrmatte gates --through 4`",
        )
    for matting in models:
        if matting.model not in record["models"]:
            raise MachineError(
                f"--gated: the gates were passed without the model {matting.model}",
                f"run `vrmatte gates --through 4 --model {matting.model}`",
            )
        for name, weights in weights_used(matting).items():
            if record["weights"].get(name) != weights.choice(matting):
                raise MachineError(
                    f"--gated: the gates were passed with other weights of {name}",
                    "run `vrmatte gates --through 4 --config FILE` with the settings of the run",
                )


def ready_models(record: dict[str, Any]) -> str:
    """The models that `run --gated` takes, in words."""
    ready = [name for name in MODELS.names() if name in record["models"]]
    return ", ".join(ready) or "no model"
